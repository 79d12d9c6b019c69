"""The default HTTP connection: urllib3's, over a socket that was already dialled.

urllib3 writes the requests. ``http.client``, on which it is built, reads the responses. Neither is
used where it would take most of the time of a call: a small request is written at once, and a
response is not parsed if it was received whole and its head has the most common form
(``heads.py``); larger responses with such a head are parsed by ``http.client``, but not their head.
The pool and the responses of urllib3 are not used: retries, redirects, proxies and decoding, which
no plugin needs, would cost as much as the rest of a call. ``pool.py`` keeps connections.

Exceptions of either library leave this module only through ``translate``.
"""

import http.client
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.client import IncompleteRead
from typing import Any, TypeVar, cast

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import SKIP_HEADER

from moby_plugins.adapters.http.dialing import STOPPED_READING, Lookups, Socket, dialer_for
from moby_plugins.adapters.http.errors import ANSWERED, NOT_ANSWERED, Row, first_match, timed_out
from moby_plugins.adapters.http.exchanges import Release, SocketBody
from moby_plugins.adapters.http.heads import (
    ResponseHeaders,
    head_of,
    line,
    plain_response,
)
from moby_plugins.adapters.http.pool import IdleConnections, PooledTransport, time_left
from moby_plugins.adapters.http.strict_response import BrokenHeadersError, StrictResponse
from moby_plugins.domain.address import UNIX_HOST, Address, TLSOptions
from moby_plugins.domain.errors import PluginError, TransportError, WireError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    CLOSED_EARLY,
    CUT_OFF,
    MALFORMED,
    FilePart,
    Request,
    Response,
    parts_of,
)
from moby_plugins.domain.text import shown

if not hasattr(http.client.HTTPConnection, "_output"):
    raise ImportError(
        "moby_plugins overrides HTTPConnection._output of http.client, which this Python lacks:"
        " use a supported version of Python"
    )

T = TypeVar("T")

# All exceptions of urllib3, http.client and sockets.
ERRORS = (HTTPError, http.client.HTTPException, OSError)
# The tables, before and after a status line; see errors.py. ConnectTimeoutError is not listed:
# urllib3 derives "refused" from it, and only its cause tells the two apart.
_TIMED_OUT = timed_out(ReadTimeoutError)
_NOT_ANSWERED: tuple[Row, ...] = (
    _TIMED_OUT,
    (
        (http.client.RemoteDisconnected,),
        TransportError,
        lambda _, __: CLOSED_EARLY,
    ),
    *NOT_ANSWERED,
    ((http.client.HTTPException,), TransportError, lambda _, e: f"{MALFORMED}: {shown(e)}"),
    ((HTTPError,), TransportError, lambda _, e: f"{MALFORMED}: {shown(e)}"),
)
_ANSWERED: tuple[Row, ...] = (
    _TIMED_OUT,
    ((http.client.IncompleteRead,), WireError, lambda _, __: CUT_OFF),
    ANSWERED,
    ((http.client.HTTPException,), WireError, lambda _, e: f"malformed body: {shown(e)}"),
    ((HTTPError,), WireError, lambda _, e: f"malformed body: {shown(e)}"),
)


# Size of the first read: most responses are smaller.
FIRST_BYTES = 16 << 10


class CallersError(Exception):
    """A wrapper of an exception that the caller's body iterator raised, not the network."""

    def __init__(self, raised: Exception) -> None:
        self.raised = raised
        super().__init__(raised)


def guarded(body: bytes | Iterable[T]) -> bytes | Iterable[T]:
    """Return ``body``; an iterable is wrapped, and raises its exceptions as ``CallersError``."""
    return body if isinstance(body, bytes) else _guarded(body)


def _guarded(chunks: Iterable[T]) -> Iterator[T]:
    try:
        yield from chunks
    except Exception as error:
        raise CallersError(error) from error


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and its causes, breadth first."""
    # urllib3 passes the original error on as an argument or as the cause. Contexts are ignored:
    # they may be errors that the caller was handling.
    pending: list[object] = [error]
    for _ in range(20):
        if not pending:
            return
        cause = pending.pop(0)
        if isinstance(cause, BaseException):
            yield cause
            pending += [*cause.args, getattr(cause, "reason", None), cause.__cause__]


def translate(error: BaseException, address: Address, *, answered: bool) -> PluginError:
    """Return the ``PluginError`` for one of ``ERRORS``, by its class and its causes.

    ``answered`` says whether a status line was received before it.
    """
    chain = list(causes(error))
    answered = answered or any(isinstance(cause, BrokenHeadersError) for cause in chain)
    rows = _ANSWERED if answered else _NOT_ANSWERED
    translated = first_match(rows, chain, address, answered=answered)
    if translated is None:
        raise error
    return translated


def connect(
    address: Address,
    tls: TLSOptions | None,
    /,
    *,
    idle: IdleConnections | None = None,
    lookups: Lookups | None = None,
) -> PooledTransport:
    """Return the transport that ``Settings.transports`` calls ``"urllib3"``; dial nothing yet.

    ``idle`` keeps idle connections. ``lookups`` looks up host names and reads TLS files, and caches
    no result. Both may be shared with other transports. The TLS files are read here, or by the
    first dial if that takes longer than a second. Raises ``SpecError`` for a scheme, a socket's
    path or a TLS file that cannot be used.
    """
    return PooledTransport(address, dialer_for(address, tls, lookups), Urllib3Connection, idle)


class Urllib3Connection:
    """A connection over ``sock`` to the plugin at ``address``."""

    verb = "POST"

    def __init__(self, address: Address, sock: Socket) -> None:
        self._address = address
        self._sock = sock
        # Whether the other end has hung up, or sent data that was not requested.
        self.is_readable: Callable[[], bool] = sock.is_readable
        self._host = address.host_header
        self._http = _DialledHTTPConnection(address, sock)
        self._is_new = True

    def send(self, request: Request, ends: float | None) -> bool:
        """Send ``request``; return false if the plugin responds or stops reading before its end."""
        try:
            return self._send_request(request, ends)
        except CallersError as error:
            raised = error.raised
        except ERRORS as error:
            self.close()
            raise translate(error, self._address, answered=False) from error
        except BaseException:
            self.close()
            raise
        self.close()
        try:
            raise raised
        finally:
            del raised  # its traceback refers to this frame

    def receive(self, release: Release, *, whole: bool) -> Response:
        """Receive the response's head, and return the response.

        ``release`` is called once the body was read or closed. ``whole`` is what ``send`` returned:
        if it is false, the connection is not reused.
        """
        is_new, self._is_new = self._is_new, False
        try:
            data = self._sock.recv(FIRST_BYTES)
            if not data:
                raise http.client.RemoteDisconnected(CLOSED_EARLY)
            # A request that urllib3 sent is one that ``http.client`` waits for a response to.
            plain = plain_response(data, is_new=is_new) if self._http.was_written else None
            if plain is None:
                self._sock.put_back(data)
                response = self._http.response()
        except ERRORS as error:
            self.close()
            raise translate(error, self._address, answered=False) from error
        except BaseException:
            self.close()
            raise
        if plain is not None:
            release(self, reusable=whole)
            return plain
        end = partial(self._end, release, whole=whole)
        headers = ResponseHeaders(response.lines)
        body = _Body(response, self._sock, self._address, end)
        return Response(response.status, body, headers, is_new)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _send_request(self, request: Request, ends: float | None) -> bool:
        body = request.body
        try:
            if self.verb == "POST" and isinstance(body, bytes) and len(body) <= CHUNK_BYTES:
                self._sock.bound(ends)
                self._http.send_written(head_of(request, self._host, len(body)) + body)
            else:
                self._send_by_urllib3(request, ends)
        except STOPPED_READING:
            return False  # the plugin already responds, or has stopped reading
        return True

    def _send_by_urllib3(self, request: Request, ends: float | None) -> None:
        headers = {"Accept-Encoding": SKIP_HEADER, **request.headers}
        if "host" not in {name.lower() for name in headers}:
            headers["Host"] = self._host  # urllib3 leaves port 80 out of its own
        body: bytes | Iterable[bytes | FilePart] = request.body
        if request.length is not None:
            headers["Content-Length"] = str(request.length)
            if not isinstance(request.body, bytes):
                body = parts_of(request.body)
        self._http.timeout = time_left(ends)
        self._http.request(
            self.verb,
            "/" + request.method,
            body=guarded(body) or None,
            headers=headers,
            preload_content=False,
            decode_content=False,
        )

    def _end(self, release: Release, *, whole: bool, reusable: bool) -> None:
        # http.client drops the socket if no further response can follow.
        release(self, reusable=whole and reusable and self._http.sock is not None)


class GetConnection(Urllib3Connection):
    """A connection that only sends GET; the request's ``method`` is the path.

    It reads the API of an engine. Calls of plugins are always POST.
    """

    verb = "GET"


class _DialledHTTPConnection(HTTPConnection):
    response_class = StrictResponse
    auto_open = 0  # the socket is already connected, and is never replaced

    def __init__(self, address: Address, sock: Socket) -> None:
        super().__init__(address.host or UNIX_HOST, address.port or None)
        self.sock = self._socket = sock
        self._begun = False
        # Whether the last request was sent without urllib3.
        self.was_written: bool = False

    def send_written(self, request: bytes) -> None:
        """Send the whole ``request``, without urllib3."""
        self.was_written = True
        self._socket.sendall(request)

    def response(self) -> StrictResponse:
        """Return the response of ``http.client``, without urllib3's wrapper."""
        if not self.was_written:
            return cast("StrictResponse", super(HTTPConnection, self).getresponse())
        # As ``getresponse`` does, which refuses to work without a request of its own.
        response = StrictResponse(self._socket, method="POST")
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        if response.will_close:
            self.close()  # the response keeps the socket open until it is closed
        return response

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request as urllib3 does."""
        self._begun = self.was_written = False
        super().request(*args, **options)

    def putheader(self, header: Any, *values: Any) -> None:
        """Add a header from the cache of checked and encoded lines."""
        if len(values) == 1 and isinstance(values[0], str) and values[0] != SKIP_HEADER:
            self._output(line(header, values[0]))  # type: ignore[attr-defined]  # http.client's own
        else:
            super().putheader(header, *values)

    def send(self, data: Any) -> None:
        """Send ``data``; if it is not the first part of a request, first check for a response."""
        if isinstance(data, FilePart):  # urllib3 got it as the first chunk of a body
            self._socket.send_part(data)
            return
        if self._begun:
            self._socket.wait_to_send()
        self._begun = True
        super().send(data)


class _Body(SocketBody):
    """The body of a response, read from the socket on demand."""

    def __init__(
        self, response: StrictResponse, sock: Socket, address: Address, release: Callable[..., None]
    ) -> None:
        super().__init__(sock.abort, release)
        self._response = response
        self._sock = sock
        self._address = address

    def _next(self, size: int) -> bytes:
        if self._is_over:
            return b""
        response = self._response
        try:
            data = response.read1(size)
            if not data and (response.length or self._sock.cut_off):
                raise IncompleteRead(b"", response.length)
        except ERRORS as error:
            raise translate(error, self._address, answered=True) from error
        # A body of known length is complete, or another body has ended.
        if response.length == 0 or not data:
            self._end(reusable=True)
        return data

    def _end(self, *, reusable: bool) -> None:
        response = self._response
        response.close()  # only then it knows whether it has received more than the body
        super()._end(reusable=reusable and not response.has_surplus)
