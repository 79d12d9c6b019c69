"""Connections that end at each byte of a normal exchange, in each way that a connection can end."""

import socket
import struct
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from moby_plugins import Client, PluginError, TransportError, WireError
from tests.dummy_plugin import Behaviour, Conversation, http
from tests.integration.hostile.bounds import bounded
from tests.integration.hostile.plugins import PATIENCE, Against, call

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
ANSWERS = {
    "with a length": HEAD + b"[1]",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n",
}
# Bytes of a request, at least: its line, Host, Accept, User-Agent, its length and its body.
REQUEST = 150


def resets(conversation: Conversation) -> None:
    """End with an RST on TCP; on a UNIX socket that is the error for what was not read."""
    conversation.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hangs_up(_: Conversation) -> None:
    """End as every connection does."""


def half_closes(conversation: Conversation) -> None:
    """Say that nothing more will come, and wait for the host to hang up."""
    conversation.sock.shutdown(socket.SHUT_WR)
    conversation.hang()


def stops_reading(conversation: Conversation) -> None:
    """Say that nothing more will be read, then end."""
    conversation.sock.shutdown(socket.SHUT_RD)


End = Callable[[Conversation], None]
ENDS: tuple[End, ...] = (resets, hangs_up, half_closes, stops_reading)


def receive(conversation: Conversation, size: int) -> bytes:
    """So many bytes of a request."""
    data = b""
    while len(data) < size and (more := conversation.sock.recv(size - len(data))):
        data += more
    return data


def outcomes(client: Client, positions: range) -> Iterator[tuple[int, object]]:
    """What one call for each position comes to."""
    for position in positions:
        try:
            yield position, call(client, position)
        except PluginError as error:
            yield position, error


def ending_in_the_answer(answer: bytes, end: End) -> Behaviour:
    """A plugin that sends one byte more of ``answer`` on each connection, and ends it."""
    positions = count()

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(answer[: next(positions)])
        end(conversation)

    return behave


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("frame", ANSWERS)
def test_a_connection_that_ends_at_any_byte_of_a_response_is_the_right_error(
    frame: str, end: End, against_everywhere: Against
) -> None:
    """``answered`` of the error is false until the status line is whole, and true afterwards."""
    answer = ANSWERS[frame]
    status_line, head = answer.index(b"\r\n") + 2, answer.index(b"\r\n\r\n") + 4

    with (
        bounded(seconds=20),
        against_everywhere(ending_in_the_answer(answer, end)) as client,
    ):
        for sent, came in outcomes(client, range(len(answer))):
            if sent < status_line:
                assert isinstance(came, TransportError), (sent, came)
                assert not came.answered, (sent, came)
            elif sent < head:
                assert isinstance(came, TransportError), (sent, came)
                assert came.answered, (sent, came)
            else:
                # Whether the reset overtakes what was sent before it is the kernel's affair.
                assert isinstance(came, (WireError, TransportError)), (sent, came)
                assert getattr(came, "answered", True), (sent, came)


def ending_in_the_request(answered_before: int, end: End) -> Behaviour:
    """A plugin that answers so many calls, then reads one byte more on each connection."""
    positions = count()

    def behave(conversation: Conversation) -> None:
        for _ in range(answered_before):
            conversation.read_request()
            conversation.send(http(b"1"))
        receive(conversation, next(positions))
        end(conversation)

    return behave


@pytest.mark.parametrize("end", ENDS)
def test_a_connection_that_ends_at_any_byte_of_a_request_is_a_transport_error(
    end: End, against_everywhere: Against
) -> None:
    """Wherever the plugin stops reading, the call fails at once, and ``answered`` is false."""
    with bounded(seconds=20), against_everywhere(ending_in_the_request(0, end)) as client:
        for read, came in outcomes(client, range(REQUEST)):
            assert isinstance(came, TransportError), (read, came)
            assert not came.answered, (read, came)


@pytest.mark.parametrize("end", ENDS)
def test_a_reused_connection_that_ends_is_replaced_or_is_a_transport_error(
    end: End, against_everywhere: Against
) -> None:
    """Wherever the plugin stops reading, the call succeeds on a new connection or fails at once."""
    with bounded(seconds=20), against_everywhere(ending_in_the_request(1, end)) as client:
        for read, came in outcomes(client, range(REQUEST)):
            if came != 1:
                assert isinstance(came, TransportError), (read, came)
                assert not came.answered, (read, came)


@pytest.mark.parametrize("end", ENDS)
def test_a_connection_that_ends_within_a_large_request_is_a_transport_error(
    end: End, against_everywhere: Against
) -> None:
    """Sending stops where the plugin stops reading, and ``answered`` is false."""
    body = bytes(8 << 20)
    sizes = iter((0, 1, 1000, 1 << 16, 1 << 20))

    def behave(conversation: Conversation) -> None:
        receive(conversation, next(sizes))
        end(conversation)

    with bounded(seconds=20), against_everywhere(behave) as client:
        for _ in range(5):
            with pytest.raises(TransportError) as caught:
                client.send_file("M.x", body, timeout=PATIENCE)
            assert not caught.value.answered


def test_a_response_that_comes_before_a_large_request_was_read_is_accepted(
    against_everywhere: Against,
) -> None:
    """A plugin may refuse a body at its first bytes; the call raises its error or fails."""

    def behave(conversation: Conversation) -> None:
        receive(conversation, 1000)
        conversation.send(http(b'{"Err": "no room"}', 500))
        conversation.hang()

    body = bytes(8 << 20)
    with (
        bounded(seconds=20),
        against_everywhere(behave) as client,
        pytest.raises(PluginError) as caught,
    ):
        client.send_file("M.x", body, timeout=PATIENCE)

    assert isinstance(caught.value, TransportError) or str(caught.value) == "M.x: no room"
