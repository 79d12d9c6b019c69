"""Serve a request with an app: for any server, and as a WSGI application (PEP 3333).

A small body is read before the app is called, and passed as bytes. A large one, or one of unknown
length, is an iterable that reads from the connection on demand. A response is sent as its body is
read, after its status and headers were checked.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moby_plugins.domain.errors import (
    StatusError,
    WireError,
    error_text,
    is_kind,
    status_and_text,
    status_line,
)
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    CONTENT_TYPE,
    MAX_INFLIGHT_BYTES,
    MAX_REQUEST_BYTES,
    App,
    NoAnswerError,
    Request,
    Response,
)
from moby_plugins.domain.http_grammar import LENGTH
from moby_plugins.domain.outgoing import Outgoing, size_in_memory
from moby_plugins.domain.text import bounded, plain_text, quoted, shown
from moby_plugins.failures import log_failed_call, log_failure
from moby_plugins.ports import RunningCall

# Headers that PEP 3333 reserves for servers, which fail if an application sets them.
_OF_SERVERS = {"connection", "keep-alive", "proxy-connection", "te", "trailers", "upgrade"}
# Up to this size, a body is read before the call and passed as bytes.
SMALL_BYTES = 1 << 20
# The error of a server that ends by itself: its socket may have been closed under it.
STOPPED_LISTENING = (
    "its socket no longer listens: code in this process, or another process that has the socket,"
    " closed it or shut it down"
)


class InFlight:
    """A counter of the bytes that one server keeps of all its requests, at most ``limit``.

    ``max_request_bytes`` bounds a body of one request that is read as a whole.
    """

    def __init__(
        self, limit: int = MAX_INFLIGHT_BYTES, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> None:
        self.limit = limit
        self.max_request_bytes = max_request_bytes
        self._lock = threading.Lock()
        self._kept = 0

    def add(self, size: int) -> bool:
        """Add ``size`` bytes, which may be negative; return true if the limit allows it.

        Otherwise add nothing, and return false.
        """
        with self._lock:
            if self._kept + size > self.limit:
                return False
            self._kept += size
            return True


class Held:
    """A counter of the bytes that one request keeps in memory until its response was sent."""

    def __init__(self, inflight: InFlight) -> None:
        self.max_request_bytes: int = inflight.max_request_bytes
        self._inflight = inflight
        self._size = 0

    def hold(self, size: int) -> None:
        """Add ``size`` bytes.

        Raises ``StatusError`` with 503 if the server's requests together would exceed its limit.
        """
        if not self._inflight.add(size):
            raise StatusError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "",
                f"all requests in memory would have more than {self._inflight.limit} bytes:"
                " try again later",
            )
        self._size += size

    def release(self) -> None:
        """Subtract all bytes of this request from the server's counter; may be called twice."""
        size, self._size = self._size, 0
        if size:
            self._inflight.add(-size)


class Readable(Protocol):
    """A source of a request's body, from which a server reads the body's bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, ``b""`` at the body's end.

        Raises ``OSError`` or ``ValueError`` if the body cannot be read.
        """
        ...


class StartedResponse(Outgoing):
    """A response whose first chunk was read, so that its status is certain.

    Iterating yields the body's chunks, each read in the context ``call``. The server must call
    ``close``, also if the host has hung up. ``close`` then calls ``release``, which the server may
    set.
    """

    release: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, response: Response, call: RunningCall, method: str = "") -> None:
        try:
            super().__init__(response.status, response.headers, size_in_memory(response))
        except BaseException:
            response.body.close()
            raise
        self._body = response.body
        self._call = call
        self._method = method
        self._first = b""
        try:
            self._first = self._read()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        chunk = self._first
        while chunk:
            yield chunk
            try:
                chunk = self._read()
            except (NoAnswerError, WireError):  # already logged by the app if necessary
                raise
            except Exception as error:
                log_cut(self._method, error)
                raise
            except BaseException as error:
                # A server's thread would take a SystemExit as its own.
                log_cut(self._method, error)
                raise NoAnswerError(error_text(error)) from error

    def close(self) -> None:
        """Close the body; if it was not read to its end, the call is marked as hung up."""
        if not self.ended:
            self._call.hang_up()
        try:
            if not self.whole:
                with self._call:
                    self._body.close()
        except BaseException as error:  # the response was already sent, or was cut off
            log_failure(f"closing the response of /{self._method} failed", error)
        finally:
            self.release()

    def _read(self) -> bytes:
        if self.whole:
            return self.count(self._body.read(CHUNK_BYTES))
        with self._call:
            chunk = self._body.read(CHUNK_BYTES)
        return self.count(chunk)


def log_cut(method: str, error: BaseException) -> None:
    """Log that the response of ``method`` was cut off by ``error``."""
    log_failure(f"/{method} failed in the middle of its response", error)


def answer(app: App, verb: str, read: Callable[[], Request], call: RunningCall) -> StartedResponse:
    """Return the response of ``app`` to the request that ``read`` returns, if ``verb`` is POST.

    Another ``verb`` is answered with 405. The app runs in the context ``call``. An exception of the
    app is answered with 500, a ``WireError`` with 400, and a ``StatusError`` with its own status,
    each with the message as ``Err``. These include exceptions such as ``SystemExit``, and
    those raised while the first chunk of the body is made. A later exception passes to the server,
    which must close the connection, so that the host does not take a cut response for a complete
    one. A ``NoAnswerError`` always passes.
    """
    if verb != "POST":
        return (
            _HeadOnly(only_post(), call) if verb == "HEAD" else StartedResponse(only_post(), call)
        )
    try:
        request = read()
    except (StatusError, ValueError) as error:
        return StartedResponse(unreadable(error), call)
    method = request.method.partition("?")[0]
    try:
        with call:
            response: object = app(request)
        if not isinstance(response, Response):
            raise TypeError(f"an application returns a Response, not {quoted(response)}")
        return StartedResponse(response, call, method)
    except NoAnswerError:
        raise
    except BaseException as error:
        return StartedResponse(failed(error, method), call)


def read_request(
    method: str,
    headers: Mapping[str, str],
    length: int | None,
    stream: Readable,
    held: Held,
) -> Request:
    """Return a request whose body is read from ``stream``, of ``length`` bytes or up to its end.

    Bytes that are kept in memory are added to ``held``. Raises ``ValueError`` for an invalid method
    name, ``WireError`` for a small body that cannot be read, and ``StatusError`` if a small body
    exceeds the memory limit. Reading a large body raises ``WireError`` and ``StatusError`` later.
    """
    chunks = _chunks(stream, length)
    if length is None or length > min(SMALL_BYTES, held.max_request_bytes):
        return Request(
            method,
            chunks,
            headers,
            length,
            max_bytes=held.max_request_bytes,
            hold=held.hold,
        )
    if length:
        held.hold(length)
    return Request(method, b"".join(chunks), headers, length)


def refuse_origin(headers: Mapping[str, str], method: str) -> None:
    """Raise ``StatusError`` with 403 for a request with Origin, which a web page sends.

    A page could otherwise call plugins on the browser's machine over TCP, though not over a UNIX
    socket.
    """
    if "Origin" in headers:
        raise StatusError(HTTPStatus.FORBIDDEN, method, "a request with Origin is refused")


class _HeadOnly(StartedResponse):
    """A response to HEAD, without a body: the host would read one as the next response."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


def only_post() -> Response:
    """Return the response to a request with another HTTP method than POST: status 405."""
    return failure(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is accepted", {"Allow": "POST"})


def unreadable(error: StatusError | ValueError) -> Response:
    """Return the response to an invalid request: 400, or the status of a ``StatusError``."""
    if isinstance(error, StatusError):
        return failure(error.status, error.message)
    return failure(
        HTTPStatus.BAD_REQUEST, error.reason if isinstance(error, WireError) else str(error)
    )


def failed(error: BaseException, method: str) -> Response:
    """Return the response for ``error``, raised by ``method``; log all but a ``WireError``."""
    if is_kind(error, WireError):
        reason = error_text(error)
        with suppress(BaseException):  # its class may be one of the plugin, whose property fails
            reason = plain_text(error.reason)
        return failure(HTTPStatus.BAD_REQUEST, reason)
    log_failed_call(f"/{method} failed", error)
    return failure(*status_and_text(error))


def failure(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response with ``message`` as ``Err``."""
    body = json.dumps({"Err": bounded(message)}).encode() + b"\n"
    return Response(status, body, {"Content-Type": CONTENT_TYPE, **(headers or {})})


def _chunks(stream: Readable, length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        size = CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)
        try:
            chunk = stream.read(size)
        except (OSError, ValueError) as error:
            raise WireError(f"the request's body cannot be read: {shown(error)}") from error
        if not chunk:
            break
        yield chunk
        left = None if left is None else left - len(chunk)
    if left:
        raise WireError(
            f"the request's body is cut off: it lacks {left} of the {length} bytes of its"
            " Content-Length"
        )


def wsgi(app: App, inflight: InFlight | None = None) -> WSGIApplication:
    """Return the WSGI application that answers ``POST /method`` with ``app(request)``.

    Exceptions are answered, or pass to the server, as ``answer`` describes. A request with
    ``Origin``, which browsers send, is refused with 403 unless its ``REMOTE_ADDR`` is empty, as
    it is on a UNIX socket. ``inflight`` bounds the memory of all requests together.
    """
    shared = InFlight() if inflight is None else inflight

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        verb, call, held = environ["REQUEST_METHOD"], RunningCall(), Held(shared)
        try:
            answered = answer(app, verb, lambda: _request(environ, held), call)
        except BaseException:
            held.release()
            raise
        answered.release = held.release
        headers = [pair for pair in answered.headers.items() if pair[0].lower() not in _OF_SERVERS]
        try:
            start_response(status_line(answered.status), headers)
        except BaseException:
            answered.close()
            raise
        return answered

    return application


def _request(environ: WSGIEnvironment, held: Held) -> Request:
    query = environ.get("QUERY_STRING")
    method = environ["PATH_INFO"] + (f"?{query}" if query else "")
    headers = _headers(environ)
    # A missing REMOTE_ADDR, unlike an empty one, does not mean a UNIX socket.
    if environ.get("REMOTE_ADDR") != "":
        refuse_origin(headers, method)
    return read_request(method, headers, _length(environ), environ["wsgi.input"], held)


def _length(environ: WSGIEnvironment) -> int | None:
    text = environ.get("CONTENT_LENGTH")
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    if text:
        if not LENGTH.fullmatch(text):
            raise ValueError(f"{quoted(text)} is not a Content-Length")
        return int(text)
    return None if environ.get("wsgi.input_terminated") else 0


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {_header(key): environ[key] for key in environ if key.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    return headers


@lru_cache(maxsize=64)
def _header(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").title()
