"""Observed attempts of calls and observed requests, for hosts and plugins that have observers.

``ObservedCall`` is one attempt of a call, and ``ObservedRequest`` a served request, synchronous or
asynchronous; each reports an event for its start and one for its end.
"""

from collections.abc import Callable, Container
from functools import lru_cache
from operator import methodcaller
from typing import Any, TypeAlias

from attrs import field, frozen

from moby_plugins.app.observing import Observers, call_each
from moby_plugins.domain.async_http import AsyncRequest
from moby_plugins.domain.errors import INTERNAL_ERROR, StatusError, WireError
from moby_plugins.domain.http import OK, Request
from moby_plugins.domain.http_grammar import HEADER_NAME
from moby_plugins.domain.observing import CallEnded, CallStarted, RequestEnded, RequestStarted
from moby_plugins.domain.text import shown
from moby_plugins.failures import log_failure

Now: TypeAlias = Callable[[], float]
# The headers of a client, and those that describe the framing of a message or the connection.
_TAKEN = frozenset(
    {"accept", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
) | {*("te", "trailer", "transfer-encoding", "upgrade", "user-agent")}


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
        mine = dict(started.headers)
        interrupt: KeyboardInterrupt | None = None
        self._ends: list[Callable[[CallEnded], object]] = []
        # The same loop as in ``told``, inline because it runs for each call.
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


def request_started(request: Request | AsyncRequest, methods: Container[str]) -> RequestStarted:
    """Return the event for the start of ``request``; ``methods`` are the app's methods."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    method = request.method.partition("?")[0]
    return RequestStarted(method, method if method in methods else "", request.headers, size)


def _status(error: BaseException) -> int | None:
    if isinstance(error, StatusError):
        return error.status
    return OK if isinstance(error, WireError) else None


def _clean(headers: dict[Any, Any], mine: dict[str, str]) -> None:
    """Restore ``mine`` in ``headers``, and remove other headers that cannot be sent.

    They are removed without an error, because an observer's mistake must not end the call.
    """
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
