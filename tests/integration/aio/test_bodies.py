"""Bodies of responses: back-pressure, how a body ends, and bodies that are dropped unread."""

import asyncio
import gc
import tracemalloc
from pathlib import Path

import pytest

from moby_plugins.domain.errors import WireError
from moby_plugins.testing.contracts import Run
from tests.dummy_plugin import Conversation
from tests.integration.aio.calls import called, request, whole
from tests.integration.aio.conftest import Reach, reach_over
from tests.integration.descriptors import descriptors, soon

MIB = 1 << 20
LARGE = 64 * MIB


def pours(conversation: Conversation) -> None:
    """Send much, as fast as it is taken."""
    conversation.read_request()
    conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
    data = bytes(MIB)
    for _ in range(LARGE // MIB):
        conversation.send(data)


def test_a_slow_reader_buffers_little_of_a_large_response(reach: Reach, run: Run) -> None:
    """Less than half a MiB of 64 MiB is buffered while the reader pauses; then all is read."""

    async def test() -> None:
        response = await reached.transport.send(request(), 60.0)
        tracemalloc.start()
        await asyncio.sleep(0.3)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        # The plugin runs here too: it has a MiB in its hand.
        assert held - MIB < MIB // 2
        size = 0
        while data := await response.body.read(50_000):
            size += len(data)
        assert size == LARGE

    with reach(pours) as reached:
        run(test())


def test_a_response_that_is_dropped_unread_closes_its_connection(
    reach_unix: Reach, run: Run
) -> None:
    """A response without a reference, as after a late cancellation, leaves no descriptor open."""

    async def test() -> None:
        await called(reached.transport) if reached.plugin.connections else None
        before = descriptors()
        for _ in range(20):
            response = await reached.transport.send(request(), None)
            del response
        gc.collect()
        await asyncio.sleep(0.05)
        assert await asyncio.to_thread(soon, before) <= before

    with reach_unix(pours) as reached:
        run(test())


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_a_tls_body_that_ends_without_close_notify_is_an_error(
    kind: str, short_path: Path, run: Run
) -> None:
    """A body without a length that ends like this is complete over TCP, but not under TLS."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        # The socket below is closed without a word of TLS.

    async def test() -> bytes:
        response = await reached.transport.send(request(), 5.0)
        return await whole(response)

    with reach_over(kind, short_path)(behave) as reached:
        if kind == "tcp":
            assert run(test()) == b"some"
        else:
            with pytest.raises(WireError, match="cut off"):
                run(test())


def test_a_tls_body_that_ends_with_close_notify_is_complete(short_path: Path, run: Run) -> None:
    """The body ends with the close_notify, even if the plugin keeps the TCP connection open."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        conversation.sock.settimeout(0.2)
        try:
            conversation.sock.unwrap()  # type: ignore[attr-defined]  # it is TLS
        except OSError:
            conversation.stopped.wait(5)

    async def test() -> bytes:
        return await whole(await reached.transport.send(request(), 5.0))

    with reach_over("tls", short_path)(behave) as reached:
        assert run(test()) == b"some"


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_data_before_a_malformed_chunk_is_read_before_the_error(
    timeout: float | None, reach: Reach, run: Run
) -> None:
    """The first read returns the data; every later read raises ``WireError``."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\nzz")
        conversation.stopped.wait(5)

    async def test() -> None:
        response = await reached.transport.send(request(), timeout)
        assert await response.body.read(100) == b"some"
        for _ in range(2):
            with pytest.raises(WireError):
                await response.body.read(100)
        response.body.close()

    with reach(behave) as reached:
        run(test())
