"""The transport of a tracing proxy: a hang-up at one end causes a hang-up at the other."""

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
    """A plugin whose connections the test accepts and serves by hand."""

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
def test_a_hang_up_of_the_host_ends_the_connection_to_the_plugin(peer: Peer, answer: bytes) -> None:
    """The proxy hangs up before, within and after the head of a response."""
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


def test_a_hang_up_of_the_plugin_ends_the_call(peer: Peer) -> None:
    """The call raises ``TransportError``, as over any other transport."""
    thread = threading.Thread(target=lambda: peer.accept().close())
    thread.start()
    with pytest.raises(TransportError, match=r"without a response|reset by peer|Broken pipe"):
        peer.transport.send(Request("M.x"), None)
    thread.join(SECONDS)


def test_each_call_has_a_connection_of_its_own(peer: Peer) -> None:
    """The connection ends with its call, so that the next call notices an ended plugin."""
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


def test_a_plugin_that_no_longer_listens_is_reported_as_a_stale_socket(peer: Peer) -> None:
    """A call fails with the same error as over any other transport."""
    peer.close()

    with pytest.raises(TransportError, match="stale socket"):
        peer.transport.send(Request("M.x"), 1)
