"""The server's end of one connection, over a transport that a test fills and empties."""

import asyncio
from contextlib import closing
from socket import socketpair
from types import SimpleNamespace
from typing import Any, cast

from moby_plugins.adapters.aio.server_connection import LINGER, AsyncServerConnection, Owner
from moby_plugins.testing import FakeTimeLoop


class FilledTransport(asyncio.Transport):
    """Sends nothing: ``unsent`` is what the peer has not read yet."""

    def __init__(self, sock: object) -> None:
        super().__init__({"socket": sock})
        self.unsent = b""
        self.ended = False
        self.aborted: list[float] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.unsent += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def abort(self) -> None:
        self.aborted.append(asyncio.get_running_loop().time())


def owner() -> Owner:
    """A server that notes nothing."""
    nothing = SimpleNamespace(
        buffer=memoryview(bytearray(1024)), stopping=False, own_lines=lambda: ""
    )
    for name in ("opened", "closed", "waiting", "look_soon"):
        setattr(nothing, name, lambda *_: None)
    return cast("Owner", nothing)


def refused(sock: Any) -> FilledTransport:
    """The transport of a connection on which an invalid request was received."""
    connection, transport = AsyncServerConnection(owner()), FilledTransport(sock)
    connection.connection_made(transport)
    request = b"no request\r\n\r\n"
    connection.get_buffer(-1)[: len(request)] = request
    connection.buffer_updated(len(request))
    return transport


def test_a_host_that_reads_slowly_gets_the_whole_last_response() -> None:
    """The connection is aborted only after the host has read all of it."""

    async def test(sock: Any) -> None:
        loop = asyncio.get_running_loop()
        transport = refused(sock)
        assert transport.unsent.startswith(b"HTTP/1.1 400 ")
        assert transport.ended
        await asyncio.sleep(10 * LINGER)
        assert not transport.aborted
        transport.unsent, read_at = b"", loop.time()
        await asyncio.sleep(2 * LINGER)
        assert [at - read_at <= LINGER for at in transport.aborted] == [True]

    here, there = socketpair()
    loop = FakeTimeLoop()
    with here, there, closing(loop):
        loop.run(test(here))


def test_a_host_that_has_read_the_last_response_has_time_to_send_the_rest() -> None:
    """What it still sends is dropped until then, as a reset would lose the response."""

    async def test(sock: Any) -> None:
        began = asyncio.get_running_loop().time()
        transport = refused(sock)
        transport.unsent = b""
        await asyncio.sleep(3 * LINGER)
        assert transport.aborted == [began + LINGER]

    here, there = socketpair()
    loop = FakeTimeLoop()
    with here, there, closing(loop):
        loop.run(test(here))
