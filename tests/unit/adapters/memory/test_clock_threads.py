"""A fake clock over several threads: whose turn it is, and what happens in a deadlock."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from moby_plugins.testing import ClockStuckError, FakeClock


def work_hard() -> None:
    """Do something without the clock, for long enough that any other thread gets a chance."""
    until = time.monotonic() + 0.02
    while time.monotonic() < until:
        pass


@contextmanager
def busy_thread(clock: FakeClock, name: str) -> Iterator[None]:
    """A thread that takes part and does something else until the block is left."""
    entered, release = threading.Event(), threading.Event()

    def be_busy() -> None:
        with clock.working():
            entered.set()
            release.wait()

    thread = threading.Thread(target=be_busy, name=name)
    thread.start()
    entered.wait()
    try:
        yield
    finally:
        release.set()
        thread.join()


def test_functions_that_run_side_by_side_give_results_and_exceptions() -> None:
    """``run`` returns a future for each function, in the order given."""
    clock = FakeClock()

    def stop() -> None:
        raise SystemExit(3)

    slow, quick, failed = clock.run(lambda: clock.sleep(5), clock.now, stop)

    assert (slow.result(), quick.result(), clock.now()) == (None, 0.0, 5.0)
    assert isinstance(failed.exception(), SystemExit)


def test_threads_take_turns_in_the_same_order_every_time() -> None:
    """The thread that blocked first goes first, at every moment and in every run."""

    def order() -> list[str]:
        clock = FakeClock()
        log: list[str] = []

        def step(name: str, *naps: float) -> None:
            for nap in naps:
                clock.sleep(nap)
                log.append(f"{name}{clock.now():g}")

        clock.run(
            partial(step, "a", 1, 2, 1), partial(step, "b", 2, 1), partial(step, "c", 1, 1, 1)
        )
        return log

    expected = ["a1", "c1", "b2", "c2", "a3", "b3", "c3", "a4"]
    assert [order() for _ in range(20)] == [expected] * 20


def test_threads_that_sleep_until_one_moment_wake_in_the_order_of_their_calls() -> None:
    """Eight threads that sleep until the same moment come back one after the other."""
    clock = FakeClock()
    log: list[int] = []

    def nap(number: int) -> None:
        clock.sleep(1)
        log.append(number)

    clock.run(*[partial(nap, number) for number in range(8)])

    assert log == list(range(8))


def test_time_stands_still_while_a_thread_works() -> None:
    """No sleeper is woken before it has ended, even if inner ``working`` blocks have ended."""
    clock = FakeClock()

    def work() -> float:
        with clock.working(), clock.working():
            pass
        work_hard()
        return clock.now()

    _, worked = clock.run(lambda: clock.sleep(5), work)

    assert (worked.result(), clock.now()) == (0.0, 5.0)


def test_a_thread_that_sets_an_event_keeps_its_turn() -> None:
    """Threads that wait for the event go on when the one that set it has blocked or left."""
    clock = FakeClock()
    event = threading.Event()
    log: list[str] = []

    def wait() -> None:
        clock.wait(event)
        log.append("woken")

    def wake() -> None:
        event.set()
        work_hard()
        log.append("done waking")

    clock.run(wait, wake)

    assert log == ["done waking", "woken"]


def test_a_thread_whose_event_is_set_is_woken_before_time_passes() -> None:
    """It goes on at the current moment, although another thread sleeps until a later one."""
    clock = FakeClock()
    event = threading.Event()

    def wait() -> float:
        clock.wait(event)
        return clock.now()

    woken, *_ = clock.run(wait, lambda: clock.sleep(5), event.set)

    assert woken.result() == 0.0


def test_a_thread_that_does_not_use_the_clock_may_set_an_event() -> None:
    """The waiting thread is woken even while another thread works and time stands still."""
    clock = FakeClock(watchdog=2)
    event = threading.Event()
    results: list[bool] = []

    with busy_thread(clock, "busy"):
        waiter = threading.Thread(target=lambda: results.append(clock.wait(event, 60)))
        waiter.start()
        event.set()
        waiter.join(5)

        assert (results, clock.now()) == ([True], 0.0)


def test_a_scripted_exception_is_raised_in_the_thread_whose_turn_it_is() -> None:
    """Only that thread gets it; the others sleep on."""
    clock = FakeClock()
    clock.at(5, [].pop)

    def sleep_twice() -> None:
        clock.sleep(4)
        clock.sleep(4)

    slept, failed = clock.run(lambda: clock.sleep(10), sleep_twice)

    assert isinstance(failed.exception(), IndexError)
    assert (slept.exception(), clock.now()) == (None, 10.0)


def test_a_scripted_exception_is_not_lost_if_the_thread_with_the_turn_ends() -> None:
    """A sleeping thread gets the exception instead."""
    clock = FakeClock(watchdog=1)
    clock.at(5, [].pop)

    slept, ended = clock.run(lambda: clock.sleep(10), lambda: clock.sleep(1))

    assert isinstance(slept.exception(), IndexError)
    assert (ended.result(), clock.now()) == (None, 5.0)


def test_the_error_for_a_deadlock_names_all_its_threads() -> None:
    """It is raised in every thread that takes part, each time as another object."""
    clock = FakeClock()
    errors: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(ClockStuckError) as caught:
            clock.wait(threading.Event())
        errors.append(caught.value)

    with pytest.raises(ClockStuckError) as caught:
        clock.run(wait, wait)

    waits = r"Thread-\d+ \(_run\) waits for an event"
    assert caught.match(
        "^all threads wait, and no scheduled event can wake them: "
        rf"MainThread waits for an event; {waits}; {waits}$"
    )
    clock.advance(1)  # the others have their turns before it
    assert [str(error) for error in errors] == [str(caught.value)] * 2
    assert len({id(error) for error in [*errors, caught.value]}) == 3


def test_the_watchdog_names_a_busy_thread_that_holds_up_a_sleeping_one() -> None:
    """The sleeping thread raises after some real time without progress."""
    clock = FakeClock(watchdog=0.05)

    with busy_thread(clock, "busy"), pytest.raises(ClockStuckError) as caught:
        clock.sleep(2)

    assert str(caught.value) == (
        "no thread made progress for 0.05 s of real time:"
        " busy is running; MainThread sleeps until 2"
    )


def test_the_watchdog_names_a_busy_thread_that_holds_up_a_waiting_one() -> None:
    """A wait with a time-out is held up by a busy thread in the same way."""
    clock = FakeClock(watchdog=0.05)

    with busy_thread(clock, "busy"), pytest.raises(ClockStuckError) as caught:
        clock.wait(threading.Event(), 3)

    assert caught.match("busy is running; MainThread waits for an event until 3$")


def test_a_watchdog_may_be_longer_than_the_system_can_wait() -> None:
    """More seconds than a lock accepts as a time-out are no error."""
    clock = FakeClock(watchdog=1e300)

    slept = clock.run(lambda: clock.sleep(1), lambda: clock.sleep(2))

    assert [each.exception() for each in slept] == [None, None]
    assert clock.now() == 2.0
