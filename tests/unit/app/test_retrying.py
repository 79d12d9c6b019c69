"""The one loop: how often a thing is tried, when, and what is said about it."""

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


def test_a_thing_that_works_is_done_once(clock: FakeClock) -> None:
    """The first answer is the answer, without a pause."""
    once = Flaky(clock, failures=0)

    assert retry(once, RetryPolicy(), clock, is_retryable) == 42
    assert (once.moments, clock.sleeps) == ([100.0], [])


def test_a_thing_that_works_later_is_tried_until_it_does(clock: FakeClock) -> None:
    """Attempts are numbered from 1, and made after 0, 1 and 3 seconds."""
    flaky = Flaky(clock, failures=2)

    assert retry(flaky, RetryPolicy(), clock, is_retryable) == 42
    assert (flaky.moments, clock.sleeps) == ([100.0, 101.0, 103.0], [1, 2])


def test_a_thing_that_never_works_is_given_up_after_five_attempts(clock: FakeClock) -> None:
    """The last error is raised, and says how often and for how long it was tried."""
    dead = Flaky(clock, failures=99)

    with pytest.raises(TransportError) as caught:
        retry(dead, RetryPolicy(), clock, is_retryable)

    assert dead.moments == [100.0, 101.0, 103.0, 107.0, 115.0]
    assert clock.sleeps == [1, 2, 4, 8]
    assert caught.value is dead.errors[-1]
    assert (caught.value.attempts, caught.value.elapsed) == (5, 15.0)
    assert str(caught.value) == "tcp://h:1: failure 5 (tried 5 times in 15 s)"


def test_the_time_that_attempts_take_counts(clock: FakeClock) -> None:
    """What fails slowly is tried less often within the same budget."""
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
def test_the_policy_decides_how_often(
    policy: RetryPolicy, sleeps: list[float], clock: FakeClock
) -> None:
    """The loop sleeps for what the policy says, and ends when it says."""
    with pytest.raises(TransportError) as caught:
        retry(Flaky(clock, failures=99), policy, clock, is_retryable)

    assert clock.sleeps == sleeps
    assert caught.value.attempts == len(sleeps) + 1


@pytest.mark.parametrize("error", [StatusError(500, "M.x", "full"), PluginNotFoundError("p")])
def test_an_error_that_is_not_retryable_is_raised_at_once(
    error: Exception, clock: FakeClock
) -> None:
    """What the caller's rule does not take is tried once."""

    def fail(_: int) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        retry(fail, RetryPolicy(), clock, is_retryable)

    assert caught.value is error
    assert clock.sleeps == []


def test_the_rule_is_asked_after_each_failure(clock: FakeClock) -> None:
    """Two kinds of error may follow each other, until one comes that is not retryable."""
    errors = iter([PluginNotFoundError("p"), TransportError("x"), StatusError(500, "M.x", "full")])

    def fail(_: int) -> None:
        raise next(errors)

    with pytest.raises(StatusError) as caught:
        retry(fail, RetryPolicy(), clock, is_worth_waiting_for)

    assert (caught.value.attempts, caught.value.elapsed) == (3, 3.0)
    assert clock.sleeps == [1, 2]


@pytest.mark.parametrize("error", [OSError("mine"), KeyboardInterrupt(), AssertionError("test")])
def test_an_error_of_another_kind_passes_at_once(error: BaseException, clock: FakeClock) -> None:
    """Only this library's own errors are looked at."""

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
    """The logger of the library tells what went wrong and when it is tried again."""
    retry(Flaky(clock, failures), RetryPolicy(), clock, is_retryable)

    assert caplog.record_tuples == [
        ("moby_plugins", logging.WARNING, warning) for warning in warnings
    ]


def test_whoever_asks_is_told_of_each_retry(clock: FakeClock) -> None:
    """With the error and the seconds until the next attempt, before they pass; not of the end."""
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
    """The last failure is the caller's to tell: it is raised and not logged."""
    with pytest.raises(TransportError):
        retry(Flaky(clock, failures=99), RetryPolicy(), clock, is_retryable)

    assert len(caplog.records) == 4


def test_jitter_is_drawn_anew_for_each_wait() -> None:
    """Waits are at least the policy's, and at most the jitter longer."""
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


def test_a_cancellation_is_set_whether_it_was_made_before_the_end_or_after() -> None:
    """It is made when it is first asked for, and is the same from then on."""
    before, after = Ending(), Ending()
    made = before.cancellation
    assert not made.is_set()

    for ending in (before, after):
        ending.end("closed")

    assert made.is_set()
    assert before.cancellation is made
    assert after.cancellation.is_set()


def test_an_ending_keeps_only_errors_of_its_own_from_others() -> None:
    """Its ``WaitCancelledError``, and all once it has left; the plugin's errors are theirs, too."""
    going, ended, left = Ending(), Ending(), Ending()
    ended.end("it is over")
    left.left = True
    failed, cancelled = TransportError("refused"), WaitCancelledError("it is over", "p")

    assert [each.unless_own(failed) for each in (going, ended, left)] == [failed, failed, None]
    assert [each.unless_own(cancelled) for each in (going, ended)] == [cancelled, None]
    assert going.unless_own(None) is None


def test_an_ending_says_its_first_reason_and_for_whom() -> None:
    """Without a plugin, its reason alone."""
    of_all, of_one = Ending(), Ending("shelf", "unix:///shelf.sock")
    for each in (of_all, of_one):
        each.end("it is over")
        each.end("again")

    assert (str(of_all.error()), of_all.error().elapsed) == ("it is over", 0.0)
    assert str(of_one.error()) == "it is over (plugin 'shelf' at unix:///shelf.sock)"
