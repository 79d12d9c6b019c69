"""Report events to observers, for hosts and plugins, synchronous and asynchronous.

An exception of an observer is logged, and does not disturb the call. ``Observers`` reports an event
to each observer. The events are imported by the functions that make them, because every host
imports this module and most have no observer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeAlias

from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import log_failure
from moby_plugins.ports import callable_or_none

if TYPE_CHECKING:
    from moby_plugins.domain.observing import CallStarted, RequestStarted

P = ParamSpec("P")
# A method of an observer, or a function that one returned for the end.
Take: TypeAlias = Callable[[Any], Any]
# The method of a retry whose error names none: a look-up or a handshake is retried.
ACTIVATE = "Plugin.Activate"


class Observers(tuple[Observer, ...]):  # noqa: SLOT001  a tuple with more attributes
    """The observers of one registry, client or served app.

    The methods that each observer overrides are looked up once, here; only these are called. An
    observer that is given twice, in code and by its name for example, is called once. Raises
    ``TypeError`` if an item of ``observers`` is not an ``Observer``, or a method is a coroutine
    function.
    """

    _takers: Mapping[object, tuple[Take, ...]]

    def __new__(cls, observers: Iterable[Observer] = ()) -> Self:
        """Return the observers as one value; raise ``TypeError`` if one cannot be called."""
        instance = super().__new__(cls, {id(each): each for each in observers}.values())
        for observer in instance:
            unchecked: object = observer  # the caller's program may not be type-checked
            if not isinstance(unchecked, Observer):
                raise TypeError(f"an observer must be an Observer, not {quoted(unchecked)}")
        instance._takers = _takers(instance) if instance else {}
        return instance

    def taking(self, kind: "type[CallStarted | RequestStarted]") -> tuple[Take, ...]:
        """Return the methods of observers that take an event of the class ``kind``."""
        return self._takers.get(kind, ())

    def notify(self, kind: Callable[P, object], *args: P.args, **named: P.kwargs) -> None:
        """Make the event ``kind(*args, **named)``, and pass it to each observer that takes it.

        Exceptions of observers are logged. A ``KeyboardInterrupt`` is raised after the last
        observer instead, as it is meant for the caller.
        """
        takers = self._takers.get(kind)
        if not takers:
            return
        event = kind(*args, **named)
        interrupt: KeyboardInterrupt | None = None
        for take in takers:
            try:
                take(event)
            except KeyboardInterrupt as error:
                interrupt = error
            except BaseException as error:
                log_failed_observer(take, error)
        if interrupt is not None:
            raise interrupt


def _takers(observers: Observers) -> dict[object, tuple[Take, ...]]:
    """Return the methods that ``observers`` override, by the class of the event that they take."""
    from moby_plugins.domain import observing

    methods: dict[object, str] = {
        observing.ActivationFailed: "activation_failed",
        observing.CallStarted: "call_started",
        observing.DriverFailed: "driver_failed",
        observing.HandlerFailed: "handler_failed",
        observing.PluginActivated: "plugin_activated",
        observing.PluginDropped: "plugin_dropped",
        observing.RequestStarted: "request_started",
        observing.RetryScheduled: "retry_scheduled",
    }
    return {kind: tuple(_overridden(observers, name)) for kind, name in methods.items()}


def _overridden(observers: Iterable[Observer], name: str) -> Iterator[Take]:
    base = getattr(Observer, name)
    for observer in observers:
        take = getattr(observer, name)
        if getattr(take, "__func__", take) is not base:
            yield callable_or_none(f"{type(observer).__name__}.{name}", take)


def call_each(takers: Iterable[Take], event: object) -> list[Any]:
    """Pass an event of a served request to ``takers``; return the results that are not ``None``.

    An exception is logged, also a ``KeyboardInterrupt``: a server has no caller that it is for.
    """
    entered: list[Any] = []
    for take in takers:
        try:
            result = take(event)
        except BaseException as error:
            log_failed_observer(take, error)
        else:
            if result is not None:
                entered.append(result)
    return entered


def log_failed_observer(take: Take, error: BaseException) -> None:
    """Log that an observer raised ``error`` when its method or callback ``take`` was called."""
    log_failure(f"the observer {shown(getattr(take, '__self__', take))} failed", error)


def notifying_retries(observers: Observers, plugin: str, on_retry: OnRetry | None) -> OnRetry:
    """Return a function that reports a retry to ``observers``, and then calls ``on_retry``."""
    from moby_plugins.domain.observing import RetryScheduled

    def notify(error: PluginError, delay: float) -> None:
        method = getattr(error, "method", "").partition("?")[0] or ACTIVATE
        observers.notify(RetryScheduled, plugin, method, error.attempts, error, delay)
        if on_retry is not None:
            on_retry(error, delay)

    return notify


def notify_failed_handler(
    handler: Callable[..., object], plugin: Plugin, error: BaseException, observers: Observers
) -> None:
    """Log and report that a handler failed with ``error`` for ``plugin``."""
    log_failure(f"the handler {shown(handler)} failed for plugin {quoted(plugin.name)}", error)
    if observers:
        from moby_plugins.domain.observing import HandlerFailed

        observers.notify(HandlerFailed, plugin.name, handler, error)


def notify_activated(observers: Observers, plugin: Plugin, seconds: float) -> None:
    """Report that ``plugin`` became active, after ``seconds``."""
    from moby_plugins.domain.observing import PluginActivated

    observers.notify(PluginActivated, plugin, seconds)


def notify_dropped(observers: Observers, plugin: Plugin) -> None:
    """Report that ``plugin`` is no longer active."""
    from moby_plugins.domain.observing import PluginDropped

    observers.notify(PluginDropped, plugin)


def notify_failed(observers: Observers, name: str, error: BaseException, seconds: float) -> None:
    """Report that the plugin ``name`` could not be activated, after ``seconds``."""
    from moby_plugins.domain.observing import ActivationFailed

    observers.notify(ActivationFailed, name, error, seconds)
