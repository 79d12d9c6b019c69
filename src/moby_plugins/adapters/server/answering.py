"""Serve a request with an app: for any server, and as a WSGI application (PEP 3333).

A small body is read before the app is called, and is bytes. A large one, or one of unknown
length, is an iterable that reads the connection as it goes. A response is sent as it is read,
once its status and headers are known to be sound.
"""

import io
import json
import re
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
    as_bytes,
)
from moby_plugins.domain.http_grammar import HEADER_NAME, LENGTH, MAX_HEAD_BYTES, MAX_HEADERS
from moby_plugins.domain.text import bounded, plain_text, quoted, shown
from moby_plugins.failures import log_failed_call, log_failure
from moby_plugins.ports import RunningCall

# Up to this size a body is read before the call, and is bytes.
SMALL_BYTES = 1 << 20

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_STATUSES = range(200, 600)
# Less than this library's hosts read: a server adds some of its own.
_MAX_HEADERS, _MAX_HEADER_BYTES = MAX_HEADERS - 9, MAX_HEAD_BYTES - (4 << 10)
# What PEP 3333 leaves to servers alone: they fail where an application gives it.
_OF_SERVERS = {"connection", "keep-alive", "proxy-connection", "te", "trailers", "upgrade"}
# Characters of a header that is remembered as one that can be sent.
_SHORT = 256
_WITHOUT_BODY = {204, 205, 304}


class InFlight:
    """What the requests of one server keep in memory, bounded by ``limit`` bytes together.

    ``max_request_bytes`` bounds what one request is read into at once.
    """

    def __init__(
        self, limit: int = MAX_INFLIGHT_BYTES, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> None:
        self.limit = limit
        self.max_request_bytes = max_request_bytes
        self._lock = threading.Lock()
        self._kept = 0

    def add(self, size: int) -> bool:
        """Count ``size`` bytes more, or less; false where that would be too many."""
        with self._lock:
            if self._kept + size > self.limit:
                return False
            self._kept += size
            return True


class Held:
    """What one request keeps, as long as it is answered."""

    def __init__(self, inflight: InFlight) -> None:
        self.max_request_bytes: int = inflight.max_request_bytes
        self._inflight = inflight
        self._size = 0

    def hold(self, size: int) -> None:
        """Keep ``size`` bytes more; ``StatusError`` with 503 where all requests keep too many."""
        if not self._inflight.add(size):
            raise StatusError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "",
                f"requests are being read that have {self._inflight.limit} bytes: try again later",
            )
        self._size += size

    def release(self) -> None:
        """Keep nothing; may be called twice."""
        size, self._size = self._size, 0
        if size:
            self._inflight.add(-size)


class Readable(Protocol):
    """Where a request's body comes from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, ``b""`` at the end; raises ``OSError`` or ``ValueError``."""
        ...


class Outgoing:
    """The head of a response, and the account of its body: for servers of both kinds.

    ``size`` is that of a body that is whole in memory: it is told to the host. Raises
    ``ValueError`` for what no host could read.
    """

    def __init__(self, status: int, headers: Mapping[str, str], size: int | None) -> None:
        # What is still to come of a body whose length the app has told.
        self._left = _check_head(status, headers)
        self.status: int = status
        self.headers: dict[str, str] = dict(headers)
        self.ended = False
        # What is whole in memory is no code of the app's.
        self.whole: bool = size is not None
        if size is not None:
            if self._left is not None:
                if self._left != size:
                    raise ValueError(
                        f"Content-Length is {self._left}, and the body has {size} bytes"
                    )
                self.headers = {
                    name: value for name, value in self.headers.items() if not _is_length(name)
                }
            self.headers["Content-Length"] = str(size)
            self._left = size

    @property
    def has_length(self) -> bool:
        """Whether the length is told."""
        return self._left is not None

    @property
    def is_over(self) -> bool:
        """Whether the body has no more than what was counted of it: its length tells."""
        return self.ended or (self.whole and not self._left)

    def count(self, chunk: bytes) -> bytes:
        """Take the next chunk of the body, ``b""`` for its end; return it as bytes."""
        if type(chunk) is not bytes:
            chunk = as_bytes(chunk)
        self.ended = not chunk
        if chunk and self.status in _WITHOUT_BODY:
            raise ValueError(f"a response with status {self.status} has no body")
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (self.ended and self._left):
                raise ValueError("the body has another length than Content-Length tells")
        return chunk


class Answer(Outgoing):
    """An answer that has begun: its first part is there, so its status can be told.

    Iterating gives the body's parts, each made inside ``call``. Whoever has it closes it, also
    where the host has gone. ``release`` is then called.
    """

    release: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, response: Response, call: RunningCall, method: str = "") -> None:
        try:
            super().__init__(response.status, response.headers, _size(response))
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
            except (NoAnswerError, WireError):  # logged by the app, if there was anything to log
                raise
            except Exception as error:
                log_cut(self._method, error)
                raise
            except BaseException as error:
                # A server's thread would take it for its own order to stop.
                log_cut(self._method, error)
                raise NoAnswerError(error_text(error)) from error

    def close(self) -> None:
        """Close the body; one that was not read to its end is given up, and its call told so."""
        if not self.ended:
            self._call.hang_up()
        try:
            if not self.whole:
                with self._call:
                    self._body.close()
        except BaseException as error:  # the response has left already, or was cut off
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
    """Log that what ``method`` answered broke off."""
    log_failure(f"/{method} failed in the middle of its response", error)


def answer(app: App, verb: str, read: Callable[[], Request], call: RunningCall) -> Answer:
    """What ``app`` answers to the request that ``read`` gives, if ``verb`` is POST.

    Whatever the app raises is answered with 500, a ``WireError`` with 400, both with
    the message as ``Err``; that includes what is no ``Exception``, as ``SystemExit``, and
    what is raised while the first part of the body is made. A later one passes to the
    server, which must break the connection off, so that a cut answer is not taken for a
    whole one; so does a ``NoAnswerError`` at any time.
    """
    if verb != "POST":
        return _HeadOnly(only_post(), call) if verb == "HEAD" else Answer(only_post(), call)
    try:
        request = read()
    except (StatusError, ValueError) as error:
        return Answer(unreadable(error), call)
    method = request.method.partition("?")[0]
    try:
        with call:
            response: object = app(request)
        if not isinstance(response, Response):
            raise TypeError(f"an application returns a Response, not {quoted(response)}")
        return Answer(response, call, method)
    except NoAnswerError:
        raise
    except BaseException as error:
        return Answer(failed(error, method), call)


def read_request(
    method: str,
    headers: Mapping[str, str],
    length: int | None,
    stream: Readable,
    held: Held,
) -> Request:
    """The request whose body of ``length`` bytes, or up to its end, is in ``stream``.

    What is kept of it counts as ``held``. Raises ``ValueError`` for a method that is
    none, ``WireError`` for a small body that cannot be read, and ``StatusError`` where
    there is no room for it; a large one raises both later.
    """
    chunks = _chunks(stream, length)
    if length is None or length > SMALL_BYTES:
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
    """Raise ``StatusError`` with 403 for a request of a page in a browser.

    It could call plugins on the browser's own machine, over TCP: a UNIX socket has no pages.
    """
    if "Origin" in headers:
        raise StatusError(HTTPStatus.FORBIDDEN, method, "a request with Origin is refused")


class _HeadOnly(Answer):
    """What is answered to HEAD: the host takes the next answer to begin where a body would."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


def only_post() -> Response:
    """The response to other methods than POST."""
    return failure(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is answered", {"Allow": "POST"})


def unreadable(error: StatusError | ValueError) -> Response:
    """The response to a request that cannot be read: 400, or what a ``StatusError`` says."""
    if isinstance(error, StatusError):
        return failure(error.status, error.message)
    return failure(
        HTTPStatus.BAD_REQUEST, error.reason if isinstance(error, WireError) else str(error)
    )


def failed(error: BaseException, method: str) -> Response:
    """The response where ``method`` raised ``error``, which is logged."""
    if is_kind(error, WireError):
        reason = error_text(error)
        with suppress(BaseException):  # its class may be an author's own
            reason = plain_text(error.reason)
        return failure(HTTPStatus.BAD_REQUEST, reason)
    log_failed_call(f"/{method} failed", error)
    return failure(*status_and_text(error))


def failure(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response that says what went wrong."""
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
        raise WireError("the request's body is cut off")


def _size(response: Response) -> int | None:
    # What is whole in memory is sent with its length, anything else in chunks.
    body = response.body
    return body.getbuffer().nbytes - body.tell() if isinstance(body, io.BytesIO) else None


def _check_head(given: int, given_headers: Mapping[str, str]) -> int | None:
    """Return the length that is told; raise ``ValueError`` for what no host could read.

    Raises ``TypeError`` for headers that are no table.
    """
    # Apps are not always typed.
    status: Any = given
    headers: Mapping[Any, Any] = given_headers
    if not isinstance(status, int) or status not in _STATUSES:
        raise ValueError(f"{quoted(status)} is no status of a response: 200 to 599 are")
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers are a table from name to value, not {quoted(headers)}")
    size = 0
    for name, value in headers.items():
        if (
            type(name) is type(value) is str
            and len(name) + len(value) <= _SHORT
            and _is_plain(name, value)
        ):
            size += len(name) + len(value)
            continue
        if not isinstance(name, str) or not HEADER_NAME.fullmatch(name):
            raise ValueError(f"{quoted(name)} is no name of a header")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the header {name} has a value that cannot be sent: {quoted(value)}")
        if name.lower() == "transfer-encoding":
            raise ValueError(f"the header {name} is the server's own: leave it out")
        size += len(name) + len(value)
    if size > _MAX_HEADER_BYTES or len(headers) > _MAX_HEADERS:
        raise ValueError(
            f"headers of {size} bytes, {len(headers)} in number: hosts read {_MAX_HEADER_BYTES} "
            f"and {_MAX_HEADERS}"
        )
    told = list(filter(_is_length, headers))
    if len(told) > 1:
        raise ValueError("there is more than one Content-Length")
    return _told_length(headers) if told else None


@lru_cache(maxsize=64)
def _is_plain(name: str, value: str) -> bool:
    """Whether a header can be sent; what it is, is known of most of them after the first."""
    if name.lower() == "transfer-encoding":
        return False
    return bool(HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value))


@lru_cache(maxsize=64)
def _is_length(name: str) -> bool:
    return name.lower() == "content-length"


def _told_length(headers: Mapping[str, str]) -> int | None:
    told = next((value for name, value in headers.items() if _is_length(name)), None)
    if told is None:
        return None
    if not LENGTH.fullmatch(told):
        raise ValueError(f"{quoted(told)} is not a Content-Length")
    return int(told)


def wsgi(app: App, inflight: InFlight | None = None) -> WSGIApplication:
    """The WSGI application that answers ``POST /method`` with ``app(request)``.

    What fails is answered, or passes to the server, as ``answer`` says in
    ``answering.py``. A request with ``Origin``, a browser's, is refused with 403
    unless its ``REMOTE_ADDR`` is empty, as servers have it on a UNIX socket.
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
    # A server that tells no address does not say that this is a UNIX socket.
    if environ.get("REMOTE_ADDR") != "":
        refuse_origin(headers, method)
    return read_request(method, headers, _length(environ), environ["wsgi.input"], held)


def _length(environ: WSGIEnvironment) -> int | None:
    given = environ.get("CONTENT_LENGTH")
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    if given:
        if not LENGTH.fullmatch(given):
            raise ValueError(f"{quoted(given)} is not a Content-Length")
        return int(given)
    return None if environ.get("wsgi.input_terminated") else 0


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {_header(key): environ[key] for key in environ if key.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    return headers


@lru_cache(maxsize=64)
def _header(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").title()
