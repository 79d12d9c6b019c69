"""What ends waits: ``Cancellation``, and the event that a signal handler may set."""

import threading

import pytest

from moby_plugins import Cancellation
from moby_plugins.ports import SleepEvent, WakeEvent
from moby_plugins.testing import FakeClock

SECONDS = 10.0


def test_setting_a_cancellation_calls_each_callback_once() -> None:
    """Callbacks run in the thread that calls ``set``; a second ``set`` calls nothing."""
    cancel, called = Cancellation(), []

    with cancel.calling(lambda: called.append(threading.get_ident())):
        assert (cancel.is_set(), called) == (False, [])
        cancel.set()
        cancel.set()

    assert (cancel.is_set(), called) == (True, [threading.get_ident()])


def test_a_callback_that_raises_does_not_keep_others_from_being_called() -> None:
    """All callbacks are called, the last registered first; then ``set`` raises the exception."""
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


def test_a_callback_registered_after_the_cancellation_is_called_at_once() -> None:
    """If the cancellation is set already, ``calling`` itself calls the callback."""
    cancel, called = Cancellation(), []
    cancel.set()

    with cancel.calling(lambda: called.append(1)):
        assert called == [1]
    assert called == [1]


def test_a_callback_is_forgotten_at_the_end_of_its_block() -> None:
    """The block may raise; one cancellation can serve a whole program without growing."""
    cancel, called = Cancellation(), []
    for _ in range(100):
        with pytest.raises(KeyError), cancel.calling(lambda: called.append(1)):
            raise KeyError

    cancel.set()

    assert (called, len(cancel._callbacks)) == ([], 0)  # noqa: SLF001


def test_a_callback_that_is_registered_twice_is_called_twice() -> None:
    """The end of one block does not remove the same callback's other registrations."""
    cancel, called = Cancellation(), []

    def note() -> None:
        called.append(1)

    with cancel.calling(note), cancel.calling(note):
        with cancel.calling(note):
            pass
        cancel.set()

    assert called == [1, 1]


def test_the_repr_of_a_cancellation_shows_whether_it_is_set() -> None:
    """So does the ``repr`` of its event; both help with debugging."""
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
def test_a_wait_for_an_event_that_is_not_set_ends_with_its_timeout(
    event: WakeEvent, timeout: float
) -> None:
    """``wait`` returns false, and the event keeps no trace of the wait."""
    assert event.wait(timeout) is False
    assert (event.is_set(), event._asleep) == (False, [])  # noqa: SLF001


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e9, SECONDS])
def test_setting_an_event_wakes_all_threads_that_wait_for_it(
    event: WakeEvent, timeout: float | None
) -> None:
    """``wait`` returns true in all of them, and also if it is called after ``set``."""
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


def test_an_event_that_is_set_cannot_be_cleared(event: WakeEvent) -> None:
    """``clear`` raises ``RuntimeError``, because a cancelled wait must not begin again."""
    event.set()

    with pytest.raises(RuntimeError, match="cannot be cleared"):
        event.clear()
    assert event.is_set()


def test_a_fake_clock_lists_waits_for_a_sleep_event_as_sleeps() -> None:
    """Waits for a ``SleepEvent`` are in ``FakeClock.sleeps``; waits for other events are not."""
    clock = FakeClock()
    event = SleepEvent()
    clock.at(6, event.set)

    waited = [clock.wait(SleepEvent(), 2), clock.wait(WakeEvent(), 3), clock.wait(event, 9)]

    assert (waited, clock.now()) == ([False, False, True], 6.0)
    assert clock.sleeps == [2, 9]
