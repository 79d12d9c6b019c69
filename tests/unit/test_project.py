"""What the project says of itself to an index of packages, and in its README."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def project() -> dict[str, Any]:
    """``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def readme() -> str:
    """The README, as a clone has it."""
    return (ROOT / "README.md").read_text("utf-8")


def test_the_readme_has_at_most_105_lines() -> None:
    """It says what the project is and where to read on; the documents have the rest."""
    assert len(readme().splitlines()) <= 105
    assert "waits up to 15 s" in readme()


def test_each_link_of_the_readme_leads_to_a_file() -> None:
    """Links are relative, so that they work in a clone of any commit."""
    targets = [target for target in LINK.findall(readme()) if "://" not in target]

    assert len(targets) > 20
    assert [target for target in targets if not (ROOT / target).is_file()] == []


def test_links_of_the_readme_on_a_package_index_lead_to_the_repository() -> None:
    """An index has no files beside the README: links and pictures lead to those of the release."""
    hook = project()["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    repository = project()["project"]["urls"]["Repository"]
    host, _, place = repository.removeprefix("https://").partition("/")
    text = readme()
    for each in hook["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)

    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    others = [link for link in LINK.findall(text) if link not in pictures]
    raw = f"https://raw.githubusercontent.com/{place}/v$HFPR_VERSION/"

    assert host == "github.com"
    assert len(pictures) == 3
    assert all(picture.startswith(raw) for picture in pictures)
    assert all(link.startswith(f"{repository}/blob/v$HFPR_VERSION/") for link in others)
    urls = project()["project"]["urls"]
    assert f"site_url: {urls.pop('Documentation')}\n" in (ROOT / "mkdocs.yml").read_text("utf-8")
    assert all(url.startswith(repository) for url in urls.values())


def test_classifiers_name_the_pythons_that_ci_must_pass() -> None:
    """They are the versions in the workflow's matrix, without those that may still fail there."""
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    (matrix,) = re.findall(r"python: \[(.*)\]", workflow)
    run = set(re.findall(r"3\.\d+", matrix)) - set(
        re.findall(r"matrix.python == '(.*?)'", workflow)
    )
    classifiers = project()["project"]["classifiers"]

    named = {found[1] for each in classifiers if (found := re.search(r":: (3\.\d+)$", each))}
    assert named == run
