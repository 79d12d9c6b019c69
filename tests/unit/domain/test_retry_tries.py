"""The attempts of one operation, counted without a clock and without an event loop."""

import math
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from moby_plugins.domain.errors import PluginError, StatusError, TransportError
from moby_plugins.domain.retry import RetryPolicy, Tries, is_retryable
from moby_plugins.domain.text import quoted
from tests.cases import every


def never_drawn() -> float:
    """No random number, for a policy that needs none."""
    raise AssertionError("there is no jitter")


def delays(tries: Tries, moments: Iterable[float]) -> list[float | None]:
    """What follows attempts that fail at these moments."""
    return [tries.after(TransportError("refused"), now) for now in moments]


def test_attempts_are_counted_and_their_time_is_measured_from_the_first() -> None:
    """``number`` is that of the next attempt, and the budget begins with the first attempt."""
    tries = Tries(RetryPolicy(), is_retryable, started=100.0, chance=never_drawn)

    assert tries.number == 1
    assert delays(tries, [100, 101, 103, 107, 115]) == [1, 2, 4, 8, None]
    assert tries.number == 5


def test_an_error_has_the_number_of_attempts_and_the_time_since_the_first() -> None:
    """``attempts`` includes the failed attempt, and ``elapsed`` the time that it took."""
    tries = Tries(RetryPolicy(), is_retryable, started=10.0, chance=never_drawn)
    first, second = TransportError("refused"), TransportError("refused")

    tries.after(first, 10.5)
    tries.after(second, 12.25)

    assert (first.attempts, first.elapsed) == (1, 0.5)
    assert (second.attempts, second.elapsed) == (2, 2.25)


def test_an_error_that_is_not_retryable_ends_the_attempts() -> None:
    """The error has its ``attempts`` and ``elapsed`` all the same."""
    asked: list[PluginError] = []

    def never(error: PluginError) -> bool:
        asked.append(error)
        return False

    error = StatusError(500, "M.x", "no")

    assert Tries(RetryPolicy(), never, started=0.0, chance=never_drawn).after(error, 2.0) is None
    assert asked == [error]
    assert (error.attempts, error.elapsed) == (1, 2.0)


def test_time_spent_waiting_for_other_attempts_does_not_use_the_budget() -> None:
    """``postpone`` excludes these seconds from the budget and from the error's ``elapsed``."""
    error = TransportError("refused")
    tries = Tries(RetryPolicy(budget=10.0), is_retryable, started=0.0, chance=never_drawn)
    tries.postpone(50.0)

    assert tries.after(error, 51.0) == 1
    assert error.elapsed == 1.0


@pytest.mark.parametrize(("drawn", "waits"), [(0.0, [1, 2]), (0.5, [2, 3]), (1.0, [3, 4])])
def test_jitter_is_added_to_each_wait(drawn: float, waits: list[float]) -> None:
    """A random number from 0 to 1 decides how much of the jitter is added."""
    tries = Tries(RetryPolicy(jitter=2.0), is_retryable, 0.0, lambda: drawn)

    assert delays(tries, [0.0] * 2) == waits


def test_a_jitter_longer_than_any_clock_accepts_is_refused() -> None:
    """The longest jitter is 1e9 seconds, like the longest delay."""
    assert RetryPolicy(jitter=1e9).jitter == 1e9
    with pytest.raises(ValueError, match="jitter must be a number, 0 to"):
        RetryPolicy(jitter=1e300)


def test_jitter_does_not_move_an_attempt_beyond_the_budget() -> None:
    """An attempt that the policy allows is made within the budget, and none after it."""
    tries = Tries(RetryPolicy(budget=10, jitter=100), is_retryable, 0.0, lambda: 1.0)

    assert delays(tries, [0.0, 10.0]) == [10.0, None]


class Steady(RetryPolicy):
    """A policy of five attempts, one in each second."""

    def next_delay(self, retries: int, elapsed: float) -> float | None:
        """A second, until four retries were made."""
        return 1.0 if retries < 4 else None


def test_a_subclass_of_retry_policy_decides_when_to_give_up() -> None:
    """Its ``next_delay`` allows attempts after the budget, and jitter is added there in full."""
    tries = Tries(Steady(budget=2.25, jitter=0.5), is_retryable, 0.0, lambda: 1.0)

    assert delays(tries, range(5)) == [1.5, 1.25, 1.5, 1.5, None]


class Given(RetryPolicy):
    """A policy of a user's, which returns what it is given."""

    given: Any = None

    def next_delay(self, retries: int, elapsed: float) -> Any:
        """Anything."""
        return self.given


class Index:
    """A number without a fraction, which is no ``int``."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number

    def __gt__(self, other: int) -> bool:
        return self._number > other

    def __repr__(self) -> str:
        return f"Index({self._number})"


def delay_of(given: Any) -> float | None:
    """The seconds until the next attempt, by such a policy."""
    policy = Given()
    object.__setattr__(policy, "given", given)
    tries = Tries(policy, is_retryable, started=0.0, chance=never_drawn)
    return tries.after(TransportError("refused"), 0.0)


@every(
    ("given", "delay"),
    [
        (2.5, 2.5),
        (0, 0),
        (0.0, 0),
        (True, 1),
        (Fraction(1, 2), 0.5),
        (Decimal("0.25"), 0.25),
        (Index(3), 3),
        (10**400, 1e9),
        (math.inf, 1e9),
    ],
)
def test_a_subclass_of_retry_policy_may_return_any_real_number(given: Any, delay: float) -> None:
    """A ``Fraction`` or ``Decimal`` is accepted; a delay of more than 1e9 s becomes 1e9 s."""
    assert delay_of(given) == delay


@every("given", [-1, -0.5, -(10**400), math.nan, -math.inf, Index(-1)])
def test_a_negative_or_nan_delay_of_a_retry_policy_is_an_error(given: Any) -> None:
    """The error shows the value that ``next_delay`` returned."""
    with pytest.raises(ValueError, match="next_delay") as caught:
        delay_of(given)

    assert str(caught.value) == (
        f"next_delay must return None or a number of seconds, 0 or more: {quoted(given)}"
    )


@every("given", ["1", [], 1j, object])
def test_a_delay_of_a_retry_policy_that_is_not_a_number_is_an_error(given: Any) -> None:
    """The error shows the value that ``next_delay`` returned."""
    with pytest.raises(TypeError) as caught:
        delay_of(given)

    assert str(caught.value) == (
        f"next_delay must return None or a number of seconds: {quoted(given)}"
    )
