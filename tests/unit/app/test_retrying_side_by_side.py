"""The retry loop over many attempts side by side: none is delayed by others that fail or hang."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from moby_plugins.app.retrying import (
    MAX_THREADS,
    Attempt,
    Outcome,
    retry_side_by_side,
)
from moby_plugins.domain.errors import StatusError, TransportError
from moby_plugins.domain.retry import RetryPolicy, is_retryable
from moby_plugins.testing import FakeClock


class Neighbours:
    """Things to try on one clock, and when each was tried."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tried: dict[str, list[float]] = {}

    def live(self, name: str = "live") -> Attempt[str]:
        """One that works at once."""
        return self._noted(name, lambda: name)

    def dead(self, name: str = "dead") -> Attempt[str]:
        """One that fails at once, each time."""
        return self._noted(name, lambda: self._fail(TransportError(name)))

    def hung(self, name: str = "hung", seconds: float = 10.0) -> Attempt[str]:
        """One that works after some seconds."""

        def hang() -> str:
            self.clock.advance(seconds)
            return name

        return self._noted(name, hang)

    def failing(self, error: BaseException) -> Attempt[str]:
        """One that raises this."""
        return self._noted("failing", lambda: self._fail(error))

    def start(
        self,
        *attempts: Attempt[str],
        settle: Callable[[Outcome[str]], Any] = lambda outcome: outcome,
    ) -> Any:
        """Try all of them: an iterator of what is settled, that can be closed."""
        return retry_side_by_side(attempts, RetryPolicy(), self.clock, is_retryable, settle)

    def outcomes(self, *attempts: Attempt[str]) -> list[tuple[float, Outcome[str]]]:
        """When each was settled, and how."""
        return [(self.clock.now(), outcome) for outcome in self.start(*attempts)]

    def _noted(self, name: str, do: Callable[[], str]) -> Attempt[str]:
        def attempt(number: int) -> str:
            moments = self.tried.setdefault(name, [])
            moments.append(self.clock.now())
            assert number == len(moments)
            return do()

        return attempt

    def _fail(self, error: BaseException) -> str:
        raise error


@pytest.fixture
def street() -> Iterator[Neighbours]:
    """Things to try side by side, in an operation of the library."""
    street = Neighbours()
    with street.clock.working():
        yield street


def workers() -> Sequence[threading.Thread]:
    """The threads that try things."""
    return [thread for thread in threading.enumerate() if thread.name == "moby-plugins"]


def test_without_attempts_there_are_no_outcomes(street: Neighbours) -> None:
    """An empty list of attempts gives no outcome and no error."""
    assert street.outcomes() == []


@pytest.mark.parametrize("error", [StatusError(500, "M.x", "full"), OSError("mine"), SystemExit(1)])
def test_an_outcome_is_a_value_or_the_error_that_was_raised(
    error: BaseException, street: Neighbours
) -> None:
    """An outcome has the index of its attempt; an error that is not retryable comes at once."""
    outcomes = street.outcomes(street.live(), street.failing(error))

    assert outcomes == [(0.0, Outcome(0, value="live")), (0.0, Outcome(1, error=error))]


def test_an_attempt_among_others_has_the_same_schedule_as_one_alone(street: Neighbours) -> None:
    """An attempt that always fails is given up at 15 s, and its error has the counts."""
    [(moment, outcome)] = street.outcomes(street.dead())

    assert (street.tried, moment) == ({"dead": [0.0, 1.0, 3.0, 7.0, 15.0]}, 15.0)
    assert isinstance(outcome.error, TransportError)
    assert (outcome.error.attempts, outcome.error.elapsed) == (5, 15.0)


def test_each_retry_is_one_warning(street: Neighbours, caplog: pytest.LogCaptureFixture) -> None:
    """Two attempts that always fail log four warnings each."""
    street.outcomes(street.dead("a"), street.dead("b"))

    assert [record.name for record in caplog.records] == ["moby_plugins"] * 8
    assert caplog.messages[0] == "a (tried once); trying again in 1 s"


def test_first_attempts_are_made_in_the_order_given(street: Neighbours) -> None:
    """The order is the same every time, even with more attempts than threads."""
    names = [f"live{i}" for i in range(2 * MAX_THREADS)]

    outcomes = street.outcomes(*map(street.live, names))

    assert list(street.tried) == names
    assert [outcome.value for _, outcome in outcomes] == names


def test_hundreds_of_failing_attempts_take_as_long_as_one(street: Neighbours) -> None:
    """Of 600, the 300 that succeed are settled at once, and the 300 that fail all at 15 s."""
    mixed = [make(f"{make.__name__}{i}") for i in range(300) for make in (street.dead, street.live)]

    outcomes = street.outcomes(*mixed)

    assert [moment for moment, _ in outcomes] == [0.0] * 300 + [15.0] * 300
    assert {outcome.index % 2 for _, outcome in outcomes[:300]} == {1}
    dead = [moments for name, moments in street.tried.items() if name.startswith("dead")]
    assert dead == [[0.0, 1.0, 3.0, 7.0, 15.0]] * 300


def test_hanging_attempts_delay_no_others_while_one_thread_is_free(street: Neighbours) -> None:
    """While all other threads hang, the free thread makes the other attempts on time."""
    hung = [street.hung(f"hung{i}", 100) for i in range(MAX_THREADS - 1)]

    outcomes = street.outcomes(*hung, street.live(), street.dead(), street.live("last"))

    assert [moment for moment, _ in outcomes[:3]] == [0.0, 0.0, 15.0]
    assert {moment for moment, _ in outcomes[3:]} == {100.0}


def test_waiting_for_a_free_thread_does_not_count_towards_the_retry_budget(
    street: Neighbours,
) -> None:
    """All threads hang for 40 s, and a failing attempt is still made five times afterwards."""
    hung = [street.hung(f"hung{i}", 40) for i in range(MAX_THREADS)]

    moment, outcome = street.outcomes(*hung, street.dead())[-1]

    assert street.tried["dead"] == [40.0, 41.0, 43.0, 47.0, 55.0]
    assert isinstance(outcome.error, TransportError)
    assert (moment, outcome.error.attempts, outcome.error.elapsed) == (55.0, 5, 15.0)


def test_slow_failures_use_up_their_own_budget_only(street: Neighbours) -> None:
    """An attempt that takes 10 s to fail is given up at 33 s, without delaying another."""

    def slow(number: int) -> str:
        street.clock.advance(10)
        raise TransportError(f"slow {number}")

    (dead_at, dead), (slow_at, slow_one) = street.outcomes(slow, street.dead())

    assert (dead_at, dead.index) == (15.0, 1)
    assert (slow_at, slow_one.index) == (33.0, 0)
    assert str(slow_one.error) == "slow 3 (tried 3 times in 33 s)"


def test_attempts_go_on_while_the_outcomes_are_not_read(street: Neighbours) -> None:
    """An outcome is settled in the thread that made the attempt, not when it is read."""
    settled: list[int] = []

    def settle(outcome: Outcome[str]) -> int:
        settled.append(outcome.index)
        return outcome.index

    with closing(street.start(street.dead(), street.live(), settle=settle)) as running:
        assert next(running) == 1
        street.clock.advance(20)

        assert settled == [1, 0]
        assert list(running) == [0]


def test_closing_the_outcomes_stops_further_attempts(street: Neighbours) -> None:
    """After the iterator is closed, an attempt that failed is not made again."""
    running = street.start(street.dead(), street.live())
    next(running)
    street.clock.advance(2)

    running.close()
    street.clock.advance(60)

    assert street.tried["dead"] == [0.0, 1.0]


def test_closing_the_outcomes_does_not_wait_for_a_hanging_attempt(street: Neighbours) -> None:
    """Closing takes no time, and a thread begins no other attempt after the current one."""
    hung = [street.hung(f"hung{i}") for i in range(MAX_THREADS)]
    running = street.start(street.live(), *hung[1:], street.dead("first"), street.dead("second"))
    next(running)

    running.close()

    assert street.clock.now() == 0.0
    street.clock.advance(60)
    assert not {"first", "second"} & set(street.tried)


def test_a_hung_plugin_does_not_keep_the_program_from_ending(street: Neighbours) -> None:
    """The threads are daemon threads, and their name in a dump shows where they come from."""
    seen: list[tuple[str, bool]] = []

    def look(_: int) -> str:
        thread = threading.current_thread()
        seen.append((thread.name, thread.daemon))
        return "looked"

    street.outcomes(look)

    assert seen == [("moby-plugins", True)]


def test_threads_end_when_all_is_settled(street: Neighbours) -> None:
    """No thread of the library is left."""
    street.outcomes(street.dead(), street.live(), street.hung())

    for thread in workers():
        thread.join(5)
    assert workers() == []


def test_an_error_of_the_clock_is_an_outcome_too(street: Neighbours) -> None:
    """What a scripted event of the fake clock raises reaches the reader of the outcomes."""
    street.clock.at(2, lambda: street.failing(LookupError("scripted"))(1))

    outcomes = street.outcomes(street.dead("a"), street.dead("b"))

    assert [(moment, str(outcome.error)) for moment, outcome in outcomes] == [
        (2.0, "scripted"),
        (15.0, "a (tried 5 times in 15 s)"),
    ]


class Careless(RetryPolicy):
    """A policy of a host's own, with a mistake in it."""

    def next_delay(self, retries: int, elapsed: float) -> float | None:
        raise ZeroDivisionError


def test_an_error_of_the_policy_is_an_outcome_too(street: Neighbours) -> None:
    """The outcome has the exception as ``refusal``, so that its reader does not wait for ever."""
    workers = retry_side_by_side(
        [street.dead(), street.live()],
        Careless(),
        street.clock,
        is_retryable,
        lambda outcome: outcome,
    )

    outcomes = [*workers]
    assert {type(outcome.refusal) for outcome in outcomes} == {ZeroDivisionError, type(None)}
    assert {type(outcome.error) for outcome in outcomes} == {type(None)}
