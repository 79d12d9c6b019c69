"""Heads of requests and responses, as both HTTP engines write and read them.

A client sends the same headers with every call of a method, so a head is checked and encoded once.
``http.client`` would do both for every request.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Protocol

from moby_plugins.domain import http_grammar
from moby_plugins.domain.http_grammar import HEADER_NAME
from moby_plugins.domain.text import quoted

_BAD_VALUE = re.compile(r"[\r\n\0]")
# How long the body is, is the engine's to say.
_FRAMING = {"content-length", "transfer-encoding"}


class RefusedError(Exception):
    """A response that is refused, for what it says."""


@lru_cache(maxsize=256)
def line(name: str, value: str) -> bytes:
    """One header without its end; ``ValueError`` for what would break the line."""
    if not HEADER_NAME.fullmatch(name) or _BAD_VALUE.search(value):
        raise ValueError(f"{quoted(name)}: {quoted(value)} is not a header")
    return f"{name}: {value}".encode("latin-1")


class Headed(Protocol):
    """What has a head: a request, whichever kind of program sends it."""

    @property
    def method(self) -> str:
        """What is called."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that are given with it."""
        ...


def head_of(request: Headed, host: str, length: int | None) -> bytes:
    """Request line and headers, up to the body of ``length`` bytes, or of chunks for ``None``.

    ``host`` is the Host where the request names none. Raises ``ValueError`` for a
    header that would break its line.
    """
    head = _head(request.method, tuple(request.headers.items()), host)
    if length is None:
        return head + b"Transfer-Encoding: chunked\r\n\r\n"
    return b"%bContent-Length: %d\r\n\r\n" % (head, length)


@lru_cache(maxsize=128)
def _head(method: str, headers: tuple[tuple[str, str], ...], host: str) -> bytes:
    """All but how long the body is."""
    given = {name: value for name, value in headers if name.lower() not in _FRAMING}
    if "host" not in {name.lower() for name in given}:
        given["Host"] = host
    lines = b"".join(line(name, value) + b"\r\n" for name, value in given.items())
    return b"POST /%b HTTP/1.1\r\n%b" % (method.encode(), lines)


class AnswerHeaders(Mapping[str, str]):
    """The headers in ``lines``, read from there when they are first looked at.

    Names are title-cased, each is there once, and the values of one that came
    again are joined by commas. For one thread at a time.
    """

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines = lines

    @cached_property
    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for name, value in self._lines:
            key = name.title()
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
        return fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.title()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def check_interim(options: Iterable[str]) -> None:
    """Raise ``RefusedError`` for an interim response that is to be the last."""
    try:
        http_grammar.check_interim(options)
    except ValueError as error:
        raise RefusedError(str(error)) from error


def check_heads(data: bytes) -> int:
    """Return where the heads at the beginning of ``data`` end.

    Raises ``RefusedError`` where they are refused.
    """
    try:
        return http_grammar.check_heads(data)
    except ValueError as error:
        raise RefusedError(str(error)) from error
