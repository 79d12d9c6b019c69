"""Connections: what they cost a plugin, and what is left of them in the end."""

import contextlib
import gc
import threading
from pathlib import Path

import pytest

from moby_plugins import Settings, StatusError, TransportError, WireError, new_client
from tests.dummy_plugin import Conversation, DummyPlugin, answering, http
from tests.integration.descriptors import nothing_left

CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n",
        http(b"1"),
        http(b"no", 500),
        http(b"1", length=9),
        CHUNKS,
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nX: y\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_closed_client_leaves_no_descriptor_and_no_thread(
    answer: bytes, short_path: Path, once: Settings
) -> None:
    """This holds for complete, malformed and cut-off responses, to calls and to streams."""
    with (
        nothing_left(),
        DummyPlugin.on_unix(short_path / "p.sock", answering(answer)) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        for _ in range(3):
            with contextlib.suppress(TransportError, StatusError, WireError):
                client.call("M.x", {}, timeout=5)
            with contextlib.suppress(TransportError, StatusError, WireError):
                client.stream("M.x", timeout=5).close()


def test_a_small_request_is_sent_in_one_piece(short_path: Path, once: Settings) -> None:
    """Head and body come together, so that a plugin is woken once."""
    pieces: list[bytes] = []

    def behave(conversation: Conversation) -> None:
        while piece := conversation.sock.recv(1 << 16):
            pieces.append(piece)
            conversation.send(http(b"1"))

    with (
        DummyPlugin.on_unix(short_path / "p.sock", behave) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        for _ in range(3):
            assert client.call("M.x", {"A": 1}) == 1
        assert client.call("M.x") == 1

    ends = [piece.partition(b"\r\n\r\n")[2] for piece in pieces]
    assert ends == [b'{"A":1}\n'] * 3 + [b""]


def test_a_client_that_was_never_closed_leaves_no_connection(
    short_path: Path, once: Settings
) -> None:
    """Connections end with the last reference to their client, without a warning."""
    ended = threading.Event()

    def behave(conversation: Conversation) -> None:
        while conversation.read_request():
            conversation.send(http(b"1"))
        ended.set()

    with DummyPlugin.on_unix(short_path / "p.sock", behave) as plugin:
        client = new_client(plugin.addr, settings=once)
        assert client.call("M.x", {}) == 1

        del client
        gc.collect()

        assert ended.wait(5)
