"""``make soak``, for so few calls that it ends in seconds."""

from pathlib import Path

import pytest

from tests.soak.async_calls import CANCELLED, TIMED_OUT
from tests.soak.faults import EVERY
from tests.soak.run import async_soak, soak

CALLS = 10_000


def test_thousands_of_calls_with_faults_lose_and_leak_nothing(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No response is lost or crossed, nothing is left open, and memory does not grow."""
    # Each error that is logged would be kept.
    caplog.set_level("CRITICAL", "moby_plugins")

    done = soak(CALLS, short_path)

    assert done.problems() == []
    assert done.tally.right["answered"] == CALLS - CALLS // EVERY
    assert len(done.tally.right) == 13
    assert f"{CALLS:,} calls" in done.report()


def test_thousands_of_calls_with_some_cancelled_lose_and_leak_nothing(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In each kind of event loop no task is left, and each call gives back its turn in the pool."""
    caplog.set_level("CRITICAL", "moby_plugins")

    done = async_soak(CALLS // 2, short_path)

    assert done.problems() == []
    assert min(done.tally.right[way] for way in (CANCELLED, TIMED_OUT)) > 0
    assert done.loops.keys() >= {"asyncio"}
    assert "| asyncio | 1 | 1 | 0 | 0 |" in done.report()
