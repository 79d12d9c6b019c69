"""Tell observers what happens, at both ends and in both worlds, so that none can disturb it.

``Observers`` tells each observer of an event. ``ObservedCall`` is one attempt of a call, between
the two events that an observer has of it, and ``ObservedRequest`` is a served request.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeAlias, TypeVar

from attrs import field, frozen

from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.async_http import AsyncRequest
from moby_plugins.domain.errors import PluginError, StatusError, WireError
from moby_plugins.domain.http import OK, Request
from moby_plugins.domain.http_grammar import HEADER_NAME
from moby_plugins.domain.observing import (
    ActivationFailed,
    CallEnded,
    CallStarted,
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
E = TypeVar("E")
Now: TypeAlias = Callable[[], float]
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

    def tell(self, take: Callable[[Observer], T]) -> list[T]:
        """Return what ``take`` gives for each observer, but for those that fail."""
        taken: list[T] = []
        for observer in self:
            with logged(observer):
                taken.append(take(observer))
        return taken


@contextmanager
def logged(observer: object) -> Iterator[None]:
    """Log what is raised in the block as the failure of ``observer``.

    A ``KeyboardInterrupt`` passes: it is the caller's own.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        log_failure(f"the observer {shown(observer)} failed", error)


class _Observed(Generic[E]):
    """What goes on between two events. For one thread or task at a time."""

    def __init__(self, ends: Iterable[Callable[[E], object] | None], now: Now) -> None:
        self._now = now
        self._began = now()
        self._ends = [end for end in ends if end is not None]

    def _tell_end(self, make: Callable[[float], E]) -> None:
        # Once: a stream may be closed again.
        ends, self._ends = self._ends, []
        if ends:
            event = make(self._now() - self._began)
            for end in ends:
                with logged(end):
                    end(event)


class ObservedCall(_Observed[CallEnded]):
    """One attempt of a call, which ``started``; what is known of its response is added.

    ``headers`` are those to send: what observers added is checked, and dropped where it is no
    header, or is there already.
    """

    def __init__(self, observers: Observers, started: CallStarted, now: Now) -> None:
        mine = dict(started.headers)
        super().__init__(observers.tell(lambda each: each.call_started(started)), now)
        self.headers: dict[str, str] = {**_usable(started.headers), **mine}
        self.received_bytes: int = 0
        self.new_connection: bool | None = None
        # Of a stream, which goes on after the client has returned it.
        self.ends_with_body: bool = False
        self._started = started

    def end(self, error: BaseException | None = None) -> None:
        """Tell that it has ended; only the first time counts."""
        self._tell_end(
            lambda seconds: CallEnded(
                self._started,
                seconds,
                _status(error),
                error,
                self.received_bytes,
                self.new_connection,
            )
        )


@frozen
class ObservedCallRequest(Request):
    """The request of an attempt that is observed."""

    observed: ObservedCall = field(kw_only=True, eq=False, repr=False)


@frozen
class ObservedAsyncRequest(AsyncRequest):
    """The same for a client on asyncio."""

    observed: ObservedCall = field(kw_only=True, eq=False, repr=False)


class ObservedRequest(_Observed[RequestEnded]):
    """A request to a served plugin, which ``started``."""

    def __init__(self, observers: Observers, started: RequestStarted, now: Now) -> None:
        super().__init__(observers.tell(lambda each: each.request_started(started)), now)
        self.sent_bytes: int = 0
        self._started = started

    def end(self, status: int, error: BaseException | None = None, *, hung_up: bool) -> None:
        """Tell that it has ended; only the first time counts."""
        self._tell_end(
            lambda seconds: RequestEnded(
                self._started, seconds, status, error, self.sent_bytes, hung_up
            )
        )


def call_started(plugin: str, address: str, request: Request | AsyncRequest) -> CallStarted:
    """Return the event of the beginning of an attempt."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    headers = dict(request.headers)
    return CallStarted(plugin, address, request.method, request.attempt, headers, size)


def telling_retries(observers: Observers, plugin: str, on_retry: OnRetry | None) -> OnRetry:
    """Return what tells ``observers`` of a retry, and then calls ``on_retry``."""

    def tell(error: PluginError, delay: float) -> None:
        method = getattr(error, "method", "") or ACTIVATE
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


def request_started(request: Request | AsyncRequest) -> RequestStarted:
    """Return the event of the beginning of ``request``."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    return RequestStarted(request.method.partition("?")[0], request.headers, size)


def _status(error: BaseException | None) -> int | None:
    if isinstance(error, StatusError):
        return error.status
    return OK if error is None or isinstance(error, WireError) else None


def _usable(headers: dict[Any, Any]) -> dict[str, str]:
    # An observer's mistake must not end the call.
    return {
        name: value
        for name, value in headers.items()
        if isinstance(name, str)
        and isinstance(value, str)
        and HEADER_NAME.fullmatch(name)
        and value.isascii()
        and value.isprintable()
    }
