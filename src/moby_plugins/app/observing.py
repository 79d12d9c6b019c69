"""Report events to observers, for hosts and plugins, synchronous and asynchronous.

An exception of an observer is logged, and does not disturb the call. ``Observers`` reports an event
to each observer. The events are imported by the functions that make them, because every host
imports this module and most have no observer.
"""

from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.errors import DriverError, PluginError
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import log_failure

T = TypeVar("T")
A = TypeVar("A")
# The method of a retry whose error names none: a look-up or a handshake is retried.
ACTIVATE = "Plugin.Activate"


class Observers(tuple[Observer, ...]):
    """The observers of one registry, client or served app.

    Raises ``TypeError`` if one of them is not an ``Observer``.
    """

    __slots__ = ()

    def __new__(cls, observers: Iterable[Observer] = ()) -> Self:
        """Return the observers as one value."""
        instance = super().__new__(cls, observers)
        for observer in instance:
            unchecked: object = observer  # the caller's program may not be type-checked
            if not isinstance(unchecked, Observer):
                raise TypeError(f"an observer must be an Observer, not {quoted(unchecked)}")
        return instance

    def notify(self, take: Callable[[Observer], object]) -> None:
        """Call ``take`` with each observer; log an exception that it raises.

        A ``KeyboardInterrupt`` is raised after the last observer: it is meant for the caller.
        """
        _, interrupt = call_each(self, take)
        if interrupt is not None:
            raise interrupt

    def driver_failed(self, plugin: str, address: str, error: DriverError) -> None:
        """Report an error that ``plugin`` returned in a response with status 200."""
        from moby_plugins.domain.observing import DriverFailed

        event = DriverFailed(plugin, address, error.method, error)
        self.notify(lambda each: each.driver_failed(event))


def call_each(
    those: Iterable[A], take: Callable[[A], T]
) -> tuple[list[T], KeyboardInterrupt | None]:
    """Call ``take`` with each of ``those``; return the results, and an interrupt if one was raised.

    Any other exception is logged as the failure of an observer.
    """
    entered: list[T] = []
    interrupt: KeyboardInterrupt | None = None
    for each in those:
        try:
            entered.append(take(each))
        except KeyboardInterrupt as error:
            interrupt = error
        except BaseException as error:
            log_failure(f"the observer {shown(each)} failed", error)
    return entered, interrupt


def notifying_retries(observers: Observers, plugin: str, on_retry: OnRetry | None) -> OnRetry:
    """Return a function that reports a retry to ``observers``, and then calls ``on_retry``."""
    from moby_plugins.domain.observing import RetryScheduled

    def notify(error: PluginError, delay: float) -> None:
        method = getattr(error, "method", "").partition("?")[0] or ACTIVATE
        event = RetryScheduled(plugin, method, error.attempts, error, delay)
        observers.notify(lambda each: each.retry_scheduled(event))
        if on_retry is not None:
            on_retry(error, delay)

    return notify


def notify_failed_handler(
    handler: Callable[..., object], plugin: Plugin, error: BaseException, observers: Observers
) -> None:
    """Log and report that a handler failed with ``error`` for ``plugin``."""
    log_failure(f"the handler {shown(handler)} failed for plugin {quoted(plugin.name)}", error)
    if not observers:
        return
    from moby_plugins.domain.observing import HandlerFailed

    event = HandlerFailed(plugin.name, handler, error)
    observers.notify(lambda each: each.handler_failed(event))


def notify_failed(observers: Observers, name: str, error: Exception, seconds: float) -> None:
    """Report that the plugin ``name`` could not be activated."""
    from moby_plugins.domain.observing import ActivationFailed

    failed = ActivationFailed(name, error, seconds)
    observers.notify(lambda each: each.activation_failed(failed))


def notify_dropped(observers: Observers, plugin: Plugin | None) -> None:
    """Report that ``plugin`` is no longer active; do nothing for ``None``."""
    if plugin is not None and observers:
        from moby_plugins.domain.observing import PluginDropped

        event = PluginDropped(plugin)
        observers.notify(lambda each: each.plugin_dropped(event))
