"""A ``FaultServer`` with hosts that do not use this library, and its connections."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from moby_plugins import Request, RetryPolicy, Settings, TransportError, new_client
from moby_plugins.domain.address import Address
from moby_plugins.testing import Fault, FaultServer, drops, refused, script

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1\n"
POST = b"POST /M.x HTTP/1.1\r\n"


def said_to(path: Path, data: bytes) -> tuple[bytes, list[bytes]]:
    """What comes back until the server hangs up, and the bodies that it saw."""
    with FaultServer.unix({"M.x": 1}, path) as server, socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(data)
        said = b"".join(iter(lambda: sock.recv(1 << 16), b""))
        return said, [call.body for call in server.calls]


@pytest.mark.parametrize(
    ("sent", "bodies"),
    [
        (b"GET /M.x HTTP/1.1\r\nconnection: Close\r\n\r\n", [b""]),
        (POST + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}", [b"{}"]),
        (
            POST
            + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nTrailer: z\r\n\r\n"
            + POST
            + b"Content-Length: 1\r\nConnection: close\r\n\r\n2",
            [b"{}", b"2"],
        ),
    ],
    ids=["no body", "a length", "chunks, and another request"],
)
def test_requests_of_any_http_client_are_read(
    sent: bytes, bodies: list[bytes], short_path: Path
) -> None:
    """Bodies may have a length or be chunked, and ``Connection: close`` ends the connection."""
    assert said_to(short_path / "p.sock", sent) == (ANSWER * len(bodies), bodies)


@pytest.mark.parametrize(
    "sent",
    [
        b"HELO plugin\r\n\r\n",
        b"\r\n\r\n",
        POST + b"Content-Length: many\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=["no HTTP", "nothing", "no length", "no chunk", "a long line"],
)
def test_a_malformed_request_gets_no_response(sent: bytes, short_path: Path) -> None:
    """The server closes the connection, and lists no call."""
    said, bodies = said_to(short_path / "p.sock", sent)

    assert (said, bodies) == (b"", [])


def test_a_request_that_is_cut_off_is_not_listed_as_a_call(short_path: Path) -> None:
    """A host that closes its connection in the middle of the body gets no response."""
    path = short_path / "p.sock"
    with FaultServer.unix({"M.x": 1}, path) as server:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            sock.sendall(POST + b"Content-Length: 3\r\n\r\n{}")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        assert list(server.calls) == []


def test_a_fault_server_may_be_restarted(short_path: Path) -> None:
    """While the server is stopped a host finds no socket; later the plugin's script goes on."""
    once = Settings(retry=RetryPolicy.never(), timeout=10.0)
    server = FaultServer.unix({"M.x": script(1, 2)}, short_path / "p.sock")
    with server, new_client(server.addr, settings=once) as client:
        server.start()
        assert client.call("M.x") == 1
        server.stop()
        with pytest.raises(TransportError, match="no socket there"):
            client.call("M.x")
        server.start()
        assert client.call("M.x") == 2


@pytest.mark.parametrize("fault", [refused(), drops()], ids=["refused", "drops"])
def test_errors_name_the_address_that_the_host_calls(fault: Fault, short_path: Path) -> None:
    """They do not name the server's socket, to which the call is redirected."""
    with (
        FaultServer.unix({"M.x": fault}, short_path / "p.sock") as server,
        closing(server.connect(Address("memory://shelf"))) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.send(Request("M.x"), None)

    assert caught.value.address == "memory://shelf"
