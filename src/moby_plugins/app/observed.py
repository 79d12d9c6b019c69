"""Observed attempts of calls and observed requests, for hosts and plugins that have observers.

``ObservedCall`` is one attempt of a call, and ``ObservedRequest`` a served request, synchronous or
asynchronous; each reports an event for its start and one for its end. ``ObservedReading`` is the
rest of a call whose response is a stream.
"""

from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypeVar, cast

from moby_plugins.app.observing import (
    Observers,
    Take,
    call_each,
    log_failed_observer,
)
from moby_plugins.app.retrying import Ending
from moby_plugins.domain.async_http import AsyncRequest
from moby_plugins.domain.errors import (
    StatusError,
    WaitCancelledError,
    WireError,
    is_kind,
    status_and_text,
)
from moby_plugins.domain.http import NoAnswerError, Request
from moby_plugins.domain.http_grammar import HEADER_NAME
from moby_plugins.domain.observing import CallEnded, CallStarted, RequestEnded, RequestStarted
from moby_plugins.failures import log_failure
from moby_plugins.ports import running_call

R = TypeVar("R", Request, AsyncRequest)
Now: TypeAlias = Callable[[], float]
_BAD_REQUEST = 400
_CUT_OFF = "the server broke the connection off before the response was sent"
# The headers of a client, and those that describe the framing of a message or the connection.
_TAKEN = frozenset(
    {"accept", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
) | {*("te", "trailer", "transfer-encoding", "upgrade", "user-agent")}


class _StartedDraft(CallStarted):
    """A ``CallStarted`` whose attributes can be set, until its ``__class__`` is ``CallStarted``."""

    # It adds no slot, or ``__class__`` could not be set. With the three functions of ``object``,
    # those two that set and delete together, no function in Python runs for an attribute.
    __slots__ = ()
    __init__ = object.__init__
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


class _EndedDraft(CallEnded):
    """A ``CallEnded`` whose attributes can be set, until its ``__class__`` is ``CallEnded``."""

    __slots__ = ()
    __init__ = object.__init__
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


class ObservedCall(Generic[R]):
    """One attempt of a call, whose start was reported; made by ``observe``.

    Set ``status``, ``new_connection`` and ``received_bytes`` as they become known, and then call
    ``end``. ``request`` is what to send: the given one, with the headers that observers added. An
    added header is dropped if it is not valid, is there already, or is set by the transport. For
    one thread or task at a time.
    """

    __slots__ = (
        "began",
        "ends",
        "new_connection",
        "now",
        "received_bytes",
        "request",
        "started",
        "status",
    )
    request: R
    received_bytes: int
    new_connection: bool | None
    # The status of the response, once its head was received.
    status: int | None
    started: CallStarted
    ends: tuple[Take, ...]
    now: Now
    began: float

    def end(self, error: BaseException | None = None) -> None:
        """Report the end of the attempt; later calls do nothing."""
        ends = self.ends
        if not ends:
            return
        self.ends = ()
        # Read before it is called: Python is slower to call what is in an instance's attribute.
        now, status = self.now, self.status
        if status is None and isinstance(error, StatusError):  # raised by a transport itself
            status = error.status
        ended: Any = _EndedDraft()
        ended.started = self.started
        ended.seconds = now() - self.began
        ended.status = status
        ended.error = error
        ended.received_bytes = self.received_bytes
        ended.new_connection = self.new_connection
        ended.__class__ = CallEnded
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


def observe(
    takers: Iterable[Take], plugin: str, address: str, request: R, now: Now
) -> ObservedCall[R]:
    """Report the start of an attempt to ``takers``, and return the ``ObservedCall``.

    ``takers`` are methods of observers. A constructor would be slower, and this runs for each call.
    """
    method, body, own = request.method, request.body, request.headers
    if "?" in method:
        method = method.partition("?")[0]
    headers = {**own}
    started: Any = _StartedDraft()
    started.plugin = plugin
    started.address = address
    started.method = method
    started.attempt = request.attempt
    started.headers = headers
    started.sent_bytes = len(body) if isinstance(body, bytes) else request.length
    started.__class__ = CallStarted
    ends: tuple[Take, ...] = ()
    interrupt: KeyboardInterrupt | None = None
    # Much as in ``call_each``, inline because it runs for each call.
    for take in takers:
        try:
            end = take(started)
        except KeyboardInterrupt as error:
            interrupt = error
        except BaseException as error:
            log_failed_observer(take, error)
        else:
            if end is not None:
                ends = (*ends, end) if ends else (end,)
    try:
        if headers != own:
            request = _with(headers, request)
    except Exception as error:  # raised by a string of the observer's own class
        log_failure("the headers that an observer added are not sent", error)
    observed: ObservedCall[R] = ObservedCall()
    observed.request = request
    observed.received_bytes = 0
    observed.new_connection = observed.status = None
    observed.started = started
    observed.ends = ends
    observed.now = now
    observed.began = now()
    if interrupt is not None:  # observers that saw the start also see the end
        observed.end(interrupt)
        raise interrupt
    return observed


class ObservedReading:
    """The reading of a streamed response, which reports the end of the observed ``call`` once.

    The end is reported when the stream has ended, or when its client is closed. ``ending`` is that
    of the client: it refers to this object until then, but not to the stream's body.
    """

    def __init__(self, call: ObservedCall[Any], ending: Ending) -> None:
        self._call = call
        # Empty once the end was reported: also if two threads report it at once.
        self._open = [call]
        self._ending = ending
        self._error: WaitCancelledError | None = None
        # Whether a read has begun, which will report the end if the client is closed.
        self.is_reading: bool = False
        self._registered = ending.cancellation.calling(self._client_closed)
        self._registered.__enter__()

    def cut_off(self) -> WaitCancelledError:
        """Return the error of a read after the client was closed, which observers get too."""
        self._error = self._error or self._ending.error(1)
        return self._error

    def count(self, data: bytes) -> None:
        """Count the bytes of ``data``; report the end if it is empty, or the client was closed."""
        self._call.received_bytes += len(data)
        if not data:
            self.end()
        elif self._ending.reason:  # the client was closed during the read
            self.end(self.cut_off())

    def end(self, error: BaseException | None = None) -> None:
        """Report the end of the call; later calls do nothing."""
        self._registered.__exit__(None, None, None)
        try:
            call = self._open.pop()
        except IndexError:
            return
        call.end(error)

    def _client_closed(self) -> None:
        if not self.is_reading:
            self.end(self.cut_off())


class StreamCutError(WireError):
    """Raised by a body whose rest cannot be read; its cause is what the plugin's method raised."""


class ObservedRequest:
    """A request to a served plugin, whose start was reported: call ``end`` or ``fail`` once.

    A body may be closed in another thread or task than the one that reads it.
    """

    __slots__ = ("_began", "_ends", "_now", "_started", "sent_bytes")

    def __init__(self, observers: Observers, started: RequestStarted, now: Now) -> None:
        # Empty once the end was reported: also if two threads report it at once.
        self._ends = [call_each(observers.taking(RequestStarted), started)]
        self._now = now
        self._began = now()
        self._started = started
        self.sent_bytes: int = 0

    def end(self, status: int, error: BaseException | None = None, *, hung_up: bool) -> None:
        """Report the end of the request; later calls do nothing.

        ``status`` is that of the response, and ``hung_up`` says whether the host has hung up. If
        that is true, but the server itself has cut the running call off (``was_cut_off``), the
        event has ``hung_up`` false and an error: ``error``, or a ``NoAnswerError`` if that is
        ``None``.
        """
        try:
            ends = self._ends.pop()
        except IndexError:
            return
        if ends:
            call = running_call()
            if hung_up and call is not None and call.was_cut_off:
                hung_up, error = False, error or NoAnswerError(_CUT_OFF)
            seconds, sent = self._now() - self._began, self.sent_bytes
            ended = RequestEnded(self._started, seconds, status, error, sent, hung_up)
            call_each(ends, ended)

    def closed(self, status: int) -> None:
        """Report the end of the request, because its response's body was closed.

        This does nothing if the body was read to its end before. The running call says whether the
        host has hung up. Without a running call, as in a test, the caller is the host, and has.
        """
        call = running_call()
        self.end(status, hung_up=call is None or call.has_hung_up)

    def fail(self, status: int, raised: BaseException, *, hung_up: bool) -> None:
        """Report the end of the request, because the app raised ``raised``.

        If a part of the response was sent already, its status is ``status``. Otherwise the server
        responds to the exception with a status of its own, which is reported. In place of a
        ``StreamCutError``, its cause is reported.
        """
        if isinstance(raised, StreamCutError):
            self.end(status, raised.__cause__, hung_up=hung_up)
        elif self.sent_bytes:
            self.end(status, raised, hung_up=hung_up)
        else:
            status = _BAD_REQUEST if is_kind(raised, WireError) else status_and_text(raised)[0]
            self.end(status, raised, hung_up=hung_up)


def request_started(request: Request | AsyncRequest, methods: Container[str]) -> RequestStarted:
    """Return the event for the start of ``request``; ``methods`` are the app's methods."""
    size = len(request.body) if isinstance(request.body, bytes) else request.length
    method = request.method.partition("?")[0]
    return RequestStarted(method, method if method in methods else "", request.headers, size)


def _with(headers: dict[Any, Any], request: R) -> R:
    """Return ``request`` with the ``headers`` that can be added to it.

    The others are left out without an error, since an observer's mistake must not end the call.
    """
    sent = dict(request.headers)
    taken = {name.lower() for name in sent}
    for name, value in headers.items():
        good = isinstance(value, str) and _is_sendable(value)
        if good and _may_be_added(name) and name.lower() not in taken:
            sent[name] = value
            taken.add(name.lower())
    made: Any = type(request)
    return cast("R", made(request.method, request.body, sent, request.length, request.attempt))


@lru_cache(maxsize=256)
def _may_be_added(name: object) -> bool:
    good = isinstance(name, str) and HEADER_NAME.fullmatch(name) is not None
    return good and str(name).lower() not in _TAKEN


def _is_sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()
