"""Observers for tests of both ends."""

from collections.abc import Callable
from typing import Any

from moby_plugins.ports import (
    ActivationFailed,
    CallEnded,
    CallStarted,
    DriverFailed,
    HandlerFailed,
    Observer,
    PluginActivated,
    PluginDropped,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
)


class Notes(Observer):
    """Keeps all events, in the order in which they came."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def of(self, kind: type) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def call_started(self, event: CallStarted, /) -> Callable[[CallEnded], object]:
        """Keep it, and its end."""
        self.events.append(event)
        return self.events.append

    def request_started(self, event: RequestStarted, /) -> Callable[[RequestEnded], object]:
        """Keep it, and its end."""
        self.events.append(event)
        return self.events.append

    def driver_failed(self, event: DriverFailed, /) -> None:
        """Keep it."""
        self.events.append(event)

    def retry_scheduled(self, event: RetryScheduled, /) -> None:
        """Keep it."""
        self.events.append(event)

    def plugin_activated(self, event: PluginActivated, /) -> None:
        """Keep it."""
        self.events.append(event)

    def plugin_dropped(self, event: PluginDropped, /) -> None:
        """Keep it."""
        self.events.append(event)

    def activation_failed(self, event: ActivationFailed, /) -> None:
        """Keep it."""
        self.events.append(event)

    def handler_failed(self, event: HandlerFailed, /) -> None:
        """Keep it."""
        self.events.append(event)


class Failing(Observer):
    """Raises ``error`` for each event; so does what it gives for the end of a call."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def call_started(self, event: CallStarted, /) -> Callable[[CallEnded], object]:
        """Fail at the end."""
        return self._fail

    def request_started(self, event: RequestStarted, /) -> Callable[[RequestEnded], object]:
        """Fail at the end."""
        return self._fail

    def driver_failed(self, event: DriverFailed, /) -> None:
        """Fail."""
        self._fail(event)

    def retry_scheduled(self, event: RetryScheduled, /) -> None:
        """Fail."""
        self._fail(event)

    def plugin_activated(self, event: PluginActivated, /) -> None:
        """Fail."""
        self._fail(event)

    def plugin_dropped(self, event: PluginDropped, /) -> None:
        """Fail."""
        self._fail(event)

    def activation_failed(self, event: ActivationFailed, /) -> None:
        """Fail."""
        self._fail(event)

    def handler_failed(self, event: HandlerFailed, /) -> None:
        """Fail."""
        self._fail(event)

    def _fail(self, _: object) -> None:
        raise self._error
