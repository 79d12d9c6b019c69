"""The schedule of attempts, computed without a clock."""

from itertools import pairwise

import pytest
from attrs import evolve

from moby_plugins.domain.errors import (
    DriverError,
    PluginError,
    PluginNotFoundError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.domain.retry import RetryPolicy, is_retryable, is_worth_waiting_for, size
from tests.cases import every


def schedule(policy: RetryPolicy, cost: float = 0.0, at_most: int = 50) -> list[float]:
    """When attempts begin, if each fails after ``cost`` seconds."""
    moments, now = [0.0], 0.0
    for retries in range(at_most):
        now += cost
        delay = policy.next_delay(retries, now)
        if delay is None:
            return moments
        now += delay
        moments.append(now)
    return moments


def transport_error(*, answered: bool = False, body_spent: bool = False) -> TransportError:
    """An exchange that broke, then or there."""
    error = TransportError("reset")
    error.answered, error.body_spent = answered, body_spent
    return error


def test_the_default_policy_waits_one_two_four_eight_seconds() -> None:
    """After failures that take no time the waits double, and the fifth failure is the last."""
    policy = RetryPolicy()

    waits = [policy.next_delay(retries, elapsed) for retries, elapsed in enumerate([0, 1, 3, 7])]

    assert waits == [1, 2, 4, 8]
    assert policy.next_delay(4, 15) is None


def test_the_default_policy_makes_five_attempts_in_fifteen_seconds() -> None:
    """A plugin that fails at once is tried at 0, 1, 3, 7 and 15 s."""
    assert schedule(RetryPolicy()) == [0, 1, 3, 7, 15]


@pytest.mark.parametrize(
    ("cost", "moments"),
    [(1.0, [0, 2, 5, 10, 19]), (5.0, [0, 6, 13, 22]), (29.0, [0]), (28.5, [0, 29.5])],
)
def test_slow_failures_use_up_the_same_budget(cost: float, moments: list[float]) -> None:
    """The time that attempts take counts, so slow failures mean fewer attempts."""
    assert schedule(RetryPolicy(), cost) == moments


def test_an_attempt_at_the_end_of_the_budget_is_not_made() -> None:
    """The budget is exclusive: at 30 s sharp there is no attempt any more."""
    policy = RetryPolicy()

    assert policy.next_delay(0, 29.0) is None
    assert policy.next_delay(0, 28.999) == 1


def test_only_one_attempt_is_made_with_retry_policy_never() -> None:
    """``never()`` gives up at the first failure, however soon the second attempt could be."""
    assert RetryPolicy.never().next_delay(0, 0.0) is None
    assert schedule(RetryPolicy.never()) == [0]
    assert schedule(evolve(RetryPolicy.never(), initial=0.001)) == [0]


def test_waits_grow_up_to_the_longest_wait() -> None:
    """No wait is longer than ``max_delay``, however many there were."""
    moments = schedule(RetryPolicy(initial=1, factor=3, max_delay=10, budget=60))

    waits = [later - earlier for earlier, later in pairwise(moments)]
    assert waits == [1, 3, 9, 10, 10, 10, 10]


@pytest.mark.parametrize("retries", [1_000, 100_000])
@pytest.mark.parametrize("factor", [2, 2.0, 1e300, float("inf")])
def test_the_wait_stays_finite_however_many_retries_there_were(factor: float, retries: int) -> None:
    """With an infinite budget, attempts go on with the longest wait."""
    policy = RetryPolicy(factor=factor, budget=float("inf"))

    assert policy.next_delay(retries, 1e9) == 30.0


def test_with_a_factor_of_one_all_waits_are_equal() -> None:
    """Attempts then begin at even intervals."""
    assert schedule(RetryPolicy(initial=5, factor=1, budget=16)) == [0, 5, 10, 15]


@every(
    ("name", "value", "bound"),
    [
        ("initial", 0.0, "0.001"),
        ("initial", -1.0, "0.001"),
        ("factor", 0.5, "1"),
        ("max_delay", 0.0, "0.001"),
        ("budget", -1.0, "0"),
        ("budget", float("nan"), "0"),
        ("initial", float("nan"), "0.001"),
        ("factor", True, "1"),
        ("budget", "30", "0"),
        ("max_delay", None, "0.001"),
    ],
)
def test_a_policy_that_would_not_wait_is_refused(name: str, value: object, bound: str) -> None:
    """Zero, negative and non-numeric waits are refused with an error that states the bound."""
    with pytest.raises(ValueError, match=name) as caught:
        RetryPolicy(**{name: value})  # type: ignore[arg-type]  # that is the point

    assert str(caught.value) == f"{name} must be a number, {bound} or more: {value!r}"


@pytest.mark.parametrize(
    ("name", "bound"), [("initial", 1e-3), ("factor", 1), ("max_delay", 1e-3), ("budget", 0)]
)
def test_the_lower_bound_of_each_number_of_a_policy_is_allowed(name: str, bound: float) -> None:
    """The bound that the error names may be used itself, also as an ``int``."""
    assert getattr(RetryPolicy(**{name: bound}), name) == bound


@pytest.mark.parametrize(
    ("error", "again", "awaited"),
    [
        (TransportError("refused"), True, True),
        (TransportTimeoutError("timed out"), True, True),
        (transport_error(answered=True), False, False),
        (transport_error(body_spent=True), False, False),
        (PluginNotFoundError("db"), False, True),
        (StatusError(503, "M.x", "busy"), False, False),
        (DriverError("M.x", "busy"), False, False),
        (WireError("not JSON"), False, False),
        (SpecError("no address"), False, False),
    ],
)
def test_only_a_call_without_a_response_is_retried(
    error: PluginError, *, again: bool, awaited: bool
) -> None:
    """``get`` also tries again if the plugin was not found, since it may still appear."""
    assert is_retryable(error) is again
    assert is_worth_waiting_for(error) is awaited


def test_a_size_that_is_not_a_positive_whole_number_is_refused() -> None:
    """The smallest size is one byte; the error names the argument."""
    assert (size("most", 1), size("most", 2)) == (1, 2)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"^most must be a positive whole number, not {wrong}"):
            size("most", wrong)
    for other in (1.0, True, "1", None):
        with pytest.raises(TypeError, match=r"^most must be a positive whole number, not "):
            size("most", other)
