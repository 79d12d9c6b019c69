"""A test of the fake clock that takes long: a hundred thousand scripted events."""

from itertools import cycle

import pytest

from moby_plugins.testing import ClockStuckError, FakeClock


def test_an_event_that_adds_itself_again_for_the_same_moment_is_an_error() -> None:
    """After 100,000 events at one moment the clock raises an error, and can be used afterwards."""
    clock = FakeClock()
    later = cycle([0.0, -1.0])

    def again() -> None:
        clock.at(clock.now() + next(later), again)

    clock.at(1.0, again)
    with pytest.raises(ClockStuckError, match="more than 100,000 scripted events at 1"):
        clock.sleep(2.0)
    clock.sleep(1.0)
    assert clock.now() == 2.0
