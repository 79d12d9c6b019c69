"""The strict reading of HTTP responses, from bytes in memory."""

import io
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any, cast

import pytest

from moby_plugins.adapters.http.strict_response import (
    BrokenHeadersError,
    StrictResponse,
    check_framing,
)
from tests.cases import every

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Wire:
    """What ``http.client`` asks of a socket: a file that gives what the plugin sent."""

    def __init__(self, sent: bytes) -> None:
        self.file = io.BufferedReader(io.BytesIO(sent))

    def makefile(self, _mode: str) -> Any:
        """The file, read from its beginning."""
        return self.file

    def bound(self, _: float | None) -> None:
        """It never waits."""


def read(sent: bytes) -> tuple[StrictResponse, bytes]:
    """The answer that was sent, and its whole body."""
    response = StrictResponse(cast("Any", Wire(sent)), method="POST")
    response.begin()
    return response, b"".join(iter(lambda: response.read1(100), b""))


@every(
    "sent",
    [
        OK + b"Content-Length: 3\r\n\r\n[1]",
        OK + b"\r\n[1]",
        CHUNKED + b"1\r\n[\r\n2;x=y\r\n1]\r\n0\r\n\r\n",
        CHUNKED + b"3 \r\n[1]\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\n[1]",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 15 + OK + b"Content-Length: 3\r\n\r\n[1]",
    ],
)
def test_a_valid_response_is_read(sent: bytes) -> None:
    """All framings that HTTP has give the same body."""
    response, body = read(sent)

    assert (response.status, body) == (200, b"[1]")


def test_headers_are_the_same_with_and_without_http_client() -> None:
    """A plain head is read without ``http.client``; both drop white space around values."""
    lines = b"X-A:\t1 \r\nContent-Length: 0\r\n"
    plain, _ = read(OK + lines + b"\r\n")
    parsed, _ = read(OK + lines.replace(b"\r", b"") + b"\n")

    assert list(plain.lines()) == list(parsed.lines()) == [("X-A", "1"), ("Content-Length", "0")]


def test_status_101_is_a_final_response() -> None:
    """It is no interim response: nothing else follows on the connection."""
    response, body = read(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n")

    assert (response.status, body) == (101, b"")


def test_interim_responses_are_bounded() -> None:
    """After sixteen of them, such as 100 Continue, the response is refused."""
    with pytest.raises(HTTPException, match=r"^16 interim responses, and no final one$"):
        read(b"HTTP/1.1 100 Continue\r\n\r\n" * 16 + OK + b"\r\n")


def test_a_line_that_is_no_header_is_refused() -> None:
    """``http.client`` would end the headers there, and read the rest as body."""
    with pytest.raises(HTTPException, match=r"^a malformed header line: "):
        read(OK + b"X: y\r\nnonsense\r\nContent-Length: 1\r\n\r\n1")


@pytest.mark.parametrize("sent", [OK, OK + b"Content-Length: 1\r\n"])
def test_a_connection_that_ends_within_the_headers_is_an_error(sent: bytes) -> None:
    """``http.client`` would take the end of the connection for that of the headers."""
    with pytest.raises(BrokenHeadersError, match=r"^it was closed within the headers$"):
        read(sent)


def test_a_socket_error_within_the_headers_is_wrapped_and_one_before_is_not() -> None:
    """So callers can see whether a status line had been received."""

    class Failing(io.BytesIO):
        def peek(self, _: int = 0) -> bytes:
            if not self.getvalue()[self.tell() :] and self.waits:
                raise TimeoutError("timed out")
            self.waits = True
            return self.getvalue()[self.tell() :]

        waits = False

    for sent, kind in ((b"", TimeoutError), (OK, BrokenHeadersError)):
        wire = Wire(b"")
        wire.file = cast("Any", Failing(sent))

        with pytest.raises(kind, match=r"^timed out$"):
            StrictResponse(cast("Any", wire), method="POST").begin()

        wire.file.close()


def test_a_connection_that_ends_without_a_final_response_is_a_disconnection() -> None:
    """``RemoteDisconnected`` is raised for no bytes, and for interim responses alone."""
    for sent in (b"", b"HTTP/1.1 100 Continue\r\n\r\n"):
        with pytest.raises(RemoteDisconnected):
            read(sent)


def test_the_file_of_a_refused_response_is_closed() -> None:
    """A response with bad framing leaves no file open."""
    wire = Wire(OK + b"Content-Length: -1\r\n\r\n1")

    with pytest.raises(HTTPException):
        StrictResponse(cast("Any", wire), method="POST").begin()

    assert wire.file.closed


@every(
    "chunks",
    [
        b"-5\r\n12345\r\n0\r\n\r\n",
        b"3\n[1]\r\n0\n\n",
        b"+1\r\n1\r\n0\r\n\r\n",
        b"0x1\r\n1\r\n0\r\n\r\n",
        b"1_0\r\n1234567890123456\r\n0\r\n\r\n",
        b"\r\n1\r\n0\r\n\r\n",
        b"1" * 16 + b"\r\n1\r\n0\r\n\r\n",
        b"0" * 5000 + b"\r\n\r\n",
        b"1\r\n1XX0\r\n\r\n",
        b"1\r\n1\r\n0\r\n",
        b"1\r\n1\r\n0\r\nX: y",
        b"1\r\n1\r\n0\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"1\r\n1\r\n0\r\nX: " + b"y" * 5000 + b"\r\n\r\n",
        b"1\r\n1",
        b"",
    ],
)
def test_bad_chunks_are_an_incomplete_read(chunks: bytes) -> None:
    """A chunk size is hexadecimal digits and nothing else, and every part has its end."""
    with pytest.raises(IncompleteRead):
        read(CHUNKED + chunks)


@every(
    ("lengths", "codings"),
    [
        (None, None),
        (["5"], None),
        ([" 5\t"], None),
        (["999999999999999999"], None),
        (None, ["chunked"]),
        (None, ["Chunked"]),
        (["5"], ["chunked"]),
    ],
)
def test_unambiguous_framing_is_accepted(
    lengths: list[str] | None, codings: list[str] | None
) -> None:
    """One length, or chunks, or both, or neither show where the body ends."""
    check_framing(lengths, codings)


@every(
    ("lengths", "codings", "told"),
    [
        (["-5"], None, "bad Content-Length: '-5'"),
        (["+5"], None, r"bad Content-Length: '\+5'"),
        ([""], None, "bad Content-Length: ''"),
        (["1_0"], None, "bad Content-Length: '1_0'"),
        (["\u0665"], None, "bad Content-Length: '\u0665'"),
        (["1" + "0" * 18], None, "bad Content-Length: '1000000000000000000'"),
        (["5", "6"], None, "bad Content-Length: '5, 6'"),
        (["5", "5"], None, "bad Content-Length: '5, 5'"),
        (["5, 5"], None, "bad Content-Length: '5, 5'"),
        (["5, 6"], None, "bad Content-Length: '5, 6'"),
        (["x" * 999], None, "bad Content-Length: '" + "x" * 79),
        (None, ["gzip"], "unknown Transfer-Encoding: 'gzip'"),
        (None, ["gzip, chunked"], "unknown Transfer-Encoding: 'gzip, chunked'"),
        (None, ["chunked", "chunked"], "unknown Transfer-Encoding: 'chunked, chunked'"),
    ],
)
def test_ambiguous_framing_is_refused(
    lengths: list[str] | None, codings: list[str] | None, told: str
) -> None:
    """The error shows the header, cut to a readable length."""
    with pytest.raises(HTTPException, match=f"^{told}$"):
        check_framing(lengths, codings)
