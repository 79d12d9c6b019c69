"""When to try again, and after how long: computed here, slept elsewhere."""

from typing import Any

from attrs import Attribute, field, frozen

from moby_plugins.domain.errors import PluginError, PluginNotFoundError, TransportError
from moby_plugins.domain.text import quoted


@frozen
class _AtLeast:
    """Checks a field of whatever type: from a file or a variable anything may come."""

    bound: float

    def __call__(self, _: object, attribute: "Attribute[float]", value: Any) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Written so that NaN fails too.
        if not (is_number and value >= self.bound):
            raise ValueError(
                f"{attribute.name} must be a number, {self.bound:g} or more: {quoted(value)}"
            )


@frozen
class RetryPolicy:
    """The waits between attempts, in seconds (protocol.md A5).

    After failure number n, from 0, the wait is ``initial * factor**n``, but at
    most ``max_delay``; an attempt that could only begin once ``budget`` is used
    up is not made. The default gives five attempts, at 0, 1, 3, 7 and 15 s, to
    a plugin that fails at once. Raises ``ValueError`` for numbers that would
    never wait or wait backwards.
    """

    initial: float = field(default=1.0, validator=_AtLeast(1e-3))
    factor: float = field(default=2.0, validator=_AtLeast(1.0))
    max_delay: float = field(default=30.0, validator=_AtLeast(1e-3))
    budget: float = field(default=30.0, validator=_AtLeast(0.0))

    @classmethod
    def never(cls) -> "RetryPolicy":
        """One attempt, no second."""
        return cls(budget=0.0)

    def next_delay(self, retries: int, elapsed: float) -> float | None:
        """Seconds until the next attempt, or ``None`` to give up.

        ``retries`` is how many there have been, ``elapsed`` the seconds since
        the first attempt began.
        """
        try:
            delay = min(self.initial * self.factor**retries, self.max_delay)
        except OverflowError:
            delay = self.max_delay
        return None if elapsed + delay >= self.budget else delay


def is_retryable(error: PluginError) -> bool:
    """Whether a call may be sent again: nothing was answered, and its body is whole."""
    return isinstance(error, TransportError) and not (error.answered or error.body_spent)


def is_worth_waiting_for(error: PluginError) -> bool:
    """The same for ``get``, which also waits for a plugin whose file is not there yet."""
    return isinstance(error, PluginNotFoundError) or is_retryable(error)
