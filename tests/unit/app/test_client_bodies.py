"""A response's body: read whole within a bound, raised as an error, or streamed."""

import json
from collections.abc import Iterable, Iterator

import pytest

from moby_plugins.app.bodies import raise_for_status, read_limited
from moby_plugins.app.client import Client, Stream
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import (
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.domain.http import CHUNK_BYTES, MAX_ERROR_BYTES, STREAM_BYTES, Response
from moby_plugins.testing import FakeClock, MemoryTransport
from tests.cases import every


class Body:
    """A body of these chunks, which records how it is read and closed."""

    def __init__(self, chunks: Iterable[bytes], error: Exception | None = None) -> None:
        self.asked: list[int] = []
        self.closed = 0
        self._chunks = self._given(chunks, error)

    def read(self, size: int, /) -> bytes:
        self.asked.append(size)
        data = next(self._chunks, b"")
        assert len(data) <= size
        return data

    def close(self) -> None:
        self.closed += 1

    def _given(self, chunks: Iterable[bytes], error: Exception | None) -> Iterator[bytes]:
        yield from chunks
        if error is not None:
            raise error


@pytest.mark.parametrize("chunks", [[], [b"abc"], [b"a", b"b", b"c"]])
def test_a_body_is_read_to_its_end(chunks: list[bytes]) -> None:
    """``read_limited`` returns all chunks joined, and does not close the body."""
    body = Body(chunks)

    assert read_limited(body, 100) == b"".join(chunks)
    assert body.closed == 0


def test_a_body_as_large_as_the_bound_is_read() -> None:
    """A body that has exactly as many bytes as the bound is not an error."""
    assert read_limited(Body([b"ab", b"cd"]), 4) == b"abcd"


@pytest.mark.parametrize("chunks", [[b"abcde"], [b"abcd", b"e"], [b"a"] * 1000])
def test_a_body_larger_than_the_bound_is_an_error_and_not_read_to_its_end(
    chunks: list[bytes],
) -> None:
    """Reading stops with the first byte beyond the bound."""
    body = Body(chunks)

    with pytest.raises(WireError, match=r"^the response is larger than 4 bytes$"):
        read_limited(body, 4)

    assert sum(map(len, chunks[: len(body.asked)])) == 5


def test_a_body_is_read_in_chunks() -> None:
    """No read is for more than a chunk, or for more than one byte beyond the bound."""
    body = Body([b"x" * CHUNK_BYTES, b"y"])

    read_limited(body, CHUNK_BYTES + 9)

    assert body.asked == [CHUNK_BYTES, 10, 9]


def test_raise_for_status_returns_the_unread_body_of_a_response_with_status_200() -> None:
    """Status 200 is no error, so the body is neither read nor closed."""
    body = Body([b"abc"])

    assert raise_for_status(Response(200, body), "M.x") is body
    assert (body.asked, body.closed) == ([], 0)


@every("status", [100, 201, 204, 301, 400, 404, 500, 599])
def test_any_status_other_than_200_is_an_error(status: int) -> None:
    """The error has status, method and the plugin's message; the body is closed."""
    body = Body([b'{"Err": ', b'"disk full"}'])

    with pytest.raises(StatusError) as caught:
        raise_for_status(Response(status, body), "M.x")

    error = caught.value
    assert (error.status, error.method, error.message) == (status, "M.x", "disk full")
    assert str(error) == "M.x: disk full"
    assert body.closed == 1


def test_the_text_of_an_error_is_cut_after_one_mebibyte() -> None:
    """A plugin that sends an error text without end does not keep its host reading."""
    endless = (b"x" * 60_000 for _ in range(10_000))
    body = Body(endless)

    with pytest.raises(StatusError) as caught:
        raise_for_status(Response(500, body), "M.x")

    assert caught.value.message == "x" * MAX_ERROR_BYTES
    assert len(body.asked) == 18
    assert body.closed == 1


@pytest.mark.parametrize(
    "cause",
    [
        WireError("cut off"),
        TransportError("reset"),
        TransportTimeoutError("timed out"),
    ],
)
@pytest.mark.parametrize(
    ("came", "message"),
    [([b"disk f"], "disk f"), ([], ""), ([json.dumps({"Err": "full"}).encode()], "full")],
)
def test_an_error_response_that_breaks_off_keeps_its_status_and_the_text_received(
    cause: Exception, came: list[bytes], message: str
) -> None:
    """The error of reading the rest is the cause of the StatusError."""
    body = Body(came, cause)

    with pytest.raises(StatusError) as caught:
        raise_for_status(Response(503, body), "M.x")

    assert (caught.value.status, caught.value.message) == (503, message)
    assert caught.value.__cause__ is cause
    assert body.closed == 1


def test_a_body_whose_read_raises_another_exception_is_closed() -> None:
    """An exception that is not one of this library is raised unchanged."""
    body = Body([b"a"], ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        raise_for_status(Response(500, body), "M.x")

    assert body.closed == 1


def test_a_stream_is_read_piece_by_piece() -> None:
    """``read`` returns what has arrived, up to a size, and ``b""`` at the end."""
    body = Body([b"abc", b"de"])
    stream = Stream(body, "M.x", "tcp://h:1", "p")

    assert [stream.read(3), stream.read(), stream.read()] == [b"abc", b"de", b""]
    assert body.asked == [3, STREAM_BYTES, STREAM_BYTES]


def test_a_stream_is_iterated_in_chunks_and_closed_by_its_block() -> None:
    """Iterating ends at the end of the body; leaving the ``with`` block closes the body."""
    body = Body([b"abc", b"de"])

    with Stream(body, "M.x", "tcp://h:1", "p") as stream:
        assert list(stream) == [b"abc", b"de"]
        assert body.closed == 0

    assert body.closed == 1


def test_a_stream_is_closed_when_its_block_fails() -> None:
    """An exception within the ``with`` block is raised unchanged, and the body is closed."""
    body = Body([b"abc"])

    with pytest.raises(KeyError), Stream(body, "M.x", "tcp://h:1", "p"):
        raise KeyError

    assert body.closed == 1


@pytest.mark.parametrize("size", [0, -1])
def test_the_size_for_reading_a_stream_must_be_1_or_more(size: int) -> None:
    """To read 0 bytes would look like the end, and to read all of them might never end."""
    stream = Stream(Body([b"abc"]), "M.x", "tcp://h:1", "p")

    with pytest.raises(ValueError, match=r"^the size for reading a stream must be 1 or more$"):
        stream.read(size)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            TransportTimeoutError("timed out"),
            "plugin 'p' at tcp://h:1: timed out (tried once)",
        ),
        (WireError("cut off"), "plugin 'p' at tcp://h:1: M.x: cut off"),
    ],
)
def test_the_error_of_a_broken_stream_names_the_plugin_and_its_address(
    error: TransportTimeoutError | WireError, text: str
) -> None:
    """If the body is cut off, the error names the method, too."""
    stream = Stream(Body([b"abc"], error), "M.x", "tcp://h:1", "p")
    assert stream.read() == b"abc"

    with pytest.raises(type(error)) as caught:
        stream.read()

    assert str(caught.value) == text


def test_a_call_of_plugin_activate_has_the_size_limit_of_a_handshake() -> None:
    """``Plugin.Activate`` has a limit of 1 MiB, other methods have the client's own."""
    body = b"1".ljust((1 << 20) + 1)
    line = MemoryTransport({"Plugin.Activate": body, "M.x": body})
    client = Client(line, Address("unix:///p.sock"), clock=FakeClock())

    assert client.call("M.x") == 1
    with pytest.raises(WireError, match="larger than 1048576 bytes"):
        client.call("Plugin.Activate")
