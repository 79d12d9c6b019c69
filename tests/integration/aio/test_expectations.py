"""``Expect: 100-continue``: when a plugin on asyncio asks for the body, and what it says before."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from moby_plugins.aio import AsyncRequest, AsyncResponse, serve_unix

HEAD = (
    b"POST /A.B HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
)


async def reads_late(request: AsyncRequest) -> AsyncResponse:
    """A streamed response that reads the request after its first chunk."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first "
        yield b"got " + await request.read()

    return AsyncResponse(200, chunks())


def exchanged(path: str) -> bytes:
    """What is received: the body is sent once the plugin asks for it."""
    with socket.socket(socket.AF_UNIX) as host:
        host.settimeout(10)
        host.connect(path)
        host.sendall(HEAD)
        received = host.recv(4096)
        host.sendall(b"4\r\nabcd\r\n0\r\n\r\n")
        while not received.endswith(b"0\r\n\r\n"):
            more = host.recv(4096)
            assert more, received
            received += more
    return received


def test_the_body_is_asked_for_before_a_response_begins(tmp_path: Path) -> None:
    """In the middle of a response, the host would take the line for a part of the body."""

    async def main() -> bytes:
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve_unix(reads_late, str(tmp_path / "s"), on_serving=ready.set_result)
        )
        await ready
        received = await asyncio.to_thread(exchanged, str(tmp_path / "s"))
        serving.cancel()
        await asyncio.wait([serving])
        return received

    asked, _, response = asyncio.run(main()).partition(b"\r\n\r\n")

    assert asked == b"HTTP/1.1 100 Continue"
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1" not in response.partition(b"\r\n")[2]
    assert response.endswith(b"8\r\ngot abcd\r\n0\r\n\r\n")
