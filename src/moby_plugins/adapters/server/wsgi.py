"""A function ``Request -> Response`` as a WSGI application (PEP 3333), for any server."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moby_plugins.adapters.server.answering import answer, read_request, status_line
from moby_plugins.domain.http import App, Request

_LENGTH = re.compile("[0-9]{1,18}")


def wsgi(app: App) -> WSGIApplication:
    """The WSGI application that answers ``POST /method`` with ``app(request)``.

    What fails is answered, or passes to the server, as ``answer`` says in
    ``answering.py``.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answered = answer(app, environ["REQUEST_METHOD"], lambda: _request(environ))
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
            raise ValueError(f"{given!r} is not a Content-Length")
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
