"""The retry loop: how often an attempt is made, when, and what is logged of it."""

import logging

import pytest

from moby_plugins.app.retrying import Ending, retry
from moby_plugins.domain.errors import (
    PluginError,
    PluginNotFoundError,
    StatusError,
    TransportError,
    WaitCancelledError,
)
from moby_plugins.domain.retry import RetryPolicy, is_retryable, is_worth_waiting_for
from moby_plugins.testing import FakeClock


class Flaky:
    """Fails ``failures`` times with an error of its own, each taking ``seconds``; then is 42."""

    def __init__(self, clock: FakeClock, failures: float, seconds: float = 0.0) -> None:
        self.moments: list[float] = []
        self.errors: list[TransportError] = []
        self._clock, self._failures, self._seconds = clock, failures, seconds

    def __call__(self, number: int) -> int:
        self.moments.append(self._clock.now())
        assert number == len(self.moments)
        self._clock.advance(self._seconds)
        if number > self._failures:
            return 42
        self.errors.append(TransportError(f"failure {number}", "tcp://h:1"))
        raise self.errors[-1]


@pytest.fixture
def clock() -> FakeClock:
    """The time of a test."""
    return FakeClock(100)


def test_an_attempt_that_succeeds_is_made_once(clock: FakeClock) -> None:
    """The first result is returned, without a pause."""
    once = Flaky(clock, failures=0)

    assert retry(once, RetryPolicy(), clock, is_retryable) == 42
    assert (once.moments, clock.sleeps) == ([100.0], [])


def test_an_attempt_that_fails_twice_is_made_three_times(clock: FakeClock) -> None:
    """Attempts are numbered from 1, and made after 0, 1 and 3 seconds."""
    flaky = Flaky(clock, failures=2)

    assert retry(flaky, RetryPolicy(), clock, is_retryable) == 42
    assert (flaky.moments, clock.sleeps) == ([100.0, 101.0, 103.0], [1, 2])


def test_a_function_that_always_fails_is_given_up_after_five_attempts(clock: FakeClock) -> None:
    """The last error is raised, with the number of attempts and the seconds they took."""
    dead = Flaky(clock, failures=99)

    with pytest.raises(TransportError) as caught:
        retry(dead, RetryPolicy(), clock, is_retryable)

    assert dead.moments == [100.0, 101.0, 103.0, 107.0, 115.0]
    assert clock.sleeps == [1, 2, 4, 8]
    assert caught.value is dead.errors[-1]
    assert (caught.value.attempts, caught.value.elapsed) == (5, 15.0)
    assert str(caught.value) == "tcp://h:1: failure 5 (tried 5 times in 15 s)"


def test_the_time_that_attempts_take_counts_towards_the_retry_budget(clock: FakeClock) -> None:
    """Attempts of 10 s each are made only three times within the same budget."""
    slow = Flaky(clock, failures=99, seconds=10)

    with pytest.raises(TransportError) as caught:
        retry(slow, RetryPolicy(), clock, is_retryable)

    assert slow.moments == [100.0, 111.0, 123.0]
    assert (caught.value.attempts, caught.value.elapsed) == (3, 33.0)


@pytest.mark.parametrize(
    ("policy", "sleeps"),
    [
        (RetryPolicy.never(), []),
        (RetryPolicy(initial=5, factor=1, budget=16), [5, 5, 5]),
        (RetryPolicy(initial=2, factor=10, max_delay=7, budget=20), [2, 7, 7]),
    ],
)
def test_the_retry_policy_decides_the_waits_and_the_number_of_attempts(
    policy: RetryPolicy, sleeps: list[float], clock: FakeClock
) -> None:
    """The loop sleeps for as long as the policy says, and gives up when the policy does."""
    with pytest.raises(TransportError) as caught:
        retry(Flaky(clock, failures=99), policy, clock, is_retryable)

    assert clock.sleeps == sleeps
    assert caught.value.attempts == len(sleeps) + 1


@pytest.mark.parametrize("error", [StatusError(500, "M.x", "full"), PluginNotFoundError("p")])
def test_an_error_that_is_not_retryable_is_raised_at_once(
    error: Exception, clock: FakeClock
) -> None:
    """An error that the rule ``is_retryable`` does not accept ends the loop after one attempt."""

    def fail(_: int) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        retry(fail, RetryPolicy(), clock, is_retryable)

    assert caught.value is error
    assert clock.sleeps == []


def test_the_rule_for_retryable_errors_is_applied_after_each_failure(clock: FakeClock) -> None:
    """Retryable errors of different kinds may follow each other, until one is not retryable."""
    errors = iter([PluginNotFoundError("p"), TransportError("x"), StatusError(500, "M.x", "full")])

    def fail(_: int) -> None:
        raise next(errors)

    with pytest.raises(StatusError) as caught:
        retry(fail, RetryPolicy(), clock, is_worth_waiting_for)

    assert (caught.value.attempts, caught.value.elapsed) == (3, 3.0)
    assert clock.sleeps == [1, 2]


@pytest.mark.parametrize("error", [OSError("mine"), KeyboardInterrupt(), AssertionError("test")])
def test_an_exception_that_is_not_a_plugin_error_is_raised_at_once(
    error: BaseException, clock: FakeClock
) -> None:
    """Only this library's own errors are ever retried."""

    def fail(_: int) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        retry(fail, RetryPolicy(), clock, is_worth_waiting_for)

    assert caught.value is error
    assert clock.sleeps == []


@pytest.mark.parametrize(
    ("failures", "warnings"),
    [
        (0, []),
        (
            2,
            [
                "tcp://h:1: failure 1 (tried once); trying again in 1 s",
                "tcp://h:1: failure 2 (tried 2 times in 1 s); trying again in 2 s",
            ],
        ),
    ],
)
def test_each_retry_is_one_warning(
    failures: int, warnings: list[str], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning has the error and the seconds until the next attempt."""
    retry(Flaky(clock, failures), RetryPolicy(), clock, is_retryable)

    assert caplog.record_tuples == [
        ("moby_plugins", logging.WARNING, warning) for warning in warnings
    ]


def test_on_retry_is_called_before_each_wait(clock: FakeClock) -> None:
    """The callback gets the error and the seconds to wait; giving up is not reported."""
    told: list[tuple[float, PluginError, float]] = []
    dead = Flaky(clock, failures=99)

    with pytest.raises(TransportError):
        retry(
            dead,
            RetryPolicy(),
            clock,
            is_retryable,
            lambda error, delay: told.append((clock.now(), error, delay)),
        )

    assert told == list(zip(dead.moments, dead.errors, [1, 2, 4, 8], strict=False))


def test_giving_up_is_no_warning(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """The last failure is raised to the caller, and not logged."""
    with pytest.raises(TransportError):
        retry(Flaky(clock, failures=99), RetryPolicy(), clock, is_retryable)

    assert len(caplog.records) == 4


def test_jitter_is_drawn_again_for_each_wait() -> None:
    """A wait lasts as long as the policy says, or up to the jitter longer."""
    clock = FakeClock()
    waits: list[float] = []

    def attempt(_: int) -> None:
        raise TransportError("refused")

    with pytest.raises(TransportError):
        retry(
            attempt,
            RetryPolicy(initial=1, factor=1, budget=1000, jitter=0.5),
            clock,
            is_retryable,
            lambda _, delay: waits.append(delay),
        )

    assert all(1 <= wait <= 1.5 for wait in waits)
    assert len({*waits}) > 100


def test_the_cancellation_of_an_ending_is_set_whether_made_before_or_after_end() -> None:
    """``Ending.cancellation`` is made on first use, and is the same object from then on."""
    before, after = Ending(), Ending()
    made = before.cancellation
    assert not made.is_set()

    for ending in (before, after):
        ending.end("closed")

    assert made.is_set()
    assert before.cancellation is made
    assert after.cancellation.is_set()


def test_an_ending_withholds_only_its_own_errors_from_other_callers() -> None:
    """Its own are its ``WaitCancelledError``, and any error once its policy or callback raised."""
    going, ended, left = Ending(), Ending(), Ending()
    ended.end("it is over")
    left.left = True
    failed, cancelled = TransportError("refused"), WaitCancelledError("it is over", "p")

    assert [each.unless_own(failed) for each in (going, ended, left)] == [failed, failed, None]
    assert [each.unless_own(cancelled) for each in (going, ended)] == [cancelled, None]
    assert going.unless_own(None) is None


def test_the_error_of_an_ending_has_its_first_reason_and_its_plugin() -> None:
    """Calling ``end`` again changes nothing; without a plugin, the text is the reason alone."""
    of_all, of_one = Ending(), Ending("shelf", "unix:///shelf.sock")
    for each in (of_all, of_one):
        each.end("it is over")
        each.end("again")

    assert (str(of_all.error()), of_all.error().elapsed) == ("it is over", 0.0)
    assert str(of_one.error()) == "it is over (plugin 'shelf' at unix:///shelf.sock)"
