"""The transport of a proxy: a hang-up at one end is one at the other."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from moby_plugins.adapters.http.dialing import dialer_for
from moby_plugins.adapters.http.passing import PassingTransport
from moby_plugins.adapters.http.urllib3 import Urllib3Connection
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError
from moby_plugins.domain.http import Request

SECONDS = 10.0
HEAD = b"HTTP/1.1 200 OK\r\n"


class Peer:
    """A plugin by hand: it takes connections, and does what a test says."""

    def __init__(self, path: Path) -> None:
        self.hung_up = threading.Event()
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen()
        self._sock.settimeout(SECONDS)
        self.transport = PassingTransport(
            Address(f"unix://{path}"),
            dialer_for(Address(f"unix://{path}"), None),
            Urllib3Connection,
            lambda: self.hung_up,
        )

    def accept(self) -> socket.socket:
        """The next connection, its request unread."""
        sock, _ = self._sock.accept()
        sock.settimeout(SECONDS)
        return sock

    def close(self) -> None:
        """Listen no more."""
        self.transport.close()
        self._sock.close()


@pytest.fixture
def peer(short_path: Path) -> Iterator[Peer]:
    """A plugin that listens."""
    with closing(Peer(short_path / "x.sock")) as made:
        yield made


def whole(transport: PassingTransport) -> bytes:
    """The body of a response."""
    with closing(transport.send(Request("M.x"), None).body) as body:
        return b"".join(iter(lambda: body.read(10), b""))


def to_the_end(sock: socket.socket) -> bytes:
    """All that comes until the other end hangs up."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


@pytest.mark.parametrize(
    "answer", [b"", HEAD, HEAD + b"\r\n", HEAD + b"Content-Length: 9\r\n\r\nab"]
)
def test_a_host_that_hangs_up_hangs_the_plugin_up(peer: Peer, answer: bytes) -> None:
    """Before, within and after the head; also where the end of the body is that of all."""
    seen: list[bytes] = []

    def plugin() -> None:
        with peer.accept() as sock:
            sock.sendall(answer)
            time.sleep(0.05)
            peer.hung_up.set()
            seen.append(to_the_end(sock))

    thread = threading.Thread(target=plugin)
    thread.start()
    began = time.monotonic()
    with pytest.raises(ConnectionAbortedError, match="the host hung up"):
        whole(peer.transport)
    assert time.monotonic() - began < 1
    thread.join(SECONDS)

    assert seen[0].startswith(b"POST /M.x HTTP/1.1\r\n")


def test_a_plugin_that_hangs_up_ends_the_call(peer: Peer) -> None:
    """As over any transport."""
    thread = threading.Thread(target=lambda: peer.accept().close())
    thread.start()
    with pytest.raises(TransportError, match=r"without a response|reset by peer|Broken pipe"):
        peer.transport.send(Request("M.x"), None)
    thread.join(SECONDS)


def test_each_call_has_a_connection_of_its_own(peer: Peer) -> None:
    """It ends with the call, so that a plugin that has ended is noticed by the next."""
    ends: list[bytes] = []

    def plugin() -> None:
        for _ in range(2):
            with peer.accept() as sock:
                sock.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
                ends.append(to_the_end(sock))

    thread = threading.Thread(target=plugin)
    thread.start()
    for _ in range(2):
        assert whole(peer.transport) == b"{}"
    thread.join(SECONDS)
    # Nothing is shut down that a call had before.
    peer.hung_up.set()

    assert len(ends) == 2


def test_a_plugin_that_is_not_there_is_said_to_be_stale(peer: Peer) -> None:
    """The error of a dial is that of any transport."""
    peer.close()

    with pytest.raises(TransportError, match="stale socket"):
        peer.transport.send(Request("M.x"), 1)
