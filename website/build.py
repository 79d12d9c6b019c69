"""Build the site from ``docs`` into ``build/site``, and check it: ``python -m website.build``.

The pages are read on code hosts as well, where links lead to ``../CHANGELOG.md`` and the like. So
they are copied to ``build/docs`` first, beside pages that are made of what lies outside of
``docs``, and their links are led to these. Whatever the builder warns of is an error; so are a
public name that the reference lacks, and an address of another machine that a page loads from.
"""

import os
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS, STAGED, SITE = ROOT / "docs", ROOT / "build/docs", ROOT / "build/site"
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
DOORS = {
    "moby_plugins": "moby_plugins",
    **{
        f"moby_plugins.{door}": door.partition(".")[0]
        for door in (
            "aio",
            "ports",
            "subsystems",
            "serving",
            "tracing",
            "diagnosis",
            "checks",
            "testing",
            "testing.contracts",
            "testing.strategies",
        )
    },
    "moby_plugins.testing.pytest_plugin": "testing",
}
# How much a match on a page counts in the search, by the page's path; the first that fits.
BOOSTS = {
    "calling-plugins.md": 8,
    "reference/": 2,
    "decisions/": 0.2,
    "CHANGELOG.md": 0.2,
    "mutants.md": 0.1,
    "architecture.md": 0.5,
    "security.md": 0.5,
    "parity.md": 0.5,
}
# What a link is called may have code, and that brackets.
LINK = re.compile(r"(?<!!)\[((?:`[^`\n]*`|[^\]`])+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
# What a page loads by itself, unlike where it leads to.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


def stage() -> None:
    """Copy the pages to ``build/docs``, and make the others."""
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.copytree(DOCS, STAGED)
    for name in ("site.css", "iframe-worker.js"):
        shutil.copy(ROOT / "website" / name, STAGED)
    pages = {page: STAGED / page.relative_to(DOCS) for page in DOCS.rglob("*.md")}
    pages |= {ROOT / name: STAGED / name for name in OUTSIDE}
    examples = {path: STAGED / f"examples/{path.stem}.md" for path in ROOT.glob("examples/*.py")}
    (STAGED / "examples").mkdir()
    for source, page in pages.items():
        text = source.read_text("utf-8")
        page.write_text(led(source, page, pages | examples, text), "utf-8")
    for source, page in examples.items():
        title, code = source.stem.replace("_", " ").capitalize(), source.read_text("utf-8")
        page.write_text(
            f"# {title}\n\n`examples/{source.name}`:\n\n```python\n{code}```\n", "utf-8"
        )
    decisions = sorted(STAGED.glob("decisions/0*.md"))
    lines = [f"- {page.stem[:4]} [{title_of(page)}]({page.name})" for page in decisions]
    text = "\n".join(["# Decisions", "", "Why the library is built as it is.", "", *lines, ""])
    # Not "index.md", which the theme would show as the section "About" itself.
    (STAGED / "decisions/all.md").write_text(text, "utf-8")
    for page in STAGED.rglob("*.md"):
        where = page.relative_to(STAGED).as_posix()
        if boost := next((BOOSTS[start] for start in BOOSTS if where.startswith(start)), 0):
            head = f"---\nsearch:\n  boost: {boost}\n---\n"
            page.write_text(head + page.read_text("utf-8"), "utf-8")


def title_of(page: Path) -> str:
    """Return the heading that a page begins with."""
    return page.read_text("utf-8").partition("\n")[0].removeprefix("# ")


def led(source: Path, page: Path, pages: dict[Path, Path], text: str) -> str:
    """Return ``text``, of ``source``, as ``page``, with links to the pages that others became.

    Of a link to a file that is no page, the text is left.
    """

    def resolved(link: re.Match[str]) -> str:
        shown, target, anchor = link.groups()
        there = (source.parent / target).resolve()
        if there in pages:
            return f"[{shown}]({os.path.relpath(pages[there], page.parent)}{anchor or ''})"
        outside = there.exists() and not there.is_relative_to(DOCS)
        return shown if outside else link[0]

    return LINK.sub(resolved, text)


def build() -> str:
    """Build ``build/site``; return the builder's output where it warned or failed, else ""."""
    # Not with --quiet, under which MkDocs counts no warnings.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout if done.returncode else ""


def inventory() -> dict[str, str]:
    """Return the address of each name in the reference."""
    raw = (SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(raw).decode().splitlines()
    found = (line.split(" ", 4) for line in lines)
    return {name: uri.replace("$", name) for name, _, _, uri, _ in found}


def missing(known: dict[str, str]) -> list[str]:
    """Return the public names that their door's page does not have.

    ``known`` are the addresses of names, as ``inventory`` returns them.
    """
    return [
        f"{door}.{name} is not on {page}"
        for door, stem in DOORS.items()
        for name in public_names(door)
        if known.get(f"{door}.{name}") != (page := f"reference/{stem}.html#{door}.{name}")
    ]


def public_names(door: str) -> list[str]:
    """Return what a door's ``__all__`` lists; for the fixtures, all that pytest finds."""
    module = import_module(door)
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if name != "__version__"]
    return [name for name, it in vars(module).items() if "Fixture" in type(it).__name__]


class Loads(HTMLParser):
    """Collects the addresses that a page loads from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address, unless it only says where the page itself belongs."""
        given = dict(attrs)
        address = given.get(LOADED.get(tag, "")) or ""
        if given.get("rel") not in {"canonical", "next", "prev"}:
            self.found.append(address)


def loaded_from(html: str) -> list[str]:
    """Return the addresses of other machines that a page loads from by itself."""
    loads = Loads()
    loads.feed(html)
    return [url for url in loads.found if re.match(r"(\w+:)?//", url)]


def loaded_from_sheet(css: str) -> list[str]:
    """Return the same of a style sheet."""
    return re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^)\"']*)", css)


def foreign() -> list[str]:
    """Return what the site loads from other machines: it is read without a net."""
    return [
        f"{file.relative_to(SITE)} loads {url}"
        for suffix, read in ((".html", loaded_from), (".css", loaded_from_sheet))
        for file in sorted(SITE.rglob(f"*{suffix}"))
        for url in read(file.read_text("utf-8"))
    ]


def main() -> int:
    """Build, check, and print what is wrong; 1 where anything is."""
    stage()
    if output := build():
        print(output)
        return 1
    known = inventory()
    wrong = [*missing(known), *foreign()]
    print("\n".join(wrong) or f"build/site: {len(known)} names")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
