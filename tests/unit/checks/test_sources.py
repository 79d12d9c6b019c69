"""The codes of checks, explained from the document that the package contains."""

from pathlib import Path

import pytest

from moby_plugins.checks import built_in_checks
from moby_plugins.checks.sources import UnknownCodeError, document, explanation, sections

PAGE = Path(__file__).parents[3] / "docs" / "protocol.md"


def test_the_package_contains_the_protocol_document() -> None:
    """The text in the package is exactly that of docs/protocol.md."""
    assert document() == PAGE.read_text(encoding="utf-8")


def test_every_source_of_a_check_is_explained() -> None:
    """Each code that a built-in check names is a section or a trap."""
    known = sections(document())
    codes = {code for item in built_in_checks() for code in item.source.split(", ")}

    assert codes <= known.keys()
    assert {"A1", "B0", "B11 trap 20", "P1"} <= codes | known.keys()


@pytest.mark.parametrize("code", ["B11 trap 12", "b11  TRAP 12", " B11 trap 12 "])
def test_the_explanation_of_a_trap_is_the_text_of_that_trap(code: str) -> None:
    """The case of the code does not matter, and anchors for links are removed."""
    text = explanation(code)

    assert text.startswith("12. Same `Name`+`ID` is mounted several times")
    assert "\n" not in text


def test_the_explanation_of_a_section_ends_before_the_next_section() -> None:
    """The first line of the explanation is the section's heading."""
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
def test_an_unknown_code_is_an_error_that_suggests_similar_codes(code: str, similar: str) -> None:
    """For B12, which is not a section of the protocol, the error suggests B11."""
    with pytest.raises(
        UnknownCodeError, match=r"is not a section of the protocol; did you mean"
    ) as it:
        explanation(code)

    assert similar in it.value.similar


def test_an_unknown_code_without_similar_codes_has_no_suggestion() -> None:
    """The error only says that the code is not a section of the protocol."""
    with pytest.raises(UnknownCodeError, match=r"^'weather' is not a section of the protocol$"):
        explanation("weather")
