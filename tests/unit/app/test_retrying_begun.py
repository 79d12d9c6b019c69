"""First attempts that one thread begins side by side, and those that other threads make."""

import threading
from collections.abc import Callable, Generator
from contextlib import closing

import pytest
from attrs import define, field

from moby_plugins.app.retrying import MAX_BEGUN, OnRetry, Outcome, retry_side_by_side
from moby_plugins.domain.errors import TransportError
from moby_plugins.domain.retry import RetryPolicy, is_retryable
from moby_plugins.ports import PendingResponse
from moby_plugins.testing import FakeClock
from tests.unit.app.in_memory import Pending


@define
class Ready:
    """A selector of what is ready at once, which notes how many were waited for."""

    pending: list[PendingResponse] = field(factory=list)
    most: int = 0
    before: Callable[[], object] = lambda: None

    def add(self, pending: PendingResponse, /) -> None:
        self.pending.append(pending)
        self.most = max(self.most, len(self.pending))

    def wait(self) -> list[PendingResponse]:
        self.before()
        return [self.pending.pop(0)]


class Attempts:
    """Attempts of which each notes the thread that made it."""

    def __init__(self, begun: dict[int, Pending | TransportError | None], count: int) -> None:
        self.clock = FakeClock()
        self.selector = Ready()
        self.begun = begun
        self.made: dict[int, list[tuple[int, bool]]] = {index: [] for index in range(count)}
        self.beginner: set[int] = set()
        self.failing: set[int] = set()

    def begin(self, index: int) -> Pending | None:
        self.beginner.add(threading.get_ident())
        begun = self.begun.get(index, None)
        if isinstance(begun, TransportError):
            raise begun
        return begun

    def outcomes(
        self, policy: RetryPolicy | None = None, on_retry: OnRetry | None = None
    ) -> Generator[Outcome[int]]:
        """How each ends; an attempt is whether the thread was that of the beginner."""

        def attempt(index: int) -> Callable[[int], int]:
            def make(number: int) -> int:
                self.made[index].append((number, threading.get_ident() in self.beginner))
                if index in self.failing and number == 1:
                    raise TransportError("failed")
                return index

            return make

        return retry_side_by_side(
            [attempt(index) for index in self.made],
            policy or RetryPolicy(),
            self.clock,
            is_retryable,
            lambda outcome: outcome,
            begin=self.begin,
            selector=self.selector,
            on_retry=[on_retry] * len(self.made),
        )

    def all(self) -> list[Outcome[int]]:
        """All of them, in the order of their numbers."""
        with self.clock.working():
            return sorted(self.outcomes(), key=lambda outcome: outcome.index)


def test_responses_that_are_ready_are_finished_by_the_thread_that_began_them() -> None:
    """No other thread makes an attempt."""
    attempts = Attempts({index: Pending() for index in range(5)}, 5)

    assert [outcome.value for outcome in attempts.all()] == [0, 1, 2, 3, 4]
    assert list(attempts.made.values()) == [[(1, True)]] * 5


def test_no_more_attempts_are_begun_at_once_than_the_limit() -> None:
    """The next attempt begins when an earlier one has ended."""
    count = 2 * MAX_BEGUN
    attempts = Attempts({index: Pending() for index in range(count)}, count)

    assert len(attempts.all()) == count
    assert attempts.selector.most == MAX_BEGUN


@pytest.mark.parametrize("begun", [None, Pending(is_whole=False)])
def test_an_attempt_that_would_block_is_made_by_another_thread(begun: Pending | None) -> None:
    """The attempt could not be begun, or its response not be finished, without waiting."""
    attempts = Attempts({0: Pending(), 1: begun}, 2)

    assert [outcome.value for outcome in attempts.all()] == [0, 1]
    assert attempts.made == {0: [(1, True)], 1: [(1, False)]}


def test_an_attempt_that_fails_to_begin_counts_as_the_first_attempt() -> None:
    """The second attempt comes after the policy's wait of 1 s, in another thread."""
    attempts = Attempts({0: TransportError("refused")}, 1)

    assert [outcome.value for outcome in attempts.all()] == [0]
    assert attempts.made == {0: [(2, False)]}
    assert attempts.clock.now() == 1.0


def test_the_policy_and_on_retry_are_never_called_by_the_thread_that_begins() -> None:
    """Both are the caller's code, which may wait for attempts that this thread has begun."""
    attempts = Attempts({0: TransportError("refused"), 1: Pending(), 2: Pending()}, 3)
    attempts.failing = {1}
    called: set[int] = set()
    asked: set[int] = set()

    class Policy(RetryPolicy):
        def next_delay(self, retries: int, elapsed: float) -> float | None:
            asked.add(threading.get_ident())
            return super().next_delay(retries, elapsed)

    with attempts.clock.working():
        outcomes = list(attempts.outcomes(Policy(), lambda *_: called.add(threading.get_ident())))

    assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2]
    assert called
    assert asked
    assert not (called | asked) & attempts.beginner


def test_a_slow_on_retry_does_not_delay_attempts_already_begun() -> None:
    """``on_retry`` waits here until the thread that began an attempt finishes it."""
    attempts = Attempts({0: TransportError("refused"), 1: Pending()}, 2)
    finished = threading.Event()
    seen: list[bool] = []
    attempts.selector.before = finished.set

    with attempts.clock.working():
        outcomes = list(attempts.outcomes(None, lambda *_: seen.append(finished.wait(10))))

    assert len(outcomes) == 2
    assert seen == [True]


def test_closing_the_outcomes_early_closes_the_attempts_that_were_begun() -> None:
    """Attempts that were handed to another thread are closed, too."""
    begun = [Pending(), Pending(is_whole=False), Pending(), Pending()]
    attempts = Attempts(dict(enumerate(begun)), 4)
    held = threading.Event()
    with attempts.clock.working(), closing(attempts.outcomes()) as outcomes:
        next(outcomes)
        attempts.selector.before = lambda: held.wait(10)
    held.set()
    for thread in threading.enumerate():
        if thread.name == "moby-plugins":
            thread.join(10)

    made = [bool(made) for made in attempts.made.values()]
    assert all(pending.closed or was for pending, was in zip(begun, made, strict=True))


def test_an_exception_of_the_selector_is_raised_to_the_caller() -> None:
    """The caller does not wait for attempts that will never be ready."""
    attempts = Attempts({0: Pending()}, 1)

    def fail() -> None:
        raise ZeroDivisionError

    attempts.selector.before = fail

    with attempts.clock.working(), pytest.raises(ZeroDivisionError):
        list(attempts.outcomes())
