"""What ``make docs`` looks for in the site that it built."""

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


def test_a_reference_with_every_name_lacks_none() -> None:
    """Each door's ``__all__``, and the fixtures."""
    assert missing(ALL) == []
    assert len(ALL) > 200
    assert "moby_plugins.testing.pytest_plugin.fake_clock" in ALL


@pytest.mark.parametrize("name", ["moby_plugins.Client", "moby_plugins.checks.check"])
def test_a_name_that_the_reference_lacks_is_named(name: str) -> None:
    """With the page that should have it; a name on another page does not count."""
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
def test_what_a_page_loads_from_elsewhere_is_found(html: str) -> None:
    """Scripts, styles, fonts and pictures: a site is read without a net."""
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
def test_where_a_page_leads_to_is_not_loaded(html: str) -> None:
    """A link is followed by a reader alone."""
    assert loaded_from(html) == []


def test_fonts_of_a_style_sheet_are_found() -> None:
    """By ``url`` and ``@import``, but for data in the sheet itself."""
    sheet = (
        "@import 'https://a/b.css'; x{y:url(//c/d.woff)} z{y:url(data:image/svg+xml;x)} u{url(e)}"
    )

    assert loaded_from_sheet(sheet) == ["https://a/b.css", "//c/d.woff"]


def test_links_out_of_the_pages_lead_to_their_copies(tmp_path: Path) -> None:
    """To a page that was copied or made; of a link to another file, the text is left."""
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


def test_a_link_whose_name_has_brackets_is_led_too(tmp_path: Path) -> None:
    """As code may have them: what is no page of the site would else be a broken link."""
    text = "[`image.sh IMAGE [DIR]`](../examples/rootfs/image.sh): and [a](../README.md), `x[0]`"

    told = led(ROOT / "docs/production.md", tmp_path / "production.md", {}, text)

    assert told == "`image.sh IMAGE [DIR]`: and a, `x[0]`"
