"""The body of a request, as cheroot's connection brings it."""

import re
import time
from typing import Any

from moby_plugins.domain.http import CHUNK_BYTES

# Of a body that nobody read; what is longer ends the connection.
MAX_UNREAD_BYTES = 256 << 20

_MAX_LINE_BYTES = 8 << 10
_MAX_TRAILERS = 100
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class RequestBody:
    """A request's body, read from the connection as it is asked for.

    A body that is cut off or badly chunked is an ``OSError``, and ends the connection.
    """

    def __init__(self, req: Any) -> None:
        self._req = req
        self._stream = req.conn.rfile
        self._chunked = bool(req.chunked_read)
        # What is in the head, in bytes; ``None`` for chunks.
        self.length = None if self._chunked else int(req.inheaders.get(b"Content-Length", 0))
        self._left = self.length or 0
        self._chunks_seen = 0

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, ``b""`` at the end."""
        if not (self._chunked or self._left):
            return b""
        conn = self._req.conn
        conn.waits_since = time.monotonic()
        try:
            return self._next(size)
        except Exception:
            self._req.close_connection = True
            raise
        finally:
            conn.waits_since = None

    def skip_rest(self) -> None:
        """Read to the end, or see to it that the connection ends here."""
        skipped = 0
        try:
            while data := self.read(CHUNK_BYTES):
                skipped += len(data)
                if skipped > MAX_UNREAD_BYTES:
                    raise OSError("nobody reads such a body")
        except OSError:
            self._req.close_connection = True

    def _next(self, size: int) -> bytes:
        if self._chunked and not self._left:
            self._left = self._next_chunk_size()
        if not self._left:
            return b""
        data: bytes = self._stream.read(min(size, self._left))
        if not data:
            raise OSError("it is cut off")
        self._left -= len(data)
        return data

    def _next_chunk_size(self) -> int:
        if self._chunks_seen and self._stream.readline(3) != b"\r\n":
            raise OSError("it is badly chunked")
        self._chunks_seen += 1
        line = _CHUNK_SIZE.fullmatch(self._stream.readline(_MAX_LINE_BYTES))
        if line is None:
            raise OSError("it is badly chunked")
        size = int(line[1], 16)
        if not size:
            self._chunked = False
            self._skip_trailers()
        return size

    def _skip_trailers(self) -> None:
        for _ in range(_MAX_TRAILERS):
            line = self._stream.readline(_MAX_LINE_BYTES)
            if line == b"\r\n":
                return
            if not line.endswith(b"\r\n"):
                break
        raise OSError("its trailers are cut off or too long")
