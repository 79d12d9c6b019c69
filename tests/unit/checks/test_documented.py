"""``docs/checks.md`` says what the checks are."""

import re

from moby_plugins.checks import built_in_checks
from tests.check_tables import ANCHORS, DOCUMENT, with_tables


def test_every_check_is_documented() -> None:
    """``python -m tests.check_tables`` writes the tables again."""
    text = DOCUMENT.read_text(encoding="utf-8")

    assert with_tables(text) == text
    assert all(f"| {item.name} | {item.expects} |" in text for item in built_in_checks())


def test_codes_lead_to_what_explains_them() -> None:
    """Each is a link to a heading, or a trap, that the protocol has."""
    text = DOCUMENT.read_text(encoding="utf-8")

    assert "[B11 trap 12](protocol.md#b11-trap-12)" in text
    assert "(protocol.md#b2-volumedriver--implements-volumedriver)" in text
    assert "(protocol.md#p2-errors-come-by-status)" in text
    assert set(re.findall(r"protocol\.md#([\w-]+)", text)) <= {*ANCHORS.values()}


def test_every_trap_is_told_with_its_checks() -> None:
    """Each that names the trap as its source stands in the trap's row."""
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    told = {int(number): checks for number, checks in rows}

    for item in built_in_checks():
        for number in re.findall(r"trap (\d+)", item.source):
            assert item.name in told[int(number)], item.id
    assert sorted(told) == list(range(1, 21))
