"""``make bounds``, for so few bytes that it ends in seconds."""

import pytest

from tests.bounds.run import CASES, MIB, measure, report

SCALE = 0.05


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_stays_within_its_bounds(name: str) -> None:
    """Memory is bounded at either end; how much it is at full size stands in ``docs/bounds.md``."""
    measured = measure(name, SCALE)

    assert measured.problems(scale=SCALE) == []
    # A twentieth of the size takes a twentieth of the memory.
    assert measured.memory < 40 * MIB + 2 * measured.size
    assert f"| {name} |" in report([measured])
