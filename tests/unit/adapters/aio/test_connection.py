"""One connection over a link that follows a script: what it sends, and how errors end it."""

import asyncio
import errno
import gc
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from moby_plugins.adapters.aio.connection import AsyncConnection
from moby_plugins.adapters.aio.links import Link
from moby_plugins.adapters.aio.pool import LoopPool
from moby_plugins.adapters.http.pool import IdleConnections
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncContent, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import (
    PluginError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.domain.http import CHUNK_BYTES
from moby_plugins.testing import FakeTimeLoop
from tests.cases import every

OK = b"HTTP/1.1 200 OK\r\n"
ANSWER = OK + b"Content-Length: 2\r\n\r\n{}"
ENDS_LATER = OK + b"Content-Length: 9\r\n\r\n{}"


class ScriptedLink(Link):
    """Takes all that is sent, ``room`` bytes at a time, and receives what the script says.

    Each entry is bytes, ``b""`` for the end, or an error that is raised; it comes a turn of the
    loop after the one before it.
    """

    def __init__(self, *script: bytes | OSError, room: int = 1 << 20) -> None:
        self.ended = self.cut_off = self.is_closed = self.is_receiving = False
        self.is_flushed = True
        self.loop = asyncio.get_running_loop()
        self.script = list(script)
        self.sent = b""
        self.room = room
        self.sending: OSError | None = None
        self._tell: Callable[[], object] | None = None

    def start(self, on_readable: Callable[[], object]) -> None:
        self._tell = on_readable
        self.resume()

    def resume(self) -> None:
        self.is_receiving = True

    def pause(self) -> None:
        self.is_receiving = False

    def watch_room(self, on_room: Callable[[], object]) -> None:
        self.loop.call_soon(on_room)

    def unwatch_room(self) -> None:
        """It was told once."""

    def play(self) -> None:
        """Have the next entry of the script come."""
        if self.is_receiving and self._tell is not None and self.script:
            self._tell()
            self.loop.call_soon(self.play)

    def receive(self, size: int) -> bytes | None:
        if not self.script:
            return None
        come = self.script.pop(0)
        if isinstance(come, OSError):
            raise come
        self.ended = not come
        return come

    def send(self, data: bytes | memoryview) -> int:
        if self.sending is not None:
            raise self.sending
        self.sent += bytes(data[: self.room])
        return min(len(data), self.room)

    def is_readable(self) -> bool:
        return self.is_closed

    def is_broken(self) -> bool:
        return False

    def close(self) -> None:
        self.is_closed = True
        self._tell = None


class Exchange:
    """A connection over such a link, for one call."""

    def __init__(self, *script: bytes | OSError, room: int = 1 << 20) -> None:
        self.link = ScriptedLink(*script, room=room)
        self.pool: LoopPool[AsyncConnection] = LoopPool(self.link.loop, IdleConnections())
        self.connection = AsyncConnection(Address("unix:///p.sock"), self.link, self.pool)

    async def call(self, body: AsyncContent = b"", timeout: float | None = None) -> AsyncResponse:
        """The response."""
        ends = None if timeout is None else self.link.loop.time() + timeout
        self.link.loop.call_soon(self.link.play)
        call = self.pool.begin(ends)
        try:
            return await self.connection.exchange(AsyncRequest("M.x", body), call)
        except BaseException:
            self.pool.end(call)
            raise

    async def whole(self, body: AsyncContent = b"", timeout: float | None = None) -> bytes:
        """The response's body."""
        response = await self.call(body, timeout)
        data = b""
        while part := await response.body.read(3):
            self.link.loop.call_soon(self.link.play)
            data += part
        return data


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop whose time jumps."""
    loop = FakeTimeLoop()
    try:
        loop.run(test)
    finally:
        loop.close()


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """The parts."""
    for part in parts:
        yield part


RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
BROKEN = BrokenPipeError(errno.EPIPE, "Broken pipe")
IO = OSError(errno.EIO, "Input/output error")
TLS = ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca")

# What comes, and what it is to the caller: the class, whether it was answered, a part of the text.
TABLE: dict[str, tuple[list[bytes | OSError], type[PluginError], bool, str]] = {
    "the end": ([b""], TransportError, False, "closed the connection without a response"),
    "the end in a status line": ([b"HTTP/1.1 2", b""], TransportError, False, "without a response"),
    "the end in the headers": (
        [OK + b"X: y", b""],
        TransportError,
        True,
        "closed within the headers",
    ),
    "a reset": ([RESET], TransportError, False, "Connection reset"),
    "a reset in the headers": ([OK, RESET], TransportError, True, "the connection failed"),
    "another error": ([IO], TransportError, False, "Input/output error"),
    "an alert of TLS": ([TLS], TransportError, False, "TLS: "),
    "no HTTP": ([b"220 mail ready\r\n"], TransportError, False, "malformed response"),
    "a bad header": ([OK + b"X : y\r\n\r\n"], TransportError, False, "malformed response"),
    "a bad length": ([OK + b"Content-Length: -5\r\n\r\n"], TransportError, False, "malformed"),
    "an interim answer that is the last": (
        [b"HTTP/1.1 100 X\r\nConnection: close\r\n\r\n"],
        TransportError,
        False,
        "malformed response",
    ),
    "the end in the body": ([ENDS_LATER, b""], WireError, True, "cut off"),
    "a reset in the body": ([ENDS_LATER, RESET], TransportError, True, "the connection failed"),
    "an alert in the body": ([ENDS_LATER, TLS], TransportError, True, "the connection failed"),
    "bad chunks": (
        [OK + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"],
        WireError,
        True,
        "badly chunked",
    ),
    "nothing, until the deadline": ([], TransportTimeoutError, False, "timed out"),
    "headers, until the deadline": ([OK], TransportTimeoutError, True, "timed out"),
    "half a body, until the deadline": ([ENDS_LATER], TransportTimeoutError, True, "timed out"),
}


@every("case", TABLE)
def test_an_error_while_receiving_is_translated_and_closes_the_connection(case: str) -> None:
    """It is translated once, and keeps its cause."""
    script, kind, answered, text = TABLE[case]

    async def test() -> None:
        exchange = Exchange(*script)
        with pytest.raises(kind) as caught:
            await exchange.whole(timeout=2.0)
        error = caught.value
        assert type(error) is kind
        assert text in str(error)
        assert getattr(error, "answered", True) is answered
        assert vars(error)["address"] == "unix:///p.sock"
        assert isinstance(error.__cause__, Exception)
        assert exchange.link.is_closed
        assert exchange.pool.take() is None

    run(test())


@pytest.mark.parametrize("error", [RESET, BROKEN, ssl.SSLEOFError(8, "EOF")], ids=repr)
def test_a_response_counts_although_the_plugin_stopped_reading_the_request(error: OSError) -> None:
    """The error of sending is ignored, and the connection is closed after the response."""

    async def test() -> None:
        for body in (b"", bytes(CHUNK_BYTES + 1), chunks(b"1", b"2")):
            exchange = Exchange(ANSWER)
            exchange.link.sending = error
            assert await exchange.whole(body) == b"{}"
            assert exchange.link.is_closed

    run(test())


@pytest.mark.parametrize("error", [IO, TLS, TimeoutError("slow")], ids=repr)
def test_any_other_error_while_sending_fails_the_call(error: OSError) -> None:
    """It is a ``TransportError`` of a call that was not answered."""

    async def test() -> None:
        for body in (b"", bytes(CHUNK_BYTES + 1), chunks(b"1", b"2")):
            exchange = Exchange(ANSWER)
            exchange.link.sending = error
            with pytest.raises(TransportError) as caught:
                await exchange.whole(body)
            assert caught.value.__cause__ is error
            assert not caught.value.answered
            assert exchange.link.is_closed

    run(test())


@pytest.mark.parametrize("room", [1, 7, 1 << 20])
def test_a_request_is_sent_whole_however_little_the_socket_takes_at_a_time(room: int) -> None:
    """Chunks are framed, and an empty chunk does not end the body."""

    async def test() -> None:
        for body, sent in (
            (b"", b"Content-Length: 0\r\n\r\n"),
            (b"{}", b"Content-Length: 2\r\n\r\n{}"),
            (chunks(b"ab", b"", b"c"), b"chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
            (chunks(), b"chunked\r\n\r\n0\r\n\r\n"),
        ):
            exchange = Exchange(room=room)
            answering = asyncio.create_task(exchange.whole(body))
            await asyncio.sleep(1)
            assert exchange.link.sent.startswith(b"POST /M.x HTTP/1.1\r\n")
            assert exchange.link.sent.endswith(sent)
            exchange.link.script.append(ANSWER)
            exchange.link.loop.call_soon(exchange.link.play)
            assert await answering == b"{}"
            assert exchange.pool.take() is exchange.connection

    run(test())


@pytest.mark.parametrize("others", [0, 1])
def test_a_task_is_resumed_within_the_callback_if_there_is_no_other_call(others: int) -> None:
    """Otherwise it is resumed in the loop's next iteration."""

    async def test() -> None:
        exchange, ended = Exchange(), list[bool]()
        for _ in range(others):
            exchange.pool.begin(None)
        answering = asyncio.create_task(exchange.whole())
        await asyncio.sleep(1)
        exchange.link.script.append(ANSWER)

        def come() -> None:
            exchange.link.play()
            ended.append(answering.done())

        exchange.link.loop.call_soon(come)
        assert await answering == b"{}"
        assert ended == [not others]

    run(test())


def test_a_body_that_is_not_read_stops_the_receiving() -> None:
    """Receiving pauses once a quarter of a MiB is kept, and goes on when the body is read."""
    part = bytes(64 << 10)

    async def test() -> None:
        head = OK + b"Content-Length: %d\r\n\r\n" % (32 * len(part))
        exchange = Exchange(head, *[part] * 32)
        response = await exchange.call()
        await asyncio.sleep(1)
        assert len(exchange.link.script) == 32 - 4
        size = 0
        while data := await response.body.read(1 << 16):
            size += len(data)
            exchange.link.loop.call_soon(exchange.link.play)
            await asyncio.sleep(0)
        assert size == 32 * len(part)
        assert exchange.pool.take() is exchange.connection

    run(test())


def test_unexpected_data_or_an_end_closes_an_idle_connection_at_once() -> None:
    """So the connection is not taken for another call."""

    async def test() -> None:
        for unasked in (b"", ANSWER, RESET):
            exchange = Exchange(ANSWER, unasked)
            assert await exchange.whole() == b"{}"
            await asyncio.sleep(1)
            assert exchange.link.is_closed
            assert exchange.pool.take() is None

    run(test())


@every("case", TABLE)
def test_a_failed_connection_is_freed_without_the_garbage_collector(case: str) -> None:
    """It is in no cycle of references, so it is freed with the last reference."""
    script, kind, _, _ = TABLE[case]

    async def test() -> None:
        exchange = Exchange(*script)
        with pytest.raises(kind):
            await exchange.whole(timeout=2.0)
        await asyncio.sleep(0)
        gone = weakref.ref(exchange.connection)
        del exchange
        assert gone() is None

    gc.collect()
    gc.disable()
    try:
        run(test())
    finally:
        gc.enable()
