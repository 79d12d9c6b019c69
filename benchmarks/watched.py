"""The least of an asynchronous call: a bare socket that an event loop watches."""

import asyncio
import socket


class Watched:
    """A socket, with one future for each response."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._waiter: asyncio.Future[bytes]

    async def call(self, request: bytes, calls: int) -> None:
        """Send ``request`` as often as ``calls`` says, and wait for each response."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self._receive)
        for _ in range(calls):
            self._waiter = loop.create_future()
            self._sock.send(request)
            assert await self._waiter
        loop.remove_reader(self._sock)

    def _receive(self) -> None:
        self._waiter.set_result(self._sock.recv(1 << 16))
