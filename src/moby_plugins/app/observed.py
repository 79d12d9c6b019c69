"""Observed attempts of calls and observed requests, for hosts and plugins that have observers.

``ObservedCall`` is one attempt of a call, and ``ObservedRequest`` a served request, synchronous or
asynchronous; each reports an event for its start and one for its end.
"""

from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypeVar, cast

from moby_plugins.app.observing import (
    Observers,
    Take,
    call_each,
    log_failed_observer,
    raise_interrupt,
)
from moby_plugins.domain.async_http import AsyncRequest
from moby_plugins.domain.errors import INTERNAL_ERROR, StatusError, WireError
from moby_plugins.domain.http import OK, Request
from moby_plugins.domain.http_grammar import HEADER_NAME
from moby_plugins.domain.observing import CallEnded, CallStarted, RequestEnded, RequestStarted

R = TypeVar("R", Request, AsyncRequest)
Now: TypeAlias = Callable[[], float]
# The headers of a client, and those that describe the framing of a message or the connection.
_TAKEN = frozenset(
    {"accept", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
) | {*("te", "trailer", "transfer-encoding", "upgrade", "user-agent")}


class ObservedCall(Generic[R]):
    """One attempt of a call, whose start was reported; facts about its response are added.

    ``request`` is what to send: the given one, with the headers that observers added. An added
    header is dropped if it is not valid, is there already, or is set by the transport. For one
    thread or task at a time.
    """

    __slots__ = (
        "_began",
        "_ends",
        "_now",
        "_started",
        "new_connection",
        "received_bytes",
        "request",
    )

    def __init__(
        self, takers: Iterable[Take], plugin: str, address: str, request: R, now: Now
    ) -> None:
        method, body, own = request.method, request.body, request.headers
        if "?" in method:
            method = method.partition("?")[0]
        size = len(body) if isinstance(body, bytes) else request.length
        headers = dict(own)
        self._started = started = CallStarted(
            plugin, address, method, request.attempt, headers, size
        )
        self._ends: tuple[Take, ...] = ()
        interrupt: KeyboardInterrupt | None = None
        # The same loop as in ``call_each``, inline because it runs for each call.
        for take in takers:
            try:
                end = take(started)
            except KeyboardInterrupt as error:
                interrupt = error
            except BaseException as error:
                log_failed_observer(take, error)
            else:
                if end is not None:
                    self._ends += (end,)
        self.request: R = request if headers == own else _with(headers, request)
        self.received_bytes: int = 0
        self.new_connection: bool | None = None
        self._now = now
        self._began = now()
        if interrupt is not None:  # observers that saw the start also see the end
            self.end(interrupt)
            raise interrupt

    def end(self, error: BaseException | None = None) -> None:
        """Report the end of the attempt, once: a stream may be closed more than once."""
        ends = self._ends
        if not ends:
            return
        self._ends = ()
        seconds = self._now() - self._began
        status = OK if error is None else _status(error)
        received = self.received_bytes
        ended = CallEnded(self._started, seconds, status, error, received, self.new_connection)
        interrupt: KeyboardInterrupt | None = None
        for end in ends:
            try:
                end(ended)
            except KeyboardInterrupt as raised:
                interrupt = raised
            except BaseException as raised:
                log_failed_observer(end, raised)
        if interrupt is not None:
            raise interrupt


class ObservedRequest:
    """A request to a served plugin, with the event of its start.

    For one thread or task at a time.
    """

    __slots__ = ("_began", "_ends", "_now", "_started", "sent_bytes")

    def __init__(self, observers: Observers, started: RequestStarted, now: Now) -> None:
        self._ends, interrupt = call_each(observers.taking(RequestStarted), started)
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
            raise_interrupt(call_each(ends, ended)[1])


def request_started(request: Request | AsyncRequest, methods: Container[str]) -> RequestStarted:
    """Return the event for the start of ``request``; ``methods`` are the app's methods."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    method = request.method.partition("?")[0]
    return RequestStarted(method, method if method in methods else "", request.headers, size)


def _status(error: BaseException) -> int | None:
    if isinstance(error, StatusError):
        return error.status
    return OK if isinstance(error, WireError) else None


def _with(headers: dict[Any, Any], request: R) -> R:
    """Return ``request`` with the ``headers`` that can be added to it.

    The others are left out without an error, since an observer's mistake must not end the call.
    """
    sent = dict(request.headers)
    for name, value in headers.items():
        good = isinstance(value, str) and _is_sendable(value)
        if good and name not in sent and _may_be_added(name):
            sent[name] = value
    made: Any = type(request)
    return cast("R", made(request.method, request.body, sent, request.length, request.attempt))


@lru_cache(maxsize=256)
def _may_be_added(name: object) -> bool:
    good = isinstance(name, str) and HEADER_NAME.fullmatch(name) is not None
    return good and str(name).lower() not in _TAKEN


def _is_sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()
