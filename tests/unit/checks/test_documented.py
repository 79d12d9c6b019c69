"""``docs/checks.md`` lists and explains the checks."""

import re

from moby_plugins.checks import built_in_checks
from tests.check_tables import ANCHORS, DOCUMENT, with_tables


def test_every_check_is_documented() -> None:
    """The tables are up to date: ``python -m tests.check_tables`` writes them."""
    text = DOCUMENT.read_text(encoding="utf-8")

    assert with_tables(text) == text
    assert all(f"| {item.name} | {item.expects} |" in text for item in built_in_checks())


def test_each_code_in_the_tables_links_to_a_section_of_the_protocol() -> None:
    """A code such as B11 trap 12 is a link to an existing heading or trap of protocol.md."""
    text = DOCUMENT.read_text(encoding="utf-8")

    assert "[B11 trap 12](protocol.md#b11-trap-12)" in text
    assert "(protocol.md#b2-volumedriver--implements-volumedriver)" in text
    assert "(protocol.md#p2-errors-come-by-status)" in text
    assert set(re.findall(r"protocol\.md#([\w-]+)", text)) <= {*ANCHORS.values()}


def test_the_table_of_traps_lists_the_checks_of_each_trap() -> None:
    """A check that names a trap as its source stands in that trap's row."""
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    told = {int(number): checks for number, checks in rows}

    for item in built_in_checks():
        for number in re.findall(r"trap (\d+)", item.source):
            assert item.name in told[int(number)], item.id
    assert sorted(told) == list(range(1, 21))
