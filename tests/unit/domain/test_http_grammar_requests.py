"""The headers of a request as a plugin's server reads them."""

import io

import pytest

from moby_plugins.domain.http_grammar import read_headers
from tests.cases import every


def headers_of(text: bytes) -> dict[bytes, bytes]:
    """What is read of ``text`` and its empty line."""
    headers: dict[bytes, bytes] = {}
    read_headers(io.BytesIO(text + b"\r\n"), headers)
    return headers


@every(
    ("text", "headers"),
    [
        (b"", {}),
        (b"Host: x\r\n", {b"Host": b"x"}),
        (b"Host:\r\n", {b"Host": b""}),
        (b"content-LENGTH:5\r\n", {b"Content-Length": b"5"}),
        (b"X: \t y z\t \r\n", {b"X": b"y z"}),
        (b"X: XYX\r\n", {b"X": b"XYX"}),
        (b"X: \xff\xfe\r\n", {b"X": b"\xff\xfe"}),
        (b"X: 1\r\nY: 2\r\nx: 3\r\n", {b"X": b"1, 3", b"Y": b"2"}),
        (b"Transfer-Encoding: Chunked\r\n", {b"Transfer-Encoding": b"Chunked"}),
    ],
)
def test_the_headers_of_a_request_are_read(text: bytes, headers: dict[bytes, bytes]) -> None:
    """Names become title case, values are stripped, and repeated headers are joined by commas."""
    assert headers_of(text) == headers


@every(
    "line",
    [
        b"nonsense",
        b": y",
        b"X : y",
        b"X\t: y",
        b" X: y",
        b"\tX: y",
        b"X\0: y",
        b"X: \0",
        b"X: a\rb",
        b"X: \x0b",
        b"X: \x7f",
        b"X(y): z",
        b"\xffX: y",
    ],
)
def test_a_malformed_header_line_is_refused(line: bytes) -> None:
    """A line that another parser could read differently is an error."""
    with pytest.raises(ValueError, match=r"^a malformed header line$"):
        headers_of(b"Host: x\r\n" + line + b"\r\n")


@every("text", [b"", b"Host: x\r\n", b"Host: x", b"Host: x\r", b"Host: x\n\n"])
def test_headers_that_do_not_end_are_refused(text: bytes) -> None:
    """The end of the connection, and a bare LF, are not the end of the headers."""
    with pytest.raises(ValueError, match=r"^a malformed header line$"):
        read_headers(io.BytesIO(text), {})


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Transfer-Encoding"])
def test_a_repeated_host_content_length_or_transfer_encoding_header_is_refused(name: bytes) -> None:
    """Equal values are refused too, since another parser might use the other header."""
    with pytest.raises(ValueError, match=f"a duplicate header {name.decode()}"):
        headers_of(name + b": 1\r\n" + name.lower() + b": 1\r\n")


@every(
    ("text", "told"),
    [
        (b"Content-Length: -1\r\n", "bad Content-Length"),
        (b"Content-Length: +1\r\n", "bad Content-Length"),
        (b"Content-Length: 1_0\r\n", "bad Content-Length"),
        (b"Content-Length: 0x1\r\n", "bad Content-Length"),
        (b"Content-Length: 1, 1\r\n", "bad Content-Length"),
        (b"Content-Length: \r\n", "bad Content-Length"),
        (b"Content-Length: \xb2\r\n", "bad Content-Length"),
        (b"Content-Length: 1000000000000000000\r\n", "bad Content-Length"),
        (b"Transfer-Encoding: gzip\r\n", "unknown Transfer-Encoding"),
        (b"Transfer-Encoding: gzip, chunked\r\n", "unknown Transfer-Encoding"),
        (b"Transfer-Encoding: chunked, chunked\r\n", "unknown Transfer-Encoding"),
        (b"Transfer-Encoding: \r\n", "unknown Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "both"),
    ],
)
def test_a_request_whose_body_has_no_clear_end_is_refused(text: bytes, told: str) -> None:
    """Bad lengths, encodings other than chunked, and a length beside an encoding are errors."""
    with pytest.raises(ValueError, match=told):
        headers_of(text)
