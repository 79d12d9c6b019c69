"""The body of a request on cheroot's connection."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from moby_plugins.adapters.server.cheroot_connection import MAX_UNREAD_BYTES, RequestBody
from tests.cases import every


def arriving(sent: bytes, length: int | None = None) -> tuple[RequestBody, Any]:
    """A body on a connection that brings ``sent``, chunked without a ``length``; its request."""
    request = SimpleNamespace(
        conn=SimpleNamespace(rfile=io.BytesIO(sent)),
        chunked_read=length is None,
        inheaders={} if length is None else {b"Content-Length": b"%d" % length},
        close_connection=False,
    )
    return RequestBody(request), request


def whole(body: RequestBody) -> bytes:
    """All that is left of a body."""
    return b"".join(iter(lambda: body.read(100), b""))


def rest_of(request: Any) -> bytes:
    """What is left on the connection for the next request."""
    rest: bytes = request.conn.rfile.read()
    return rest


@pytest.mark.parametrize(
    ("sent", "length"),
    [
        (b"hello worldNEXT", 11),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nNEXT", None),
        (b"B;name=value\r\nhello world\r\n000\r\nTrailer: x\r\n\r\nNEXT", None),
    ],
)
def test_a_body_ends_where_the_next_request_begins(sent: bytes, length: int | None) -> None:
    """A body with a length, chunks, extensions or trailers is read whole, and no further."""
    body, request = arriving(sent, length)

    assert whole(body) == b"hello world"
    assert whole(body) == b""
    assert rest_of(request) == b"NEXT"
    assert request.close_connection is False


def test_a_request_with_a_content_length_of_0_has_no_body() -> None:
    """Nothing is read for it, so the connection is at the next request."""
    body, request = arriving(b"NEXT", 0)

    assert whole(body) == b""
    assert rest_of(request) == b"NEXT"


def test_a_huge_chunk_is_read_in_pieces() -> None:
    """Memory is bounded by what the reader asks for, not by the chunk's size."""
    body, _ = arriving(b"FFFFFFFFFF\r\nabcdef")

    assert body.read(3) == b"abc"


@every(
    ("sent", "message"),
    [
        (b"5\r\nhel", "it is cut off"),
        (b"5\r\nhelloX\r\n", "it is badly chunked"),
        (b"-5\r\nhello\r\n", "it is badly chunked"),
        (b"+5\r\nhello\r\n", "it is badly chunked"),
        (b"0x5\r\nhello\r\n", "it is badly chunked"),
        (b"1_0\r\nhello\r\n", "it is badly chunked"),
        (b"\r\n", "it is badly chunked"),
        (b"5\nhello\r\n", "it is badly chunked"),
        (b"5;" + b"x" * 9000 + b"\r\nhello\r\n", "it is badly chunked"),
        (b"", "it is badly chunked"),
        (b"0\r\n", "its trailers are cut off or too long"),
        (b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n", "its trailers are cut off or too long"),
    ],
)
def test_a_broken_body_ends_the_connection(sent: bytes, message: str) -> None:
    """Behind a body that cannot be read, the beginning of the next request is unknown."""
    body, request = arriving(sent)

    with pytest.raises(OSError, match=f"^{message}$"):
        whole(body)

    assert request.close_connection is True


def test_a_body_shorter_than_its_length_ends_the_connection() -> None:
    """A client that goes away in the middle is an error, not an end."""
    body, request = arriving(b"hel", 5)

    with pytest.raises(OSError, match=r"^it is cut off$"):
        whole(body)

    assert request.close_connection is True


@pytest.mark.parametrize(
    ("sent", "length"), [(b"helloNEXT", 5), (b"5\r\nhello\r\n0\r\n\r\nNEXT", None)]
)
def test_a_body_that_the_plugin_did_not_read_is_skipped(sent: bytes, length: int | None) -> None:
    """It must not be taken for the next request."""
    body, request = arriving(sent, length)

    body.skip_rest()

    assert rest_of(request) == b"NEXT"
    assert request.close_connection is False


def test_skipping_a_broken_body_ends_the_connection() -> None:
    """Nothing is raised, because the response was sent already."""
    body, request = arriving(b"hel", 5)

    body.skip_rest()

    assert request.close_connection is True


class Endless:
    """A connection on which data never ends."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int) -> bytes:
        self.given += size
        return bytes(size)


def test_skipping_an_unread_body_has_a_bound() -> None:
    """A sender of a body without end loses the connection after 256 MiB."""
    _, request = arriving(b"", 1 << 40)
    endless = request.conn.rfile = Endless()

    RequestBody(request).skip_rest()

    assert request.close_connection is True
    assert MAX_UNREAD_BYTES < endless.given <= MAX_UNREAD_BYTES + (64 << 10)
