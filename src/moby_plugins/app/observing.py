"""Report events to observers, for hosts and plugins, synchronous and asynchronous.

An exception of an observer is logged, and does not disturb the call. ``Observers`` reports an event
to each observer. ``ObservedCall`` is one attempt of a call, and ``ObservedRequest`` a served
request; each reports an event for its start and one for its end.
"""

from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from operator import methodcaller
from typing import Any, Self, TypeAlias, TypeVar

from attrs import field, frozen

from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.async_http import AsyncRequest
from moby_plugins.domain.errors import (
    INTERNAL_ERROR,
    DriverError,
    PluginError,
    StatusError,
    WireError,
)
from moby_plugins.domain.http import OK, Request
from moby_plugins.domain.http_grammar import HEADER_NAME
from moby_plugins.domain.observing import (
    ActivationFailed,
    CallEnded,
    CallStarted,
    DriverFailed,
    HandlerFailed,
    Observer,
    PluginDropped,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
)
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import log_failure

T = TypeVar("T")
A = TypeVar("A")
Now: TypeAlias = Callable[[], float]
# The headers of a client, and those that describe the framing of a message or the connection.
_TAKEN = frozenset(
    {"accept", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
) | {*("te", "trailer", "transfer-encoding", "upgrade", "user-agent")}
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


class ObservedCall:
    """One attempt of a call, with the event of its start; facts about its response are added.

    ``headers`` are the headers to send. A header that an observer added is dropped if it is not
    valid, is there already, or is set by the transport. For one thread or task at a time.
    """

    __slots__ = (
        *("_began", "_ends", "_now", "_started"),
        *("ends_with_body", "headers", "new_connection", "received_bytes"),
    )

    def __init__(self, observers: Observers, started: CallStarted, now: Now) -> None:
        own_headers = dict(started.headers)
        interrupt: KeyboardInterrupt | None = None
        self._ends: list[Callable[[CallEnded], object]] = []
        # The same loop as in ``call_each``, inline because it runs for each call.
        for observer in observers:
            try:
                end = observer.call_started(started)
            except KeyboardInterrupt as error:
                interrupt = error
            except BaseException as error:
                log_failure(f"the observer {shown(observer)} failed", error)
            else:
                if end is not None:
                    self._ends.append(end)
        self._now = now
        self._began = now()
        self._started = started
        self.headers: dict[str, str] = started.headers
        if self.headers != own_headers:
            _clean(self.headers, own_headers)
        self.received_bytes: int = 0
        self.new_connection: bool | None = None
        # True for a stream, which is read after the client has returned it.
        self.ends_with_body: bool = False
        if interrupt is not None:  # observers that saw the start also see the end
            self.end(interrupt)
            raise interrupt

    def end(self, error: BaseException | None = None) -> None:
        """Report the end of the attempt, once: a stream may be closed more than once."""
        ends, self._ends = self._ends, []
        if ends:
            ended = CallEnded(
                self._started,
                self._now() - self._began,
                OK if error is None else _status(error),
                error,
                self.received_bytes,
                self.new_connection,
            )
            _, interrupt = call_each(filter(None, ends), methodcaller("__call__", ended))
            if interrupt is not None:
                raise interrupt


@frozen
class ObservedCallRequest(Request):
    """A request whose attempt is observed; it does not share its headers with other requests.

    ``observed`` holds the ``ObservedCall`` once the attempt has started.
    """

    observed: list[ObservedCall] = field(factory=list, init=False, eq=False, repr=False)


@frozen
class ObservedAsyncRequest(AsyncRequest):
    """A request of an asynchronous client whose attempt is observed."""

    observed: ObservedCall = field(kw_only=True, eq=False, repr=False)


class ObservedRequest:
    """A request to a served plugin, with the event of its start.

    For one thread or task at a time.
    """

    __slots__ = ("_began", "_ends", "_now", "_started", "sent_bytes")

    def __init__(self, observers: Observers, started: RequestStarted, now: Now) -> None:
        ends, interrupt = call_each(observers, methodcaller("request_started", started))
        self._ends: list[Any] = ends
        self._now = now
        self._began = now()
        self._started = started
        self.sent_bytes: int = 0
        if interrupt is not None:
            self.end(INTERNAL_ERROR, interrupt, hung_up=False)
            raise interrupt

    def end(self, status: int, error: BaseException | None = None, *, hung_up: bool) -> None:
        """Report the end of the request; later calls do nothing."""
        ends, self._ends = self._ends, []
        if ends:
            seconds, sent = self._now() - self._began, self.sent_bytes
            ended = RequestEnded(self._started, seconds, status, error, sent, hung_up)
            _, interrupt = call_each(filter(None, ends), methodcaller("__call__", ended))
            if interrupt is not None:
                raise interrupt


def call_started(
    plugin: str, address: str, request: Request | AsyncRequest, headers: dict[str, str]
) -> CallStarted:
    """Return the event for the start of an attempt; observers may add to ``headers``."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    method = request.method
    if "?" in method:
        method = method.partition("?")[0]
    return CallStarted(plugin, address, method, request.attempt, headers, size)


def notifying_retries(observers: Observers, plugin: str, on_retry: OnRetry | None) -> OnRetry:
    """Return a function that reports a retry to ``observers``, and then calls ``on_retry``."""

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
    event = HandlerFailed(plugin.name, handler, error)
    observers.notify(lambda each: each.handler_failed(event))


def notify_failed(observers: Observers, name: str, error: Exception, seconds: float) -> None:
    """Report that the plugin ``name`` could not be activated."""
    failed = ActivationFailed(name, error, seconds)
    observers.notify(lambda each: each.activation_failed(failed))


def notify_dropped(observers: Observers, plugin: Plugin | None) -> None:
    """Report that ``plugin`` is no longer active; do nothing for ``None``."""
    if plugin is not None:
        event = PluginDropped(plugin)
        observers.notify(lambda each: each.plugin_dropped(event))


def request_started(request: Request | AsyncRequest, methods: Container[str]) -> RequestStarted:
    """Return the event for the start of ``request``; ``methods`` are the app's methods."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    method = request.method.partition("?")[0]
    return RequestStarted(method, method if method in methods else "", request.headers, size)


def _status(error: BaseException) -> int | None:
    if isinstance(error, StatusError):
        return error.status
    return OK if isinstance(error, WireError) else None


def _clean(headers: dict[Any, Any], own_headers: dict[str, str]) -> None:
    """Restore ``own_headers`` in ``headers``, and remove other headers that cannot be sent.

    They are removed without an error, because an observer's mistake must not end the call.
    """
    headers.update(own_headers)
    for name in [name for name in headers if name not in own_headers]:
        value = headers[name]
        if not (_may_be_added(name) and isinstance(value, str) and _is_sendable(value)):
            del headers[name]


@lru_cache(maxsize=256)
def _may_be_added(name: object) -> bool:
    good = isinstance(name, str) and HEADER_NAME.fullmatch(name) is not None
    return good and str(name).lower() not in _TAKEN


def _is_sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()
