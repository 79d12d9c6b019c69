"""Check responses before they are sent: the status, the headers, and the length of the body.

Servers send 500 in place of a response that no host could read. Observers of an app are given
the same error, because an observed app makes the same check.
"""

import io
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from moby_plugins.domain.http import STATUSES, Response, as_bytes, bad_status
from moby_plugins.domain.http_grammar import HEADER_NAME, LENGTH, MAX_HEAD_BYTES, MAX_HEADERS
from moby_plugins.domain.text import quoted

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# Less than this library's hosts accept, because a server adds headers of its own.
_MAX_HEADERS, _MAX_HEADER_BYTES = MAX_HEADERS - 9, MAX_HEAD_BYTES - (4 << 10)
# The most characters of a header whose check is cached.
_SHORT = 256
_WITHOUT_BODY = {204, 205, 304}


class Outgoing:
    """The head of a response and a check of its body's length: for threaded and asyncio servers.

    ``size`` is the size of a body that is in memory, which is sent as Content-Length; ``None`` for
    any other body. Raises ``ValueError`` for a status or headers that no host could read, or that
    do not fit ``size``.
    """

    def __init__(self, status: int, headers: Mapping[str, str], size: int | None) -> None:
        # Bytes still missing of a body whose Content-Length the app has set.
        self._left = _check_head(status, headers)
        self.status: int = status
        self.headers: dict[str, str] = dict(headers)
        self.ended: bool = False
        # Reading a body that is in memory runs no code of the app.
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
            if size and status in _WITHOUT_BODY:
                raise _has_no_body(status)
            self.headers["Content-Length"] = str(size)
            self._left = size

    @property
    def has_length(self) -> bool:
        """Whether the response has a Content-Length."""
        return self._left is not None

    @property
    def is_over(self) -> bool:
        """Whether the body has ended, or all bytes of a body in memory were counted."""
        return self.ended or (self.whole and not self._left)

    def count(self, chunk: bytes) -> bytes:
        """Count the next chunk of the body, ``b""`` for its end, and return it as bytes.

        Raises ``ValueError`` if the body does not fit the status or the Content-Length.
        """
        if type(chunk) is not bytes:
            chunk = as_bytes(chunk)
        self.ended = not chunk
        if chunk and self.status in _WITHOUT_BODY:
            raise _has_no_body(self.status)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (self.ended and self._left):
                raise ValueError("the body's length differs from Content-Length")
        return chunk


def size_in_memory(response: Response) -> int | None:
    """Return how many bytes of the body are unread if it is in memory, else ``None``."""
    body = response.body
    return max(body.getbuffer().nbytes - body.tell(), 0) if isinstance(body, io.BytesIO) else None


def _has_no_body(status: int) -> ValueError:
    return ValueError(f"a response with status {status} must have no body")


def _check_head(code: int, given_headers: Mapping[str, str]) -> int | None:
    """Return the Content-Length, ``None`` without one; raise ``ValueError`` for a bad head.

    A head is bad if no host could read it. Raises ``TypeError`` for headers that are not a mapping.
    """
    # The app's code may be untyped.
    status: Any = code
    headers: Mapping[Any, Any] = given_headers
    if not isinstance(status, int) or status not in STATUSES:
        raise bad_status(status)
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping from name to value, not {quoted(headers)}")
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
            raise ValueError(f"{quoted(name)} is not a header name")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the header {name} has a value that cannot be sent: {quoted(value)}")
        if name.lower() == "transfer-encoding":
            raise ValueError(f"the header {name} is set by the server: leave it out")
        size += len(name) + len(value)
    if size > _MAX_HEADER_BYTES or len(headers) > _MAX_HEADERS:
        raise ValueError(
            f"the response has {len(headers)} headers with {size} bytes in all: hosts read at most"
            f" {_MAX_HEADERS} headers, and {_MAX_HEADER_BYTES} bytes"
        )
    lengths = list(filter(_is_length, headers))
    if len(lengths) > 1:
        raise ValueError("there is more than one Content-Length")
    return _length(headers[lengths[0]]) if lengths else None


@lru_cache(maxsize=64)
def _is_plain(name: str, value: str) -> bool:
    """Return whether a header is valid; cached, as most responses have the same headers."""
    if name.lower() == "transfer-encoding":
        return False
    return bool(HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value))


@lru_cache(maxsize=64)
def _is_length(name: str) -> bool:
    return name.lower() == "content-length"


def _length(text: str) -> int:
    if not LENGTH.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a Content-Length")
    return int(text)
