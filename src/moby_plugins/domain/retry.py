"""Decide when to retry and after which delay. Delays are only computed here; other modules wait."""

import math
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import Attribute, field, frozen

from moby_plugins.domain.errors import PluginError, PluginNotFoundError, TransportError
from moby_plugins.domain.text import quoted

# The longest delay between two attempts, about 31 years, which every clock accepts.
MAX_SECONDS = 1e9

IsRetryable: TypeAlias = Callable[[PluginError], bool]


def is_seconds(value: object) -> bool:
    """Return whether ``value`` is a positive number of seconds, which may be infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 < value <= sys.float_info.max or value == math.inf


def size(argument: str, value: object) -> int:
    """Return ``value``, a bound in bytes, if it is a positive whole number.

    Raises ``TypeError`` if ``value`` is not a whole number, and ``ValueError`` if it is not
    positive. The messages of both name the ``argument``.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, int) or not is_whole or value < 1:
        wrong = f"{argument} must be a positive whole number, not {quoted(value)}"
        raise ValueError(wrong) if is_whole else TypeError(wrong)
    return value


def seconds(timeout: float | None) -> float | None:
    """Return a time-out as transports take it: ``None`` for an infinite one.

    Raises ``ValueError`` if ``timeout`` is not a positive number of seconds.
    """
    if type(timeout) is float and 0 < timeout < math.inf:  # the usual case first
        return timeout
    if timeout is None:
        return None
    if not is_seconds(timeout):
        raise ValueError(f"a time-out must be a positive number of seconds, not {quoted(timeout)}")
    return None if timeout == math.inf else float(timeout)


def no_nan(argument: str, given: float) -> float:
    """Return ``given``, a number of seconds; raise ``ValueError`` for NaN.

    NaN is neither less nor more than any number: a wait would end at once, or never.
    """
    if math.isnan(given):
        raise ValueError(f"{argument} must be a number of seconds, not nan")
    return given


def finite(argument: str, given: float) -> float:
    """Return ``given``, a moment in seconds; raise ``ValueError`` for NaN and infinities."""
    if not math.isfinite(given):
        raise ValueError(f"{argument} must be a finite number of seconds, not {given:g}")
    return given


def _at_least(
    bound: float, most: float = sys.float_info.max
) -> "Callable[[object, Attribute[float], Any], None]":
    """Return an attrs validator for a number from ``bound`` to ``most``.

    It raises ``ValueError`` for any other value, of whatever type.
    """

    def check(_: object, attribute: "Attribute[float]", value: Any) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        largest = min(most, sys.float_info.max)
        # Written so that NaN is rejected too.
        if not (is_number and (bound <= value <= largest or value == most)):
            bounds = (
                f"{bound:g} or more" if most >= sys.float_info.max else f"{bound:g} to {most:g}"
            )
            raise ValueError(f"{attribute.name} must be a number, {bounds}: {quoted(value)}")

    return check


@frozen
class RetryPolicy:
    """How long to wait between attempts, and when to give up (protocol.md A5). Times are seconds.

    After failure number n, counted from 0, the delay is ``initial * factor**n``, but at most
    ``max_delay``. An attempt that would begin ``budget`` seconds after the first, or later, is not
    made. If each attempt fails at once, the default makes five: 0, 1, 3, 7 and 15 s after the
    first. Calls are retried after a ``TransportError`` whose ``answered`` and ``body_spent`` are
    false; ``get`` also if no plugin has the name. A frozen value: threads may share it.

    Args:
        initial: Seconds before the second attempt, 0.001 or more.
        factor: The factor from one delay to the next, 1 or more; may be infinite.
        max_delay: The longest delay in seconds, 0.001 or more; may be infinite.
        budget: Seconds from the first attempt within which the last may begin, 0 or more; 0 allows
            one attempt, ``math.inf`` any number.
        jitter: A random time of up to this many seconds is added to each delay, so that many hosts
            do not retry at the same moment; 0 or more. It never moves an attempt past the budget.

    A subclass may override ``next_delay``, to wait longer for a particular plugin or to give up by
    another rule, also after the budget. This method is called after each failure; jitter is added
    to its result.
    ``ValueError`` is raised for a result that is negative or NaN.

    Raises:
        ValueError: If a value is not a number, or is out of range.

    Examples:
        ```python
        from moby_plugins import RetryPolicy

        patient = RetryPolicy(initial=0.5, max_delay=10, budget=60)
        assert patient.next_delay(retries=0, elapsed=0.0) == 0.5
        assert patient.next_delay(retries=3, elapsed=59.0) is None  # gives up
        ```
    """

    initial: float = field(default=1.0, validator=_at_least(1e-3))
    factor: float = field(default=2.0, validator=_at_least(1.0, math.inf))
    max_delay: float = field(default=30.0, validator=_at_least(1e-3, math.inf))
    budget: float = field(default=30.0, validator=_at_least(0.0, math.inf))
    jitter: float = field(default=0.0, validator=_at_least(0.0, MAX_SECONDS))

    @classmethod
    def never(cls) -> "RetryPolicy":
        """Make a policy of one attempt.

        Returns:
            The policy: its ``budget`` is 0.
        """
        return cls(budget=0.0)

    def next_delay(self, retries: int, elapsed: float) -> float | None:
        """Compute the delay before the next attempt, without waiting.

        Args:
            retries: How many attempts were made after the first.
            elapsed: Seconds since the first attempt began.

        Returns:
            Seconds to wait, or ``None`` to give up.
        """
        try:
            delay = min(self.initial * self.factor**retries, self.max_delay, MAX_SECONDS)
        except OverflowError:
            delay = min(self.max_delay, MAX_SECONDS)
        return None if elapsed + delay >= self.budget else delay


def is_retryable(error: PluginError) -> bool:
    """Return whether a call that raised ``error`` may be retried.

    It may if no response was received, and if the request's body can be sent again.
    """
    return isinstance(error, TransportError) and not (error.answered or error.body_spent)


def is_worth_waiting_for(error: PluginError) -> bool:
    """Return whether ``get`` may try again: where a call may, and if the plugin was not found."""
    return isinstance(error, PluginNotFoundError) or is_retryable(error)


class Tries:
    """The attempts of one operation, counted from 1, and the delays between them.

    ``started`` is the time of the first attempt by the caller's clock, which also measures the
    policy's budget. ``chance`` returns a random number from 0 to 1 for the policy's jitter. Used
    by one thread or task.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        is_retryable: IsRetryable,
        started: float,
        chance: Callable[[], float],
    ) -> None:
        self.number: int = 1
        self._chance = chance
        self._policy = policy
        self._is_retryable = is_retryable
        self.started: float = started

    def after(self, error: PluginError, now: float) -> float | None:
        """Return the seconds until the next attempt, or ``None`` if there will be none.

        ``error`` was raised by the attempt that ended at ``now``; its ``attempts`` and ``elapsed``
        are set. If there will be another attempt, ``number`` is increased.
        """
        elapsed = now - self.started
        error.attempts, error.elapsed = self.number, elapsed
        if not self._is_retryable(error):
            return None
        delay = self._policy.next_delay(self.number - 1, elapsed)
        if delay is None:
            return None
        delay = min(_delay(delay), MAX_SECONDS)
        self.number += 1
        return delay + self._jitter(elapsed + delay) if self._policy.jitter else delay

    def _jitter(self, due: float) -> float:
        # An attempt that is due before the end of the budget must not be moved beyond it. One that
        # a subclass allows after the end has the full jitter.
        left = self._policy.budget - due
        most = min(self._policy.jitter, left) if left > 0 else self._policy.jitter
        return most * self._chance()

    def postpone(self, seconds: float) -> None:
        """Exclude ``seconds``, for which an attempt waited for others to end, from the budget."""
        self.started += seconds


def _delay(given: Any) -> float:
    """Return the result of a subclass's ``next_delay`` as a ``float``.

    Any real number is accepted, for example a ``Fraction`` or a number of numpy. Raises
    ``TypeError`` if the result is not a number, and ``ValueError`` if it is negative or NaN.
    """
    if type(given) is float:
        delay = given
    elif hasattr(given, "__float__") or hasattr(given, "__index__"):
        try:
            delay = float(given)
        except OverflowError:
            delay = math.inf if given > 0 else -math.inf
    else:
        raise TypeError(f"next_delay must return None or a number of seconds: {quoted(given)}")
    if not delay >= 0:  # written so that NaN is rejected too
        raise ValueError(
            f"next_delay must return None or a number of seconds, 0 or more: {quoted(given)}"
        )
    return delay


def policy_given(value: object) -> RetryPolicy:
    """Return ``value``; raise ``TypeError``, naming ``retry``, if it is not a ``RetryPolicy``."""
    if not isinstance(value, RetryPolicy):
        raise TypeError(f"retry must be a RetryPolicy, not {quoted(value)}")
    return value
