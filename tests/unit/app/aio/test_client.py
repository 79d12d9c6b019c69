"""Streams of an asynchronous client: one task reads at a time."""

import asyncio

import pytest

from moby_plugins import Settings
from moby_plugins.aio import new_client
from moby_plugins.testing import AsyncMemoryTransport, FakeTimeLoop, drips


def test_a_second_reader_is_refused_and_the_first_goes_on(loop: FakeTimeLoop) -> None:
    """The second task would take the chunk that the first waits for; it may read afterwards."""
    plugin = AsyncMemoryTransport({"M.x": drips(b"ab")})
    settings = Settings(transports={"unix": plugin.connect})

    async def main() -> None:
        async with (
            new_client("unix:///p.sock", settings=settings) as client,
            client.stream("M.x") as stream,
        ):
            first = asyncio.create_task(stream.read())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task is reading this stream"):
                await stream.read()
            assert await first == b"a"
            assert await stream.read() == b"b"

    loop.run(main())
