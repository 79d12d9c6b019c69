"""How many threads make attempts side by side: as many as are needed, up to a limit."""

import threading
import time
from contextlib import closing

import pytest

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.app.retrying import MAX_THREADS, Attempt, Outcome, retry_side_by_side
from moby_plugins.domain.errors import TransportError
from moby_plugins.domain.retry import RetryPolicy, is_retryable


def outcomes(attempts: list[Attempt[int]], policy: RetryPolicy) -> list[Outcome[int]]:
    """What all come to, on the system's clock."""

    def settle(outcome: Outcome[int]) -> Outcome[int]:
        return outcome

    workers = retry_side_by_side(attempts, policy, SystemClock(), is_retryable, settle)
    with closing(workers):
        return list(workers)


def at_work(number: int) -> int:
    """What a quick plugin takes: a tenth of a millisecond."""
    ends = time.perf_counter() + 1e-4
    while time.perf_counter() < ends:
        pass
    return number


def test_there_are_no_more_threads_than_are_allowed() -> None:
    """Three times as many attempts share ``MAX_THREADS`` threads."""
    threads: set[int] = set()

    def slow(number: int) -> int:
        threads.add(threading.get_ident())
        return at_work(number)

    found = outcomes([slow] * (3 * MAX_THREADS), RetryPolicy.never())

    assert len(found) == 3 * MAX_THREADS
    assert len(threads) <= MAX_THREADS


@pytest.mark.parametrize("count", [2, MAX_THREADS])
def test_attempts_that_take_their_time_have_a_thread_each(count: int) -> None:
    """Each attempt waits for all the others, so they end only if all run at the same time."""
    together = threading.Barrier(count, timeout=10)

    def slow(number: int) -> int:
        together.wait()
        return number

    found = outcomes([slow] * count, RetryPolicy.never())

    assert [outcome.value for outcome in found] == [1] * count


def test_slow_attempts_after_many_quick_ones_have_a_thread_each() -> None:
    """The threads of the quick attempts are free for the slow ones."""
    together = threading.Barrier(8, timeout=10)

    def slow(number: int) -> int:
        together.wait()
        return number

    attempts: list[Attempt[int]] = [*[at_work] * 200, *[slow] * 8]

    found = outcomes(attempts, RetryPolicy.never())

    assert [outcome.value for outcome in found] == [1] * 208


def test_attempts_that_take_their_time_later_have_a_thread_each_too() -> None:
    """An attempt that fails at once and hangs when it is retried delays no other attempt."""
    together = threading.Barrier(8, timeout=10)

    def fails_and_hangs(number: int) -> int:
        if number == 1:
            raise TransportError("not yet")
        together.wait()
        return number

    found = outcomes([fails_and_hangs] * 8, RetryPolicy(initial=0.01, max_delay=0.01, budget=5))

    assert [outcome.value for outcome in found] == [2] * 8
