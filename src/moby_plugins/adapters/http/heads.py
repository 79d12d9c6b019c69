"""Heads of requests and responses, and small responses, for both HTTP libraries.

A client sends the same headers with every call of a method, so each head is checked and encoded
once and cached. ``http.client`` would do both for every request.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Protocol

from moby_plugins.domain import http_grammar
from moby_plugins.domain.http import Response
from moby_plugins.domain.http_grammar import HEADER_NAME, plain_head
from moby_plugins.domain.text import quoted

_BAD_VALUE = re.compile(r"[\r\n\0]")
# Headers of the body's length, which only the HTTP library sets.
_FRAMING = {"content-length", "transfer-encoding"}


class RefusedError(Exception):
    """Raised for a response that breaks the rules of HTTP or exceeds a bound."""


@lru_cache(maxsize=256)
def line(name: str, value: str) -> bytes:
    """Return a header line without its line end; raise ``ValueError`` if it cannot be sent."""
    if not HEADER_NAME.fullmatch(name) or _BAD_VALUE.search(value):
        raise ValueError(
            f"{quoted(name)}: {quoted(value)} is not a header: its name or its value cannot be sent"
        )
    return f"{name}: {value}".encode("latin-1")


class Headed(Protocol):
    """Anything that has the head of a request: a method and headers."""

    @property
    def method(self) -> str:
        """The method that is called, which is the path of the request."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request."""
        ...


def head_of(request: Headed, host: str, length: int | None) -> bytes:
    """Return request line and headers for a body of ``length`` bytes, ``None`` for chunks.

    ``host`` is the Host header unless the request has one. Raises ``ValueError`` for a header
    with characters that are not allowed.
    """
    head = _head(request.method, tuple(request.headers.items()), host)
    if length is None:
        return head + b"Transfer-Encoding: chunked\r\n\r\n"
    return b"%bContent-Length: %d\r\n\r\n" % (head, length)


@lru_cache(maxsize=128)
def _head(method: str, headers: tuple[tuple[str, str], ...], host: str) -> bytes:
    """Return a request's head without its end, and without the headers of the body's length."""
    fields = {name: value for name, value in headers if name.lower() not in _FRAMING}
    if "host" not in {name.lower() for name in fields}:
        fields["Host"] = host
    lines = b"".join(line(name, value) + b"\r\n" for name, value in fields.items())
    return b"POST /%b HTTP/1.1\r\n%b" % (method.encode(), lines)


class ResponseHeaders(Mapping[str, str]):
    """The headers that ``lines`` returns, parsed on first access.

    Names are title-cased, and the values of repeated headers are joined by commas. For one thread
    at a time.
    """

    def __init__(self, lines: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._lines = lines

    @cached_property
    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for name, value in self._lines():
            key = name.title()
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
        return fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.title()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def plain_response(data: bytes, *, is_new: bool) -> Response | None:
    """Return the response if ``data`` is all of it, and its head needs no parser; else ``None``.

    ``is_new`` says whether the connection was opened for the call.
    """
    head = plain_head(data)
    if head is None:
        return None
    size = len(head.text)
    if len(data) != size + head.length:
        return None
    return Response(head.status, data[size:], ResponseHeaders(head.lines), is_new)


def check_interim(
    options: Iterable[str], lengths: Sequence[str] | None, codings: Sequence[str] | None
) -> None:
    """Raise ``RefusedError`` if an interim response closes the connection, or announces a body.

    Takes the connection options, and the values of Content-Length and of Transfer-Encoding, if any.
    """
    try:
        http_grammar.check_interim(options, lengths, codings)
    except ValueError as error:
        raise RefusedError(str(error)) from error


def check_begun(heads: bytes, checked: int) -> None:
    """Check the beginning of heads, of which ``checked`` bytes were checked before.

    Raises ``RefusedError`` for a line that is malformed whatever follows.
    """
    try:
        http_grammar.check_begun(heads, checked)
    except ValueError as error:
        raise RefusedError(str(error)) from error


def check_heads(data: bytes) -> int:
    """Return the offset at which the heads at the beginning of ``data`` end.

    Raises ``RefusedError`` for heads that break the rules of HTTP or exceed a bound.
    """
    try:
        return http_grammar.check_heads(data)
    except ValueError as error:
        raise RefusedError(str(error)) from error
