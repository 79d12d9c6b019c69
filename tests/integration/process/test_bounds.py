"""``make bounds`` at a twentieth of its size, so that it ends in seconds."""

import pytest

from tests.bounds.run import CASES, MIB, measure, report

SCALE = 0.05


@pytest.mark.parametrize("name", CASES)
def test_reading_each_kind_of_json_stays_within_its_memory_bound(name: str) -> None:
    """Hosts and plugins stay within the bound; ``docs/bounds.md`` has the figures at full size."""
    measured = measure(name, SCALE)

    assert measured.problems(scale=SCALE) == []
    # A twentieth of the size takes a twentieth of the memory.
    assert measured.memory < 40 * MIB + 2 * measured.size
    assert f"| {name} |" in report([measured])
