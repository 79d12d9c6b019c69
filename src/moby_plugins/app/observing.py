"""Tell observers what happens, at both ends and in both worlds, so that none can disturb it.

``Observers`` tells each observer of an event. ``ObservedCall`` is one attempt of a call, between
the two events that an observer has of it, and ``ObservedRequest`` is a served request.
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
# Headers of a client, and those that say how a message is framed or what the connection is for.
_TAKEN = frozenset(
    {"accept", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
) | {*("te", "trailer", "transfer-encoding", "upgrade", "user-agent")}
# What is tried again where an error names no call: a plugin is looked up, or shakes hands.
ACTIVATE = "Plugin.Activate"


class Observers(tuple[Observer, ...]):
    """The observers of one registry, client or served app.

    Raises ``TypeError`` for what is no ``Observer``.
    """

    __slots__ = ()

    def __new__(cls, observers: Iterable[Observer] = ()) -> Self:
        """Return them as one value."""
        made = super().__new__(cls, observers)
        for observer in made:
            given: object = observer  # of a program that nothing has checked
            if not isinstance(given, Observer):
                raise TypeError(f"an observer is an Observer, not {quoted(given)}")
        return made

    def tell(self, take: Callable[[Observer], object]) -> None:
        """Have each observer ``take`` an event; what it raises is logged.

        A ``KeyboardInterrupt`` passes, once all of them were told: it is the caller's own.
        """
        _, interrupt = told(self, take)
        if interrupt is not None:
            raise interrupt

    def driver_failed(self, plugin: str, address: str, error: DriverError) -> None:
        """Tell of a plugin's own error, in a response of the client of ``plugin``."""
        event = DriverFailed(plugin, address, error.method, error)
        self.tell(lambda each: each.driver_failed(event))


def told(those: Iterable[A], take: Callable[[A], T]) -> tuple[list[T], KeyboardInterrupt | None]:
    """Return what ``take`` gives for each of ``those``, and an interrupt that it raises.

    Anything else that it raises is logged as the failure of an observer.
    """
    taken: list[T] = []
    interrupt: KeyboardInterrupt | None = None
    for each in those:
        try:
            taken.append(take(each))
        except KeyboardInterrupt as error:
            interrupt = error
        except BaseException as error:
            log_failure(f"the observer {shown(each)} failed", error)
    return taken, interrupt


class ObservedCall:
    """One attempt of a call, which ``started``; what is known of its response is added.

    ``headers`` are those to send: what observers added is checked, and dropped where it is no
    header, is there already, or is the transport's to say. For one thread or task at a time.
    """

    __slots__ = (
        *("_began", "_ends", "_now", "_started"),
        *("ends_with_body", "headers", "new_connection", "received_bytes"),
    )

    def __init__(self, observers: Observers, started: CallStarted, now: Now) -> None:
        mine = dict(started.headers)
        interrupt: KeyboardInterrupt | None = None
        self._ends: list[Callable[[CallEnded], object]] = []
        # As ``told`` does; a call of that would take longer than all of this.
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
        if self.headers != mine:
            _clean(self.headers, mine)
        self.received_bytes: int = 0
        self.new_connection: bool | None = None
        # Of a stream, which goes on after the client has returned it.
        self.ends_with_body: bool = False
        if interrupt is not None:  # those that were told of the start are told of the end
            self.end(interrupt)
            raise interrupt

    def end(self, error: BaseException | None = None) -> None:
        """Tell that it has ended; only the first time counts: a stream may be closed again."""
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
            _, interrupt = told(filter(None, ends), methodcaller("__call__", ended))
            if interrupt is not None:
                raise interrupt


@frozen
class ObservedCallRequest(Request):
    """A request whose attempt is observed: its headers are its own, and ``observed`` is kept here.

    There is one once the attempt has started.
    """

    observed: list[ObservedCall] = field(factory=list, init=False, eq=False, repr=False)


@frozen
class ObservedAsyncRequest(AsyncRequest):
    """The same for a client on asyncio."""

    observed: ObservedCall = field(kw_only=True, eq=False, repr=False)


class ObservedRequest:
    """A request to a served plugin, which ``started``. For one thread or task at a time."""

    __slots__ = ("_began", "_ends", "_now", "_started", "sent_bytes")

    def __init__(self, observers: Observers, started: RequestStarted, now: Now) -> None:
        ends, interrupt = told(observers, methodcaller("request_started", started))
        self._ends: list[Any] = ends
        self._now = now
        self._began = now()
        self._started = started
        self.sent_bytes: int = 0
        if interrupt is not None:
            self.end(INTERNAL_ERROR, interrupt, hung_up=False)
            raise interrupt

    def end(self, status: int, error: BaseException | None = None, *, hung_up: bool) -> None:
        """Tell that it has ended; only the first time counts."""
        ends, self._ends = self._ends, []
        if ends:
            seconds, sent = self._now() - self._began, self.sent_bytes
            ended = RequestEnded(self._started, seconds, status, error, sent, hung_up)
            _, interrupt = told(filter(None, ends), methodcaller("__call__", ended))
            if interrupt is not None:
                raise interrupt


def call_started(plugin: str, address: str, request: Request | AsyncRequest) -> CallStarted:
    """Return the event of the beginning of an attempt."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    method = request.method
    if "?" in method:
        method = method.partition("?")[0]
    return CallStarted(plugin, address, method, request.attempt, dict(request.headers), size)


def telling_retries(observers: Observers, plugin: str, on_retry: OnRetry | None) -> OnRetry:
    """Return what tells ``observers`` of a retry, and then calls ``on_retry``."""

    def tell(error: PluginError, delay: float) -> None:
        method = getattr(error, "method", "").partition("?")[0] or ACTIVATE
        event = RetryScheduled(plugin, method, error.attempts, error, delay)
        observers.tell(lambda each: each.retry_scheduled(event))
        if on_retry is not None:
            on_retry(error, delay)

    return tell


def tell_failed_handler(
    handler: Callable[..., object], plugin: Plugin, error: BaseException, observers: Observers
) -> None:
    """Tell, in the log too, that a handler failed with ``error`` when it met ``plugin``."""
    log_failure(f"the handler {shown(handler)} failed for plugin {quoted(plugin.name)}", error)
    event = HandlerFailed(plugin.name, handler, error)
    observers.tell(lambda each: each.handler_failed(event))


def tell_failed(observers: Observers, name: str, error: Exception, seconds: float) -> None:
    """Tell that ``name`` could not be activated."""
    failed = ActivationFailed(name, error, seconds)
    observers.tell(lambda each: each.activation_failed(failed))


def tell_dropped(observers: Observers, plugin: Plugin | None) -> None:
    """Tell that a plugin, if there is one, is active no longer."""
    if plugin is not None:
        event = PluginDropped(plugin)
        observers.tell(lambda each: each.plugin_dropped(event))


def request_started(request: Request | AsyncRequest, methods: Container[str]) -> RequestStarted:
    """Return the event of the beginning of ``request``; ``methods`` are those that there are."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    method = request.method.partition("?")[0]
    return RequestStarted(method, method if method in methods else "", request.headers, size)


def _status(error: BaseException) -> int | None:
    if isinstance(error, StatusError):
        return error.status
    return OK if isinstance(error, WireError) else None


def _clean(headers: dict[Any, Any], mine: dict[str, str]) -> None:
    """Take out of ``headers`` what cannot be sent besides ``mine``: no mistake may end the call."""
    headers.update(mine)
    for name in [name for name in headers if name not in mine]:
        value = headers[name]
        if not (_may_be_added(name) and isinstance(value, str) and _is_sendable(value)):
            del headers[name]


@lru_cache(maxsize=256)
def _may_be_added(name: object) -> bool:
    good = isinstance(name, str) and HEADER_NAME.fullmatch(name) is not None
    return good and str(name).lower() not in _TAKEN


def _is_sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()
