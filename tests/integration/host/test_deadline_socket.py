"""Sockets with a deadline, and how dialling, sending and receiving share a call's time-out."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moby_plugins import RetryPolicy, Settings, TransportTimeoutError, new_client
from moby_plugins.adapters.http.deadline_socket import DeadlineSocket
from moby_plugins.adapters.http.pool import PooledTransport
from moby_plugins.adapters.http.unix_socket import UnixSocketDialer
from moby_plugins.adapters.http.urllib3 import Urllib3Connection
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Request
from tests.dummy_plugin import Conversation, DummyPlugin, http

ONCE = Settings(retry=RetryPolicy.never())
LARGE = bytes(8 << 20)


@pytest.fixture
def pair() -> Iterator[tuple[DeadlineSocket, socket.socket]]:
    """A socket under a deadline, and its plain other end."""
    ours, theirs = socket.socketpair()
    with DeadlineSocket(fileno=ours.detach()) as sock, theirs:
        yield sock, theirs


@pytest.mark.parametrize(
    "step",
    [
        lambda sock: sock.recv_into(bytearray(9)),
        lambda sock: sock.send(b"1"),
        lambda sock: sock.sendall(b"1"),
    ],
    ids=["recv_into", "send", "sendall"],
)
def test_a_socket_whose_deadline_has_passed_neither_sends_nor_receives(
    step: Callable[[DeadlineSocket], object], pair: tuple[DeadlineSocket, socket.socket]
) -> None:
    """Each operation raises ``TimeoutError``, even if it could be done at once."""
    sock, theirs = pair
    theirs.sendall(b"ready")
    sock.settimeout(0.01)
    time.sleep(0.02)

    with pytest.raises(TimeoutError, match=r"^timed out$"):
        step(sock)


@pytest.mark.parametrize("timeout", [None, 5.0, 1e300])
def test_a_socket_works_as_usual_before_its_deadline(
    timeout: float | None, pair: tuple[DeadlineSocket, socket.socket]
) -> None:
    """Without a deadline, or long before it, a ``DeadlineSocket`` sends and receives."""
    sock, theirs = pair
    sock.settimeout(timeout)
    buffer = bytearray(9)

    sock.sendall(b"ask")
    assert theirs.recv(9) == b"ask"
    theirs.sendall(b"told")
    assert sock.recv_into(buffer) == 4


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_the_bound_on_dialling_does_not_bound_the_sending(
    timeout: float | None, short_path: Path
) -> None:
    """A dial has its own time-out; a large upload over the new connection may take longer."""

    def slow(conversation: Conversation) -> None:
        conversation.stopped.wait(0.3)
        conversation.read_request()
        conversation.send(http(b"1"))

    with DummyPlugin.on_unix(short_path / "p.sock", slow) as plugin:
        address = Address(plugin.addr)
        dialer = UnixSocketDialer(address)
        with contextlib.closing(
            PooledTransport(address, lambda _: dialer(0.1), Urllib3Connection)
        ) as transport:
            response = transport.send(Request("M.x", LARGE), timeout)

            assert response.body.read(9) == b"1"
            response.body.close()


def test_time_spent_on_connecting_is_not_given_again_to_sending(short_path: Path) -> None:
    """A call with a time-out of 1 s ends after 1 s, even if connecting took 0.8 s of it."""
    path = short_path / "p.sock"
    taken: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(str(path))
        listener.listen(0)
        filler.connect(str(path))
        accept = threading.Timer(0.8, lambda: taken.append(listener.accept()[0]))
        accept.start()

        began = time.monotonic()

        with (
            new_client(f"unix://{path}", settings=ONCE) as client,
            pytest.raises(TransportTimeoutError),
        ):
            client.send_file("M.x", LARGE, timeout=1.0)

        # All of it again would end after 1.8 seconds.
        assert 0.99 <= time.monotonic() - began <= 1.7
        accept.join()
        taken[0].close()


def test_connecting_ends_at_the_deadline_of_the_socket() -> None:
    """A listener that takes no connections is waited for no longer than the deadline allows."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        sock = stack.enter_context(DeadlineSocket())
        sock.settimeout(0.2)
        began = time.monotonic()

        with pytest.raises(TimeoutError):
            sock.connect(listener.getsockname())

        assert 0.19 <= time.monotonic() - began <= 2


def test_bytes_that_are_put_back_are_received_first(
    pair: tuple[DeadlineSocket, socket.socket],
) -> None:
    """Bytes given to ``put_back`` are received in their order, before all other data."""
    sock, theirs = pair
    theirs.sendall(b"abcd")
    sock.put_back(sock.recv(2))
    sock.put_back(b"")

    assert [sock.recv(1), sock.recv(9), sock.recv(9)] == [b"a", b"b", b"cd"]
