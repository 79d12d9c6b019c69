"""Serve a request with an app: for any server, and as a WSGI application (PEP 3333).

A small body is read before the app is called, and is bytes. A large one, or one of unknown
length, is an iterable that reads the connection as it goes. A response is sent as it is read.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moby_plugins.domain.errors import WireError, error_text, status_line
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    CONTENT_TYPE,
    App,
    NoAnswerError,
    Request,
    Response,
)
from moby_plugins.domain.text import bounded, quoted, shown
from moby_plugins.failures import log_failed_call, log_failure
from moby_plugins.ports import RunningCall

# Up to this size a body is read before the call, and is bytes.
SMALL_BYTES = 1 << 20

_LENGTH = re.compile("[0-9]{1,18}")


class Readable(Protocol):
    """Where a request's body comes from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, ``b""`` at the end; raises ``OSError`` or ``ValueError``."""
        ...


class Answer:
    """An answer that has begun: its first part is there, so its status can be told.

    Iterating gives the body's parts, each made inside ``call``. Whoever has it closes it, also
    where the host has gone.
    """

    def __init__(self, response: Response, call: RunningCall, method: str = "") -> None:
        self.status: int = response.status
        self.headers: dict[str, str] = dict(response.headers)
        self._body = response.body
        self._call = call
        self._method = method
        size = _size(response)
        if size is not None:
            self.headers["Content-Length"] = str(size)
        # What is whole in memory is no code of the app's.
        self._whole = size is not None
        self._first = b""
        self._ended = False
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
                self._log_cut(error)
                raise
            except BaseException as error:
                # A server's thread would take it for its own order to stop.
                self._log_cut(error)
                raise NoAnswerError(error_text(error)) from error

    def close(self) -> None:
        """Close the body; one that was not read to its end is given up, and its call told so."""
        if not self._ended:
            self._call.hang_up()
        if self._whole:
            return
        try:
            with self._call:
                self._body.close()
        except BaseException as error:  # the response has left already, or was cut off
            log_failure(f"closing the response of /{self._method} failed", error)

    def _read(self) -> bytes:
        if self._whole:
            chunk = self._body.read(CHUNK_BYTES)
        else:
            with self._call:
                chunk = self._body.read(CHUNK_BYTES)
        self._ended = not chunk
        return chunk

    def _log_cut(self, error: BaseException) -> None:
        log_failure(f"/{self._method} failed in the middle of its response", error)


def answer(app: App, verb: str, read: Callable[[], Request], call: RunningCall) -> Answer:
    """What ``app`` answers to the request that ``read`` gives, if ``verb`` is POST.

    Whatever the app raises is answered with 500, a ``WireError`` with 400, both with
    the message as ``Err``; that includes what is no ``Exception``, as ``SystemExit``, and
    what is raised while the first part of the body is made. A later one passes to the
    server, which must break the connection off, so that a cut answer is not taken for a
    whole one; so does a ``NoAnswerError`` at any time.
    """
    if verb != "POST":
        refusal = _failure(
            HTTPStatus.METHOD_NOT_ALLOWED, "only POST is answered", {"Allow": "POST"}
        )
        return _HeadOnly(refusal, call) if verb == "HEAD" else Answer(refusal, call)
    try:
        request = read()
    except ValueError as error:
        reason = error.reason if isinstance(error, WireError) else str(error)
        return Answer(_failure(HTTPStatus.BAD_REQUEST, reason), call)
    method = request.method.partition("?")[0]
    try:
        with call:
            response = app(request)
        return Answer(response, call, method)
    except NoAnswerError:
        raise
    except BaseException as error:
        return Answer(_failed(error, method), call)


def read_request(
    method: str, headers: Mapping[str, str], length: int | None, stream: Readable
) -> Request:
    """The request whose body of ``length`` bytes, or up to its end, is in ``stream``.

    Raises ``ValueError`` for a method that is none, and ``WireError`` for a small
    body that cannot be read; a large one raises it later.
    """
    chunks = _chunks(stream, length)
    small = length is not None and length <= SMALL_BYTES
    return Request(method, b"".join(chunks) if small else chunks, headers, length)


class _HeadOnly(Answer):
    """What is answered to HEAD: the host takes the next answer to begin where a body would."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


def _failed(error: BaseException, method: str) -> Response:
    if isinstance(error, WireError):
        return _failure(HTTPStatus.BAD_REQUEST, error.reason)
    log_failed_call(f"/{method} failed", error)
    return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, error_text(error))


def _failure(
    status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
) -> Response:
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


def wsgi(app: App) -> WSGIApplication:
    """The WSGI application that answers ``POST /method`` with ``app(request)``.

    What fails is answered, or passes to the server, as ``answer`` says in
    ``answering.py``.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        verb, call = environ["REQUEST_METHOD"], RunningCall()
        answered = answer(app, verb, lambda: _request(environ), call)
        start_response(status_line(answered.status), list(answered.headers.items()))
        return answered

    return application


def _request(environ: WSGIEnvironment) -> Request:
    query = environ.get("QUERY_STRING")
    method = environ["PATH_INFO"] + (f"?{query}" if query else "")
    return read_request(method, _headers(environ), _length(environ), environ["wsgi.input"])


def _length(environ: WSGIEnvironment) -> int | None:
    given = environ.get("CONTENT_LENGTH")
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    if given:
        if not _LENGTH.fullmatch(given):
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
