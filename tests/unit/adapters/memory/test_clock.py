"""A fake clock as one thread sees it: sleeping, waiting and scripted events."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from moby_plugins.testing import ClockStuckError, FakeClock
from moby_plugins.testing.contracts import ClockContract


class TestFakeClock(ClockContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()


def fail() -> None:
    """A scripted event that goes wrong."""
    raise LookupError("scripted")


def test_a_fake_clock_begins_at_0_or_at_a_given_moment() -> None:
    """A test can choose the first moment."""
    assert FakeClock().now() == 0.0
    assert FakeClock(1e9).now() == 1e9


def test_an_hour_passes_at_once_and_to_the_second() -> None:
    """A sleep moves the clock by exactly its seconds, and takes no real time."""
    clock = FakeClock(10)

    clock.sleep(3600)

    assert clock.now() == 3610.0


def test_every_sleep_is_listed_in_order() -> None:
    """``sleeps`` has the seconds of each sleep, 0 included."""
    clock = FakeClock()

    for seconds in (1, 0, 2.5):
        clock.sleep(seconds)

    assert clock.sleeps == [1, 0, 2.5]


def test_advance_moves_the_clock_and_lists_no_sleep() -> None:
    """``sleeps`` is for what the library slept, not for time that a test lets pass."""
    clock = FakeClock()

    clock.advance(7)

    assert (clock.now(), clock.sleeps) == (7.0, [])


def test_events_happen_by_moment_and_then_by_the_order_they_were_scripted() -> None:
    """Each event sees its own moment on the clock, and one beyond the sleep does not happen."""
    clock = FakeClock()
    log: list[tuple[str, float]] = []

    def note(name: str) -> None:
        log.append((name, clock.now()))

    for name, moment in [("late", 5), ("early", 2), ("as late", 5), ("too late", 9)]:
        clock.at(moment, partial(note, name))

    clock.sleep(8)

    assert log == [("early", 2.0), ("late", 5.0), ("as late", 5.0)]
    assert clock.now() == 8.0


def test_an_event_happens_before_a_thread_that_sleeps_until_then_goes_on() -> None:
    """At the same moment the event is first and the sleeper second."""
    clock = FakeClock()
    log: list[str] = []
    clock.at(3, lambda: log.append("event"))

    clock.sleep(3)
    log.append("sleeper")

    assert log == ["event", "sleeper"]


def test_an_event_of_the_past_does_not_turn_the_clock_back() -> None:
    """Such an event happens when time next moves, at the moment that the clock shows."""
    clock = FakeClock(100)
    seen: list[float] = []
    clock.at(5, lambda: seen.append(clock.now()))

    clock.sleep(1)

    assert (seen, clock.now()) == ([100.0], 101.0)


def test_a_scripted_event_may_script_another() -> None:
    """What an event adds happens within the same sleep if its moment comes."""
    clock = FakeClock()
    seen: list[float] = []
    clock.at(1, lambda: clock.at(2, lambda: seen.append(clock.now())))

    clock.sleep(3)

    assert seen == [2.0]


def test_an_event_may_use_the_library() -> None:
    """An operation that does not sleep may run inside a scripted event."""
    clock = FakeClock()
    seen: list[float] = []

    def operate() -> None:
        with clock.working():
            seen.append(clock.now())

    clock.at(1, operate)
    clock.sleep(2)

    assert (seen, clock.now()) == ([1.0], 2.0)


def test_a_scripted_event_wakes_a_thread_that_waits() -> None:
    """A wait ends at the very moment at which the script sets its ``threading.Event``."""
    clock = FakeClock()
    event = threading.Event()
    clock.at(3, event.set)

    assert clock.wait(event, 10) is True
    assert clock.now() == 3.0


def test_sleep_raises_the_exception_of_a_scripted_event_and_the_clock_goes_on() -> None:
    """The sleeper gets the exception at the event's moment, and may sleep again."""
    clock = FakeClock()
    clock.at(4, fail)

    with pytest.raises(LookupError, match=r"^scripted$"):
        clock.sleep(10)

    assert clock.now() == 4.0
    clock.sleep(1)
    assert clock.now() == 5.0


def test_wait_raises_the_exception_of_a_scripted_event_too() -> None:
    """A waiting thread gets it as a sleeping one does."""
    clock = FakeClock()
    clock.at(4, fail)

    with pytest.raises(LookupError):
        clock.wait(threading.Event(), 10)


@pytest.mark.parametrize(
    "block",
    [lambda clock: clock.sleep(1), lambda clock: clock.wait(threading.Event(), 1)],
    ids=["sleep", "wait"],
)
def test_a_scripted_event_that_sleeps_is_an_error(block: Callable[[FakeClock], object]) -> None:
    """A scripted event must take no time: it raises instead of hanging."""
    clock = FakeClock()
    clock.at(1, lambda: block(clock))

    with pytest.raises(
        ClockStuckError, match=r"^a function that was passed to at\(\) must not sleep or wait$"
    ):
        clock.sleep(2)


def test_a_wait_that_nothing_can_end_raises_at_once_and_names_the_thread() -> None:
    """After that the thread may use the clock again."""
    clock = FakeClock()

    with pytest.raises(ClockStuckError) as caught:
        clock.wait(threading.Event())

    assert str(caught.value) == (
        "all threads wait, and no scheduled event can wake them: MainThread waits for an event"
    )
    clock.sleep(1)
    assert clock.now() == 1.0


def test_events_that_lead_only_to_other_events_are_an_error() -> None:
    """If the only thread waits for ever, the watchdog ends it after some real time."""
    clock = FakeClock(watchdog=0.05)

    def again() -> None:
        clock.at(clock.now() + 1.0, again)

    clock.at(1.0, again)
    with pytest.raises(ClockStuckError, match="nothing but scripted events for"):
        clock.wait(threading.Event())


def test_many_events_at_many_moments_are_no_error() -> None:
    """A heartbeat every ten seconds of a simulated day does not make the watchdog raise."""
    clock, beats = FakeClock(), 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        clock.at(clock.now() + 10.0, beat)

    clock.at(10.0, beat)
    clock.sleep(86_400.0)

    assert beats == 8_640
