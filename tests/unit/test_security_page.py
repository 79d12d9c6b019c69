"""The tables of attacks in docs/security.md name tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "security.md"


def test_every_attack_has_a_test_that_exists() -> None:
    """Each row of the tables in docs/security.md names tests, without which it would be a claim."""
    rows = [
        line for line in PAGE.read_text().splitlines() if re.match(r"\| (?!attack|failure)", line)
    ]
    cited = [re.findall(r"`([\w/]+\.py)::(\w+)`", row) for row in rows]

    missing = [
        f"{file}::{name}"
        for tests in cited
        for file, name in tests
        if f"def {name}(" not in (TESTS / file).read_text()
    ]

    assert missing == []
    assert [row for row, tests in zip(rows, cited, strict=True) if not tests] == []
    assert len(rows) > 60
