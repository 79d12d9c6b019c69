"""The checks that ``make docs`` makes of the site that it built."""

from pathlib import Path

import pytest

from tests.cases import every
from website.build import (
    DOORS,
    ROOT,
    led,
    loaded_from,
    loaded_from_sheet,
    missing,
    public_names,
)

ALL = {
    f"{door}.{name}": f"reference/{stem}.html#{door}.{name}"
    for door, stem in DOORS.items()
    for name in public_names(door)
}


def test_a_reference_with_every_public_name_is_complete() -> None:
    """Public names are those in ``__all__`` of each public module, and the pytest fixtures."""
    assert missing(ALL) == []
    assert len(ALL) > 200
    assert "moby_plugins.testing.pytest_plugin.fake_clock" in ALL


@pytest.mark.parametrize("name", ["moby_plugins.Client", "moby_plugins.checks.check"])
def test_a_public_name_that_the_reference_lacks_is_reported(name: str) -> None:
    """The report says which page should have it; the same name on another page does not count."""
    without = {each: where for each, where in ALL.items() if each != name}
    elsewhere = ALL | {name: f"index.html#{name}"}

    for known in (without, elsewhere):
        (told,) = missing(known)
        assert told.startswith(f"{name} is not on reference/")


@every(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<script src="//cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="http://example/x.png">',
    ],
)
def test_resources_that_a_page_loads_from_other_hosts_are_found(html: str) -> None:
    """They are scripts, styles, fonts and pictures: the site must be readable without a network."""
    assert len(loaded_from(html)) == 1


@pytest.mark.parametrize(
    "html",
    [
        '<script src="../assets/x.js"></script>',
        '<a href="https://github.com/moby/moby">Moby</a>',
        '<link rel="canonical" href="https://docs.example/x.html">',
        '<img src="images/x.svg">',
    ],
)
def test_links_and_local_resources_do_not_count_as_loaded_from_other_hosts(html: str) -> None:
    """A link is only followed by a reader, and the site's own files need no network."""
    assert loaded_from(html) == []


def test_resources_that_a_style_sheet_loads_from_other_hosts_are_found() -> None:
    """They stand in ``url`` and ``@import``; data in the sheet and local files do not count."""
    sheet = (
        "@import 'https://a/b.css'; x{y:url(//c/d.woff)} z{y:url(data:image/svg+xml;x)} u{url(e)}"
    )

    assert loaded_from_sheet(sheet) == ["https://a/b.css", "//c/d.woff"]


def test_links_to_files_outside_of_docs_lead_to_their_copies_in_the_site(tmp_path: Path) -> None:
    """A link to a file of which the site has no copy is replaced by its text."""
    docs = ROOT / "docs"
    pages = {
        docs / "guide.md": tmp_path / "guide.md",
        ROOT / "CHANGELOG.md": tmp_path / "CHANGELOG.md",
        ROOT / "examples/volume_plugin.py": tmp_path / "examples/volume_plugin.md",
    }
    text = (
        "[a](../CHANGELOG.md#x) [b](../examples/volume_plugin.py) [c](../Makefile) [d](#e)"
        " [f](https://example.org) [g](testing.md)"
    )

    assert led(docs / "guide.md", tmp_path / "guide.md", pages, text) == (
        "[a](CHANGELOG.md#x) [b](examples/volume_plugin.md) c [d](#e)"
        " [f](https://example.org) [g](testing.md)"
    )


def test_a_link_whose_text_has_brackets_is_converted_too(tmp_path: Path) -> None:
    """Code in a link's text may have brackets; left as it is, the link would be broken."""
    text = "[`image.sh IMAGE [DIR]`](../examples/rootfs/image.sh): and [a](../README.md), `x[0]`"

    told = led(ROOT / "docs/production.md", tmp_path / "production.md", {}, text)

    assert told == "`image.sh IMAGE [DIR]`: and a, `x[0]`"
