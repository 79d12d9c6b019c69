"""``Client.stream``: the request is sent at once, the response is read as it arrives."""

from typing import Any

import pytest

from moby_plugins import Stream
from moby_plugins.domain.errors import (
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.testing import (
    FakeClock,
    drips,
    drops,
    drops_mid_body,
    refused,
    script,
    status,
)
from tests.unit.app.hosts import AnyClock, client_of
from tests.unit.app.in_memory import TCP
from tests.unit.app.in_memory import client_of as memory_client


def test_stream_sends_the_request_at_once_and_reads_the_response_as_it_arrives(
    clock: AnyClock,
) -> None:
    """Each read waits until the plugin has sent something, and no longer."""
    client, line = client_of(drips(b"abc", every=2), clock)

    with client.stream("M.x", {"Follow": True}) as stream:
        assert [request.body for request in line.requests] == [b'{"Follow":true}\n']
        assert clock.now() == 0.0
        assert [(stream.read(), clock.now()) for _ in range(3)] == [
            (b"a", 2.0),
            (b"b", 4.0),
            (b"c", 6.0),
        ]
        assert stream.read() == b""


def test_a_stream_has_no_bound_on_its_size(clock: AnyClock) -> None:
    """``max_response_bytes`` bounds only responses that are read whole."""
    client, _ = client_of(b"x" * 1000, clock, max_response_bytes=10)

    with client.stream("M.x") as stream:
        assert b"".join(stream) == b"x" * 1000


def test_a_stream_that_cannot_begin_is_tried_again(clock: AnyClock) -> None:
    """Until a status line is received, ``stream`` is tried again like ``call``."""
    client, line = client_of(script(refused(), drops(), b"abc"), clock)

    with client.stream("M.x") as stream:
        assert list(stream) == [b"abc"]

    assert ([request.attempt for request in line.requests], clock.sleeps) == ([1, 2, 3], [1, 2])


def test_the_error_of_a_stream_that_never_begins_names_the_plugin(clock: AnyClock) -> None:
    """The error has the address and the number of attempts, too."""
    client, _ = client_of(drops(), clock)

    with pytest.raises(TransportError) as caught:
        client.stream("M.x")

    assert str(caught.value) == (
        f"plugin 'p' at {TCP}: the plugin closed the connection without a response"
        " (tried 5 times in 15 s)"
    )


def test_a_status_other_than_200_is_raised_by_stream_itself(clock: AnyClock) -> None:
    """The StatusError comes from calling ``stream``, not from a later read."""
    client, line = client_of(status(500, "no logs"), clock)

    with pytest.raises(StatusError, match=r"(?m)^M\.x: no logs$"):
        client.stream("M.x")

    assert len(line.requests) == 1


@pytest.mark.parametrize("of_client", [True, False], ids=["of the client", "of the call"])
def test_a_time_out_bounds_the_reading_of_a_stream_too(of_client: Any, clock: AnyClock) -> None:
    """Even if bytes still arrive, the stream ends with its time-out and is not tried again."""
    client, line = client_of(drips(b"abcdef"), clock, timeout=2.5 if of_client else None)
    stream = client.stream("M.x", timeout=None if of_client else 2.5)

    assert [stream.read(), stream.read()] == [b"a", b"b"]
    with pytest.raises(TransportTimeoutError) as caught:
        stream.read()

    assert str(caught.value) == f"plugin 'p' at {TCP}: timed out (tried once)"
    assert (caught.value.answered, clock.now(), len(line.requests)) == (True, 2.5, 1)


def test_a_stream_that_is_cut_off_raises_an_error_after_the_bytes_received(clock: AnyClock) -> None:
    """The error names the plugin, its address and the method."""
    client, _ = client_of(drops_mid_body(b"abc"), clock)

    with client.stream("M.x") as stream:
        assert stream.read() == b"abc"
        with pytest.raises(WireError) as caught:
            stream.read()

    assert str(caught.value) == (
        f"plugin 'p' at {TCP}: M.x: the response's body is cut off or badly chunked"
    )


def test_the_repr_of_a_stream_has_its_method_and_address() -> None:
    """The ``repr`` helps in a debugger or a log."""
    client, _ = memory_client(b"data", FakeClock())

    with client.stream("M.x") as stream:
        assert repr(stream) == f"<Stream of M.x from {TCP}>"


class Closing:
    """A body whose stream is closed by another thread in the middle of a read."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.stream = Stream(self, "M.x", TCP, "p")
        self._pieces = list(pieces)

    def read(self, _: int, /) -> bytes:
        """Close the stream, and return or raise the next of the pieces."""
        self.stream.close()
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        """Nothing is left to close."""


@pytest.mark.parametrize("piece", [b"", AttributeError("of a library"), WireError("cut off")])
def test_a_read_of_a_stream_that_another_thread_closes_raises_an_error(
    piece: bytes | Exception,
) -> None:
    """Whatever the transport returns or raises then, it is not taken for the end."""
    with pytest.raises(TransportError) as caught:
        Closing(piece).stream.read()

    assert str(caught.value) == (
        f"plugin 'p' at {TCP}: the stream was closed while it was read (tried once)"
    )
    assert (caught.value.answered, caught.value.method) == (True, "M.x")
    assert caught.value.__cause__ is (None if piece == b"" else piece)


def test_bytes_received_before_a_stream_was_closed_are_returned() -> None:
    """Later reads return ``b""``, as at the end of a stream."""
    stream = Closing(b"one", b"", b"").stream

    assert [stream.read(), stream.read(), stream.read()] == [b"one", b"", b""]


def test_an_exception_of_a_body_is_raised_unchanged_unless_the_stream_was_closed() -> None:
    """A mistake in a transport, such as a KeyError, is not hidden."""

    class Broken(Closing):
        def read(self, _: int, /) -> bytes:
            raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        Broken().stream.read()
