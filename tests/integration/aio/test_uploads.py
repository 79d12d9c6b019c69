"""Requests that are sent from an iterable: early responses, back-pressure, deadlines."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from moby_plugins.domain.async_http import AsyncContent
from moby_plugins.domain.errors import TransportError, TransportTimeoutError
from moby_plugins.testing.contracts import Run
from tests.dummy_plugin import Conversation, http
from tests.integration.aio.calls import called, failed, request, whole
from tests.integration.aio.conftest import Reach

MIB = 1 << 20
REFUSAL = http(b"no room", 413)


def refuses_and_hangs_up(conversation: Conversation) -> None:
    """Answer in the middle of an upload, and close the connection with most of it unread."""
    if conversation.sock.family != socket.AF_UNIX:
        # The plugin's own system drops what it has not sent yet, behind tickets of TLS say.
        conversation.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conversation.sock.recv(1000)
    conversation.send(REFUSAL)


def refuses_and_stays(conversation: Conversation) -> None:
    """The same, but without closing it; no more is read."""
    conversation.sock.recv(1000)
    conversation.send(REFUSAL)
    conversation.stopped.wait(10)


def never_reads(conversation: Conversation) -> None:
    """Take nothing."""
    conversation.stopped.wait(10)


async def endless(taken: list[int] | None = None) -> AsyncIterator[bytes]:
    """Chunks without end, which never wait."""
    while True:
        if taken is not None:
            taken.append(1 << 16)
        yield bytes(1 << 16)


async def slow() -> AsyncIterator[bytes]:
    """A chunk, and then nothing for longer than any test."""
    yield bytes(2000)
    await asyncio.sleep(1000)


BODIES: dict[str, Callable[[], AsyncContent]] = {
    "endless": endless,
    "slow": slow,
    "bytes": lambda: bytes(64 * MIB),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_response_during_an_upload_is_always_received(body: str, reach: Reach, run: Run) -> None:
    """The status 413 of each of 100 plugins that refuse an upload and hang up is received."""
    # Bytes are cut off by a reset on TCP, whose answer the system then drops.
    behaviour = refuses_and_hangs_up if body == "endless" else refuses_and_stays

    async def test() -> list[int]:
        statuses = []
        for _ in range(100 if body == "endless" else 3):
            response = await reached.transport.send(request(BODIES[body]()), 10.0)
            statuses.append(response.status)
            assert await whole(response) == b"no room"
        return statuses

    with reach(behaviour) as reached:
        assert set(run(test())) == {413}
        assert reached.plugin.connections >= 3


@pytest.mark.parametrize("timeout", [0.3, None])
def test_little_of_an_iterable_is_taken_for_a_plugin_that_does_not_read(
    timeout: float | None, reach: Reach, run: Run
) -> None:
    """Less than 2 MiB are taken; the call ends at its deadline or when it is cancelled."""
    taken: list[int] = []

    async def test() -> None:
        began = time.monotonic()
        with pytest.raises((TransportTimeoutError, TimeoutError)) as caught:
            async with asyncio.timeout(0.3 if timeout is None else None):
                await called(reached.transport, endless(taken), timeout)
        assert 0.29 < time.monotonic() - began < 1.5
        assert isinstance(caught.value, TransportTimeoutError) == (timeout is not None)

    with reach(never_reads) as reached:
        run(test())
    assert 0 < sum(taken) < 2 * MIB


def test_an_upload_lets_other_tasks_of_the_loop_run(reach_unix: Reach, run: Run) -> None:
    """An iterable that never waits does not block the loop, though the plugin reads as fast."""

    def reads(conversation: Conversation) -> None:
        with contextlib.suppress(OSError):
            while conversation.sock.recv(1 << 20):
                pass

    async def test() -> None:
        sending = asyncio.create_task(failed(called(reached.transport, endless(), 0.5)))
        turns = 0
        while not sending.done():
            await asyncio.sleep(0)
            turns += 1
        assert isinstance(await sending, TransportTimeoutError)
        assert turns > 50

    with reach_unix(reads) as reached:
        run(test())


def test_closing_a_transport_ends_its_uploads(reach: Reach, run: Run) -> None:
    """An upload ends whether it waits for room to send or for its iterable."""

    async def test() -> None:
        calls = [
            asyncio.create_task(failed(called(reached.transport, body)))
            for body in (endless(), slow(), bytes(64 * MIB))
        ]
        await asyncio.sleep(0.2)
        reached.transport.close()
        began = time.monotonic()
        errors = await asyncio.gather(*calls)
        assert time.monotonic() - began < 0.5
        assert {type(error) for error in errors} == {TransportError}

    with reach(never_reads) as reached:
        run(test())
