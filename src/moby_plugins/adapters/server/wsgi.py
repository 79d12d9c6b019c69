"""A function ``Request -> Response`` as a WSGI application (PEP 3333), for any server.

Small bodies arrive as bytes, large ones and those of unknown length as an
iterable that reads the connection as it goes; answers leave as they are read.
"""

import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any
from wsgiref.types import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

from moby_plugins.domain.errors import WireError
from moby_plugins.domain.exchange import (
    CHUNK_BYTES,
    CONTENT_TYPE,
    App,
    Body,
    NoAnswerError,
    Request,
    Response,
)

logger = logging.getLogger("moby_plugins")

# Up to this size a body is read before the call, and is bytes.
SMALL_BYTES = 1 << 20

_LENGTH = re.compile("[0-9]{1,18}")


def wsgi(app: App) -> WSGIApplication:
    """The WSGI application that answers ``POST /method`` with ``app(request)``.

    An exception is answered with 500, a ``WireError`` with 400, both with the
    message as ``Err``; that includes one raised while the first part of the body
    is made. A later one passes to the server, which must break the connection
    off, so that a cut answer is not taken for a whole one; so does a
    ``NoAnswerError`` at any time. Bodies are closed.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = _answer(app, environ)
        size = _size(response.body)
        try:
            first = response.body.read(CHUNK_BYTES)
        except NoAnswerError:
            response.body.close()
            raise
        except Exception as error:
            response.body.close()
            response = _failed(error, environ)
            size = _size(response.body)
            first = response.body.read(CHUNK_BYTES)
        headers = dict(response.headers)
        if size is not None:
            headers["Content-Length"] = str(size)
        start_response(_status_line(response.status), list(headers.items()))
        return _Chunks(first, response.body)

    return application


class _Chunks:
    """An answer's body, the first part of which is read already."""

    def __init__(self, first: bytes, body: Body) -> None:
        self._first = first
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        chunk = self._first
        while chunk:
            yield chunk
            chunk = self._body.read(CHUNK_BYTES)

    def close(self) -> None:
        """Called by the server, also when the client has gone."""
        self._body.close()


def _answer(app: App, environ: WSGIEnvironment) -> Response:
    if environ["REQUEST_METHOD"] != "POST":
        return _failure(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is answered", {"Allow": "POST"})
    try:
        request = _request(environ)
    except ValueError as error:
        reason = error.reason if isinstance(error, WireError) else str(error)
        return _failure(HTTPStatus.BAD_REQUEST, reason)
    try:
        return app(request)
    except NoAnswerError:
        raise
    except Exception as error:
        return _failed(error, environ)


def _failed(error: Exception, environ: WSGIEnvironment) -> Response:
    if isinstance(error, WireError):
        return _failure(HTTPStatus.BAD_REQUEST, error.reason)
    logger.error("%s failed", environ["PATH_INFO"], exc_info=error)
    return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, str(error) or type(error).__name__)


def _failure(
    status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    body = json.dumps({"Err": message}).encode() + b"\n"
    return Response(status, body, {"Content-Type": CONTENT_TYPE, **(headers or {})})


def _request(environ: WSGIEnvironment) -> Request:
    query = environ.get("QUERY_STRING")
    method = environ["PATH_INFO"] + (f"?{query}" if query else "")
    length = _length(environ)
    chunks = _chunks(environ["wsgi.input"], length)
    small = length is not None and length <= SMALL_BYTES
    return Request(method, b"".join(chunks) if small else chunks, _headers(environ), length)


def _length(environ: WSGIEnvironment) -> int | None:
    given = environ.get("CONTENT_LENGTH")
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    if given:
        if not _LENGTH.fullmatch(given):
            raise ValueError(f"{given!r} is not a Content-Length")
        return int(given)
    return None if environ.get("wsgi.input_terminated") else 0


def _chunks(stream: InputStream, length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        size = CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)
        try:
            chunk = stream.read(size)
        except (OSError, ValueError) as error:
            raise WireError(f"the request's body cannot be read: {error}") from error
        if not chunk:
            break
        yield chunk
        left = None if left is None else left - len(chunk)
    if left:
        raise WireError("the request's body is cut off")


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    given = {key.removeprefix("HTTP_"): environ[key] for key in environ if key.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        given["CONTENT_TYPE"] = environ["CONTENT_TYPE"]
    return {key.replace("_", "-").title(): value for key, value in given.items()}


def _size(body: Body) -> int | None:
    # What is whole in memory is sent with its length, anything else in chunks.
    return body.getbuffer().nbytes - body.tell() if isinstance(body, io.BytesIO) else None


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"
