"""Responses of ``http.client``, read strictly.

``http.client`` is too lenient for a host that trusts no plugin. It ignores a negative
Content-Length, stops at a header line without a colon, accepts a bare CR as a line end, accepts
the end of the connection as the end of the status line, the headers or the trailer, waits for the
end of a line that cannot be valid, skips no interim response but 100, reads chunk sizes with
``int()``, which accepts ``-5`` and then reads without end, and drops what follows the body
unseen. Each override in ``StrictResponse`` raises an ``HTTPException`` or ``OSError``
instead, by the rules of ``domain/http_grammar.py``. It overrides methods of ``http.client`` that
are the same in Python 3.11 to 3.13; tests check that they are still called.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead, parse_headers
from typing import Any, cast

from moby_plugins.adapters.http.deadline_socket import Deadline
from moby_plugins.domain import http_grammar
from moby_plugins.domain.http_grammar import (
    BODILESS,
    CHUNK_SIZE,
    CHUNK_SIZE_BEGUN,
    MAX_CHUNK_LINE,
    MAX_HEAD_BYTES,
    MAX_INTERIM,
    NO_FIELD,
    RESPONSE_FIELD,
    RESPONSE_FIELD_BEGUN,
    STATUS_LINE,
    STATUS_LINE_BEGUN,
    SWITCHING_PROTOCOLS,
    TRAILER_BEGUN,
    Begun,
    PlainHead,
    Trailers,
    is_final,
    plain_head,
)

# Undocumented methods of http.client that the classes below override.
for _seam in (
    "_close_conn",
    "_read_status",
    "_read_next_chunk_size",
    "_read_and_discard_trailer",
    "_safe_read",
):
    if not hasattr(HTTPResponse, _seam):
        raise ImportError(
            f"moby_plugins overrides HTTPResponse.{_seam} of http.client, which this Python lacks:"
            " use a supported version of Python"
        )

_ENDS_OF_HEADERS = (b"\r\n", b"\n")


class BrokenHeadersError(OSError):
    """The connection broke, ended or timed out between the status line and the body."""


def _line(file: Any, limit: int, begun: Begun) -> bytes:
    """Return the next line of ``file``, at most ``limit`` bytes; less at the end of the file.

    Raise ``HTTPException`` as soon as the received part cannot begin a line of the kind ``begun``,
    without waiting for the rest.
    """
    line = b""
    while len(line) < limit and (buffered := file.peek()):
        end = buffered.find(b"\n", 0, limit - len(line)) + 1
        line += file.read(end or min(len(buffered), limit - len(line)))
        if end:
            break
        if not begun.by(line):
            raise HTTPException(f"a malformed line: {line!r:.80}")
    return line


class _StatusLines:
    """A file that yields only complete status lines."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.close = file.close
        # Bytes of all heads read so far.
        self.size = 0

    def readline(self, limit: int) -> bytes:
        line = _line(self._file, limit, STATUS_LINE_BEGUN)
        self.size += len(line)
        if line.endswith(b"\n"):
            if not STATUS_LINE.fullmatch(line):
                raise HTTPException(f"not a status line: {line!r:.80}")
            return line
        return line if len(line) == limit else b""


class _InterimHeaderLines:
    """A file of an interim response's header lines; if the connection ends, the file ends, too."""

    def __init__(self, file: Any, size: int) -> None:
        self._file = file
        self.size = size

    def readline(self, limit: int) -> bytes:
        line = _line(self._file, limit, RESPONSE_FIELD_BEGUN)
        self.size += len(line)
        if self.size > MAX_HEAD_BYTES:
            raise HTTPException(f"a head of more than {MAX_HEAD_BYTES} bytes")
        if RESPONSE_FIELD.fullmatch(line) or line in _ENDS_OF_HEADERS:
            return line
        if line.endswith(b"\n"):
            raise HTTPException(f"{NO_FIELD}: {line!r:.80}")
        return line if len(line) == limit else b""


class _HeaderLines(_InterimHeaderLines):
    """A file of a final response's header lines; an early end raises ``BrokenHeadersError``."""

    def readline(self, limit: int) -> bytes:
        try:
            line = super().readline(limit)
        except OSError as error:
            raise BrokenHeadersError(str(error)) from error
        if not line:
            raise BrokenHeadersError("it was closed within the headers")
        return line


class StrictResponse(HTTPResponse):
    """A strict ``http.client`` response, for ``HTTPConnection.response_class``."""

    fp: Any
    status: int
    version: int
    length: int | None
    chunked: bool
    will_close: bool
    # Set if the head was read without ``http.client``, whose mail parser takes longer than a call.
    _plain: PlainHead | None = None
    # Whether bytes that were not requested follow the body.
    has_surplus: bool = False

    def __init__(self, sock: Deadline, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._sock = sock

    def _read_status(self) -> tuple[str, int, str]:
        file = self.fp
        self.fp = status_lines = _StatusLines(file)
        for _ in range(MAX_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if is_final(status):
                self.fp = _HeaderLines(file, status_lines.size)
                return version, status, reason
            lines = _InterimHeaderLines(file, status_lines.size)
            _check_interim(parse_headers(cast("Any", lines)))
            status_lines.size = lines.size
        raise HTTPException(f"{MAX_INTERIM} interim responses, and no final one")

    def begin(self) -> None:
        """Read the head; raise ``HTTPException`` for headers that leave the body's end unclear."""
        file = self.fp
        self._plain = plain = plain_head(file.peek())
        if plain is not None:
            file.read(len(plain.text))
            self.status = plain.status
            self.length = plain.length
            self.version = 11
            self.chunked = False
            self.will_close = False
            return
        try:
            super().begin()
        finally:
            # After a bad status line, http.client has closed the file and set this to None.
            self.fp = self.fp and file
        lengths = self.headers.get_all("content-length")
        try:
            check_framing(lengths, self.headers.get_all("transfer-encoding"))
        except HTTPException:
            self.close()
            raise
        if self.status in BODILESS:
            # These responses have no body, but it cannot be known whether the plugin sends one.
            self.will_close |= bool(self.chunked or lengths or self.status == SWITCHING_PROTOCOLS)
            self.chunked = False

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the names and values of the headers."""
        if self._plain is not None:
            yield from self._plain.lines()
            return
        for name, value in self.headers.items():
            yield name, value.strip(" \t")

    def _read_next_chunk_size(self) -> int:
        match = CHUNK_SIZE.fullmatch(self._line_among_chunks(CHUNK_SIZE_BEGUN))
        if match is None:
            raise IncompleteRead(b"")  # its text is not shown: ``_ANSWERED`` maps it to ``CUT_OFF``
        return int(match[1], 16)

    def _read_and_discard_trailer(self) -> None:
        trailers = Trailers()
        try:
            while not trailers.ended_by(self._line_among_chunks(TRAILER_BEGUN)):
                pass
        except ValueError as error:
            raise IncompleteRead(b"") from error
        self._look_behind()

    def _close_conn(self) -> None:
        # Another thread may close a body that is not at its end. Newer versions of http.client call
        # this as soon as a body of known length is complete.
        if self.length == 0 and not self.chunked:
            self._look_behind()
        super()._close_conn()  # type: ignore[misc]

    def _look_behind(self) -> None:
        # With a deadline that has passed, ``peek`` raises instead of waiting.
        self._sock.bound(0.0)
        with suppress(OSError):
            self.has_surplus = bool(self.fp.peek())

    def _line_among_chunks(self, begun: Begun) -> bytes:
        try:
            return _line(self.fp, MAX_CHUNK_LINE, begun)
        except HTTPException as error:
            raise IncompleteRead(b"") from error

    def _safe_read(self, amt: int) -> bytes:
        # Only called by read1(), for the two bytes that end a chunk.
        data: bytes = super()._safe_read(amt)  # type: ignore[misc]
        if data != b"\r\n":
            raise IncompleteRead(data)
        return data


def check_framing(lengths: Sequence[str] | None, codings: Sequence[str] | None) -> None:
    """Raise ``HTTPException`` if the headers leave the end of the body unclear.

    ``lengths`` and ``codings`` are the values of Content-Length and Transfer-Encoding, if any.
    """
    try:
        http_grammar.check_framing(lengths, codings)
    except ValueError as error:
        raise HTTPException(str(error)) from error


def _check_interim(headers: HTTPMessage) -> None:
    lengths, codings = headers.get_all("content-length"), headers.get_all("transfer-encoding")
    check_framing(lengths, codings)
    options = headers.get_all("connection", []) + headers.get_all("proxy-connection", [])
    try:
        http_grammar.check_interim(options, lengths, codings)
    except ValueError as error:
        raise HTTPException(str(error)) from error
