"""A parser of requests without I/O: one request after the other, each with its body.

Heads follow the same grammar as in the threaded server (``http_grammar.py``), so both agree where
a request ends. Other parsers report the end of a message only after parsing on into the next; this
one leaves the bytes after a request unread until it was answered.
"""

import io
import re
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from attrs import frozen

from moby_plugins.domain.errors import StatusError
from moby_plugins.domain.http_grammar import (
    CHUNK_SIZE,
    CODING_IN_1_0,
    MAX_CHUNK_LINE,
    NO_REQUEST_LINE,
    REQUEST_LINE,
    REQUEST_TARGET,
    Trailers,
    read_headers,
)

MAX_HEAD_BYTES = 64 << 10
POST = "POST"

_BARE_LF = re.compile(rb"(?<!\r)\n")
# The beginning of a target in absolute form; brackets can only hold an IPv6 address.
_AUTHORITY = re.compile(
    rb"https?://(?:[^/?#@\[\]]+|\[[0-9a-f:.]+\](?::[0-9]*)?)(?=/)", re.IGNORECASE
)
# Bytes that a path must not contain, percent-encoded or not.
_ODD_PATH = re.compile(rb"[\x00-\x1f\x7f-\xff#]")


# Headers that need no ``read_headers``: without white space at their ends, and with a plain length,
# if any.
_PLAIN = re.compile(
    rb"(?:(?!(?i:content-length|transfer-encoding):)[!#$%&'*+.^_`|~0-9A-Za-z-]+:"
    rb" ?(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?\r\n"
    rb"|(?i:content-length): ?[0-9]{1,18}\r\n)*\r\n"
)
_FIELD = re.compile(r"([^:\r\n]+): ?([^\r\n]*)\r\n")


@frozen
class Head:
    """The head of a request; ``length`` is ``None`` for a body in chunks.

    ``method`` is the target's path and query as received, and empty unless ``verb`` is POST.
    ``is_kept`` is true if the host wants to keep the connection open after the response. ``minor``
    is the minor version: 1 for HTTP/1.1.
    """

    verb: str
    method: str
    headers: dict[str, str]
    length: int | None
    is_kept: bool
    minor: int

    @property
    def expects_continue(self) -> bool:
        """Whether the host waits for ``100 Continue`` before it sends the body."""
        return self.minor > 0 and self.headers.get("Expect", "").lower() == "100-continue"


class Incoming:
    """A parser of one connection's requests: ``feed`` it bytes, then call ``head`` and ``body``."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._skipped_line = False
        # How many bytes were searched for the end of the head.
        self._searched = 0
        # Bytes left of the body, or of the current chunk.
        self._left = 0
        self._in_chunks = False
        self._chunk_ends = False
        self._trailers: Trailers | None = None  # while chunk sizes follow

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Add ``data``, which was received."""
        self._data += data

    def clear(self) -> None:
        """Drop all unread bytes."""
        self._data.clear()

    def head(self) -> Head | None:
        """Return the next head, or ``None`` if it is not complete yet.

        Raises ``StatusError``, with the status to respond with, if the bytes are not a valid head.
        """
        data = self._data
        if not (self._skipped_line or self._searched) and data.startswith(b"\r\n"):
            del data[:2]
            self._skipped_line = True
        # Search from 3 bytes before, as the end may be split over two receives.
        end = data.find(b"\r\n\r\n", max(self._searched - 3, 0)) + 4
        if end < 4:  # noqa: PLR2004  not found
            self._check_begun()
            return None
        if end > MAX_HEAD_BYTES:
            raise _too_large(data)
        head = bytes(data[:end])
        del data[:end]
        self._searched, self._skipped_line = 0, False
        return self._parsed(head)

    def _check_begun(self) -> None:
        # Refuse an invalid beginning before the rest of the head is received.
        data = self._data
        line_ends = data.find(b"\n", 0, MAX_HEAD_BYTES) + 1
        if line_ends and self._searched < line_ends and not REQUEST_LINE.match(data):
            raise bad_request(NO_REQUEST_LINE)
        if _BARE_LF.search(data, max(self._searched - 1, 0)):
            raise bad_request("the head has a line that does not end in CRLF")
        if len(data) > MAX_HEAD_BYTES:
            raise _too_large(data)
        self._searched = len(data)

    def _parsed(self, head: bytes) -> Head:
        line = REQUEST_LINE.match(head)
        if line is None:
            raise bad_request(NO_REQUEST_LINE)
        verb, minor = line[1].decode("ascii"), int(line[3])
        try:
            headers = _headers(head, line.end())
            method = method_in(line[2]) if verb == POST else ""
        except ValueError as error:
            raise bad_request(str(error)) from error
        length = None if "Transfer-Encoding" in headers else int(headers.get("Content-Length", 0))
        if length is None and not minor:
            # HTTP/1.0 has no chunks.
            raise bad_request(CODING_IN_1_0)
        self._left, self._in_chunks = length or 0, length is None
        self._chunk_ends, self._trailers = False, None
        options = {option.strip() for option in headers.get("Connection", "").lower().split(",")}
        keeps_alive = "close" not in options if minor else "keep-alive" in options
        return Head(verb, method, headers, length, keeps_alive, minor)

    def body(self, size: int) -> bytes | None:
        """Return the next bytes of the body, ``b""`` at its end, ``None`` until more are received.

        Raises ``ValueError`` for bad chunking; nothing can be read after that.
        """
        if not self._left:
            if not self._in_chunks:
                return b""
            while not self._left:
                if (more := self._next_line()) is None:
                    return None
                if not more:
                    return b""
        take = min(size, self._left, len(self._data))
        if not take:
            return None
        data = bytes(self._data[:take])
        del self._data[:take]
        self._left -= take
        self._chunk_ends = self._in_chunks and not self._left
        return data

    def _next_line(self) -> bool | None:
        # Read a line between chunks: false for the last one, None if it is not complete yet.
        line = self._line(2 if self._chunk_ends else MAX_CHUNK_LINE)
        if line is None:
            return None
        if self._chunk_ends:
            if line != b"\r\n":
                raise ValueError("it is badly chunked")
            self._chunk_ends = False
        elif self._trailers is not None:
            if self._trailers.ended_by(line):
                self._in_chunks = False
                return False
        else:
            match = CHUNK_SIZE.fullmatch(line)
            if match is None:
                raise ValueError("it is badly chunked")
            self._left = int(match[1], 16)
            if not self._left:
                self._trailers = Trailers()
        return True

    def _line(self, most: int) -> bytes | None:
        end = self._data.find(b"\n", 0, most) + 1
        if not end:
            if len(self._data) >= most:
                raise ValueError("it is badly chunked")
            return None
        line = bytes(self._data[:end])
        del self._data[:end]
        return line


def _headers(head: bytes, start: int) -> dict[str, str]:
    if _PLAIN.fullmatch(head, start):
        fields = _FIELD.findall(head.decode("latin-1"), start)
        headers = {_titled(name): value for name, value in fields}
        if len(headers) == len(fields):
            return headers
    # Headers that may have to be refused or joined.
    raw: dict[bytes, bytes] = {}
    lines = io.BytesIO(head)
    lines.seek(start)
    read_headers(lines, raw)
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw.items()}


@lru_cache(maxsize=64)
def _titled(name: str) -> str:
    return name.title()


def bad_request(why: str) -> StatusError:
    """Return the error for an invalid request: status 400, with ``why`` as its message."""
    return StatusError(HTTPStatus.BAD_REQUEST, "", why)


def _too_large(data: bytearray) -> StatusError:
    if b"\n" in data[:MAX_HEAD_BYTES]:
        return StatusError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "", "the head is too large")
    return StatusError(HTTPStatus.REQUEST_URI_TOO_LONG, "", "the request line is too long")


@lru_cache(maxsize=128)
def method_in(target: bytes) -> str:
    """Return method and query of a request target; raise ``ValueError`` for an invalid one."""
    if not REQUEST_TARGET.match(target):
        raise ValueError("the target is neither a path nor an http URL with a path")
    if not target.startswith(b"/"):
        authority = _AUTHORITY.match(target)
        if authority is None:
            raise ValueError("the target is not a valid URL")
        target = target[authority.end() :]
    if _ODD_PATH.search(unquote_to_bytes(target.partition(b"?")[0])) or b"#" in target:
        raise ValueError(
            "the target has a # or, in its path, characters other than printable ASCII"
        )
    return target.decode("latin-1")
