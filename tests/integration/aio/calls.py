"""Helpers of asynchronous tests: calls, and behaviours of plugins."""

import re
from collections.abc import Awaitable

from moby_plugins.async_ports import AsyncTransport
from moby_plugins.domain.async_http import AsyncContent, AsyncRequest, AsyncResponse
from tests.dummy_plugin import Conversation, http

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


def request(body: AsyncContent = b"") -> AsyncRequest:
    """A request with this body."""
    return AsyncRequest("M.x", body)


async def whole(response: AsyncResponse) -> bytes:
    """The whole body, closed."""
    data = bytearray()
    try:
        while part := await response.body.read(1 << 16):
            data += part
    finally:
        response.body.close()
    return bytes(data)


async def called(
    transport: AsyncTransport, body: AsyncContent = b"", timeout: float | None = None
) -> bytes:
    """What a call is answered."""
    return await whole(await transport.send(request(body), timeout))


async def failed(waiting: Awaitable[object]) -> Exception:
    """The error that this ends in."""
    try:
        await waiting
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def echoes(conversation: Conversation) -> None:
    """Answer each request with its body, until the host hangs up."""
    conversation.sock.settimeout(30)
    data = b""
    try:
        while True:
            while b"\r\n\r\n" not in data:
                more = conversation.sock.recv(1 << 16)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            while len(data) < size:
                more = conversation.sock.recv(1 << 16)
                if not more:
                    return
                data += more
            conversation.sock.sendall(http(data[:size]))
            data = data[size:]
    except OSError:
        return


def hangs(conversation: Conversation) -> None:
    """Take a request, and say nothing."""
    conversation.hang()
