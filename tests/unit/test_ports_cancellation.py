"""What ends waits: ``Cancellation``, and the event that a signal handler may set."""

import threading

import pytest

from moby_plugins import Cancellation
from moby_plugins.ports import SleepEvent, WakeEvent
from moby_plugins.testing import FakeClock

SECONDS = 10.0


def test_setting_calls_back_once() -> None:
    """What was registered, in the thread that sets; a second time calls nothing."""
    cancel, called = Cancellation(), []

    with cancel.calling(lambda: called.append(threading.get_ident())):
        assert (cancel.is_set(), called) == (False, [])
        cancel.set()
        cancel.set()

    assert (cancel.is_set(), called) == (True, [threading.get_ident()])


def test_a_callback_that_raises_keeps_no_other_from_being_called() -> None:
    """All are called, the last one first; then what was raised passes."""
    cancel, called = Cancellation(), []

    def fail() -> None:
        raise KeyboardInterrupt

    with (
        cancel.calling(lambda: called.append(1)),
        cancel.calling(fail),
        cancel.calling(lambda: called.append(2)),
        pytest.raises(KeyboardInterrupt),
    ):
        cancel.set()

    assert called == [2, 1]


def test_what_is_registered_late_is_called_at_once() -> None:
    """Where it is set already."""
    cancel, called = Cancellation(), []
    cancel.set()

    with cancel.calling(lambda: called.append(1)):
        assert called == [1]
    assert called == [1]


def test_a_block_that_has_ended_is_not_called_and_leaves_nothing() -> None:
    """However it ended: one cancellation may serve for a whole program."""
    cancel, called = Cancellation(), []
    for _ in range(100):
        with pytest.raises(KeyError), cancel.calling(lambda: called.append(1)):
            raise KeyError

    cancel.set()

    assert (called, len(cancel._callbacks)) == ([], 0)  # noqa: SLF001


def test_each_registers_for_itself() -> None:
    """The same callback, in two places, is two."""
    cancel, called = Cancellation(), []

    def note() -> None:
        called.append(1)

    with cancel.calling(note), cancel.calling(note):
        with cancel.calling(note):
            pass
        cancel.set()

    assert called == [1, 1]


def test_its_repr_tells_whether_it_is_set() -> None:
    """For the one who debugs."""
    cancel = Cancellation()
    before = repr(cancel), repr(cancel.event)
    cancel.set()

    assert before == ("<Cancellation: not set>", "<WakeEvent: unset>")
    assert (repr(cancel), repr(cancel.event)) == ("<Cancellation: set>", "<WakeEvent: set>")


@pytest.fixture(params=[WakeEvent, SleepEvent])
def event(request: pytest.FixtureRequest) -> WakeEvent:
    """An event that is not set."""
    made: WakeEvent = request.param()
    return made


@pytest.mark.parametrize("timeout", [0.0, -1.0, 0.005])
def test_waiting_for_what_does_not_happen_ends(event: WakeEvent, timeout: float) -> None:
    """With the time-out, and false; nothing is left of the wait."""
    assert event.wait(timeout) is False
    assert (event.is_set(), event._asleep) == (False, [])  # noqa: SLF001


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e9, SECONDS])
def test_all_that_wait_are_woken(event: WakeEvent, timeout: float | None) -> None:
    """However many they are, and those that come later."""
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(event.wait(timeout))) for _ in range(8)]
    for thread in threads:
        thread.start()

    event.set()

    for thread in threads:
        thread.join(SECONDS)
    assert woken == [True] * 8
    assert event.wait(timeout)
    assert event._asleep == []  # noqa: SLF001


def test_it_stays_set(event: WakeEvent) -> None:
    """What has ended does not begin again."""
    event.set()

    with pytest.raises(RuntimeError, match="cannot be cleared"):
        event.clear()
    assert event.is_set()


def test_a_fake_clock_lists_the_sleeps_that_can_be_ended() -> None:
    """And no other wait."""
    clock = FakeClock()
    event = SleepEvent()
    clock.at(6, event.set)

    waited = [clock.wait(SleepEvent(), 2), clock.wait(WakeEvent(), 3), clock.wait(event, 9)]

    assert (waited, clock.now()) == ([False, False, True], 6.0)
    assert clock.sleeps == [2, 9]
