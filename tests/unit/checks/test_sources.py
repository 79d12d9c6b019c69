"""The codes of checks, explained from the document that the package contains."""

from pathlib import Path

import pytest

from moby_plugins.checks import built_in_checks
from moby_plugins.checks.sources import UnknownCodeError, document, explanation, sections

PAGE = Path(__file__).parents[3] / "docs" / "protocol.md"


def test_the_package_contains_the_document() -> None:
    """To the letter: there is one source, and the wheel has it."""
    assert document() == PAGE.read_text(encoding="utf-8")


def test_every_source_of_a_check_is_explained() -> None:
    """Each code that a built-in check names is a section or a trap."""
    known = sections(document())
    codes = {code for item in built_in_checks() for code in item.source.split(", ")}

    assert codes <= known.keys()
    assert {"A1", "B0", "B11 trap 20", "P1"} <= codes | known.keys()


@pytest.mark.parametrize("code", ["B11 trap 12", "b11  TRAP 12", " B11 trap 12 "])
def test_a_trap_is_its_own_text(code: str) -> None:
    """In any case of letters; without the anchors that links go to."""
    text = explanation(code)

    assert text.startswith("12. Same `Name`+`ID` is mounted several times")
    assert "\n" not in text


def test_a_section_ends_where_the_next_begins() -> None:
    """Its heading is its first line."""
    text = explanation("B2")

    assert text.startswith("### B2. VolumeDriver")
    assert "reused while active" in text
    assert "B3" not in text
    assert explanation("B11").count("\n") > 20
    assert "<a " not in explanation("B11")


@pytest.mark.parametrize(
    ("code", "similar"),
    [("B12", "B11"), ("trap 12", "B11 trap 12"), ("B11 trap 21", "B11 trap 2"), ("b 2", "B2")],
)
def test_a_near_miss_is_told(code: str, similar: str) -> None:
    """What does not exist is an error, with what may have been meant."""
    with pytest.raises(
        UnknownCodeError, match=r"is not a section of the protocol; did you mean"
    ) as it:
        explanation(code)

    assert similar in it.value.similar


def test_what_is_like_nothing_has_no_near_miss() -> None:
    """The error stands alone."""
    with pytest.raises(UnknownCodeError, match=r"^'weather' is not a section of the protocol$"):
        explanation("weather")
