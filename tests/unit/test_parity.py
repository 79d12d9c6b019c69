"""The table of behaviours in docs/parity.md names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "parity.md"


def test_every_test_that_the_table_names_exists() -> None:
    """Each row of the table in docs/parity.md names one; without it, it would be a mere claim."""
    cited = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text())
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`" in line]

    missing = [
        f"{file}::{name}"
        for file, name in cited
        if f"def {name}(" not in (TESTS / file).read_text()
    ]

    assert missing == []
    assert len(cited) == len(rows) > 30
