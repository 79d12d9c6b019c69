"""Where ``http.client`` reads an answer too kindly for a host that trusts no plugin.

It takes a negative Content-Length for none, stops at a header line without a
colon, takes the end of the connection for that of the status line, the headers
or the trailer, knows no 1xx but 100, and reads chunk sizes with Python's ``int()``, to which
``-5`` is a number: a read without end. Each override raises an
``HTTPException`` or ``OSError`` instead; the methods are ``http.client``'s own
seams, the same in Python 3.11 to 3.13, and tests watch that they are still called.
"""

import re
from collections.abc import Sequence
from email import errors
from http.client import HTTPException, HTTPResponse, IncompleteRead, parse_headers
from typing import Any

MAX_INTERIM = 16
MAX_CHUNK_LINE = 4096
MAX_TRAILERS = 100

_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_SWITCHING_PROTOCOLS = 101
# The parser is the one for mail: it misses the parts of a body that it was not given.
_DEFECTS_OF_A_BODY = (
    errors.CloseBoundaryNotFoundDefect,
    errors.MultipartInvariantViolationDefect,
    errors.NoBoundaryInMultipartDefect,
    errors.StartBoundaryNotFoundDefect,
)
_FINAL = 200


def check_framing(lengths: Sequence[str] | None, codings: Sequence[str] | None) -> None:
    """Raise ``HTTPException`` where a body's headers leave its end open to doubt.

    Takes the values of Content-Length and of Transfer-Encoding, where there are any.
    """
    if lengths:
        sizes = {size.strip() for size in ",".join(lengths).split(",")}
        if len(sizes) > 1 or not all(map(_LENGTH.fullmatch, sizes)):
            raise HTTPException(f"bad Content-Length: {', '.join(sorted(sizes))!r:.80}")
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise HTTPException(f"unknown Transfer-Encoding: {', '.join(codings)!r:.80}")


class BrokenHeadersError(OSError):
    """The connection broke, ended or timed out between the status line and the body."""


class _StatusLines:
    """Status lines, each of which counts once it is whole."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.close = file.close

    def readline(self, limit: int) -> bytes:
        line: bytes = self._file.readline(limit)
        return line if line.endswith(b"\n") or len(line) == limit else b""


class _HeaderLines:
    """The lines of the headers, which end by themselves and not with the connection."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readline(self, limit: int) -> bytes:
        try:
            line: bytes = self._file.readline(limit)
        except OSError as error:
            raise BrokenHeadersError(str(error)) from error
        if not line:
            raise BrokenHeadersError("it was closed among the headers")
        return line


class StrictResponse(HTTPResponse):
    """``http.client``'s response, for ``HTTPConnection.response_class``."""

    fp: Any

    def _read_status(self) -> tuple[str, int, str]:
        file = self.fp
        self.fp = _StatusLines(file)
        for _ in range(MAX_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= _FINAL or status == _SWITCHING_PROTOCOLS:
                self.fp = _HeaderLines(file)
                return version, status, reason
            parse_headers(self.fp)
        raise HTTPException(f"more than {MAX_INTERIM} interim answers")

    def begin(self) -> None:
        """Read the status line and the headers, and refuse a framing that is open to doubt."""
        file = self.fp
        try:
            super().begin()
        finally:
            # None stays: for a bad status line http.client has closed the file.
            self.fp = self.fp and file
        try:
            self._check_headers()
        except HTTPException:
            self.close()
            raise

    def _check_headers(self) -> None:
        headers = self.headers
        for defect in headers.defects:
            if not isinstance(defect, _DEFECTS_OF_A_BODY):
                raise HTTPException(f"a line among the headers that is none: {defect}")
        check_framing(headers.get_all("content-length"), headers.get_all("transfer-encoding"))

    def _read_next_chunk_size(self) -> int:
        match = _CHUNK_SIZE.fullmatch(self.fp.readline(MAX_CHUNK_LINE))
        if match is None:
            raise IncompleteRead(b"")
        return int(match[1], 16)

    def _read_and_discard_trailer(self) -> None:
        for _ in range(MAX_TRAILERS):
            line = self.fp.readline(MAX_CHUNK_LINE)
            if line in {b"\r\n", b"\n"}:
                return
            if not line.endswith(b"\n"):
                break
        raise IncompleteRead(b"")

    def _safe_read(self, amt: int) -> bytes:
        # Called by read1() for the two bytes that end a chunk, and for nothing else.
        data: bytes = super()._safe_read(amt)  # type: ignore[misc]
        if data != b"\r\n":
            raise IncompleteRead(data)
        return data
