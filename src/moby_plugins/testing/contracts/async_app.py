"""The contract of what an asynchronous app sees of a call, in memory and over sockets."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import TypeAlias

import pytest

from moby_plugins.async_ports import AsyncTransport
from moby_plugins.domain.async_http import AsyncApp, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import TransportTimeoutError
from moby_plugins.testing.contracts.async_transport import Run, whole

Served: TypeAlias = Callable[[AsyncApp], AbstractAsyncContextManager[AsyncTransport]]
"""The type of the fixture ``served``: serves an app, and gives a transport to it."""

# Long enough for what is waited for, and a time-out that is waited for.
LONG, SHORT = 5.0, 0.2
_NAME: ContextVar[str] = ContextVar("name", default="unset")


class AsyncAppContract:
    """What an asynchronous app may rely on, however it is called, as a suite: subclass it.

    Give it a fixture ``served``: ``async with served(app) as transport`` gives a transport to the
    app, in the running loop. A fixture ``run`` may run the tests' coroutines in another loop.
    """

    @pytest.fixture
    def run(self) -> Run:
        """Return a function that runs a coroutine, here in asyncio's own loop."""
        return asyncio.run

    def test_one_task_runs_an_app_and_its_whole_response(self, served: Served, run: Run) -> None:
        """In one task, a generator may use context variables, task groups and time-outs."""
        tasks: set[asyncio.Task[object] | None] = set()
        names: list[str] = []

        async def body() -> AsyncIterator[bytes]:
            token = _NAME.set("body")
            async with asyncio.TaskGroup() as group, asyncio.timeout(LONG):
                sleeper = group.create_task(asyncio.sleep(SHORT / 10))
                for chunk in (b"one ", b"two ", b"three"):
                    yield chunk
                    tasks.add(asyncio.current_task())
                    names.append(_NAME.get())
                    await sleeper
            _NAME.reset(token)
            names.append(_NAME.get())

        async def app(_: AsyncRequest) -> AsyncResponse:
            tasks.add(asyncio.current_task())
            _NAME.set("app")
            return AsyncResponse(200, body())

        async def test() -> None:
            async with served(app) as transport:
                response = await transport.send(AsyncRequest("M.x", b"{}"), LONG)
                assert await whole(response, 3) == b"one two three"
                assert names == ["body", "body", "body", "app"]
                assert len(tasks) == 1
                assert asyncio.current_task() not in tasks
                assert _NAME.get() == "unset"

        run(test())

    def test_an_app_may_bound_its_own_response(self, served: Served, run: Run) -> None:
        """A time-out inside a generator ends what the generator waits for, and not the call."""

        async def body() -> AsyncIterator[bytes]:
            yield b"one "
            try:
                async with asyncio.timeout(SHORT):
                    yield b"two "
                    await asyncio.sleep(1e6)
            except TimeoutError:
                yield b"late"

        async def app(_: AsyncRequest) -> AsyncResponse:
            return AsyncResponse(200, body())

        async def test() -> None:
            async with served(app) as transport:
                response = await transport.send(AsyncRequest("M.x", b"{}"), LONG)
                assert await whole(response) == b"one two late"

        run(test())

    @pytest.mark.parametrize("how", ["closed", "dropped"])
    def test_a_host_that_leaves_cancels_the_task(self, how: str, served: Served, run: Run) -> None:
        """A response that the host closes or drops cancels the app's generator where it waits."""
        log: list[object] = []

        async def body() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                log.append("cancelled")
                raise
            finally:
                ended.set()

        async def app(_: AsyncRequest) -> AsyncResponse:
            return AsyncResponse(200, body())

        async def test() -> None:
            async with served(app) as transport:
                response = await transport.send(AsyncRequest("M.x", b"{}"), None)
                assert await response.body.read(9) == b"one"
                await asyncio.sleep(SHORT)
                if how == "closed":
                    response.body.close()
                del response
                gc.collect()
                await asyncio.wait_for(ended.wait(), LONG)
                assert log == ["cancelled"]

        ended = asyncio.Event()
        run(test())

    def test_a_request_is_read_as_it_is_sent(self, served: Served, run: Run) -> None:
        """The app reads the request's first bytes before the host has sent the last ones."""
        received = asyncio.Event()

        async def chunks() -> AsyncIterator[bytes]:
            yield b"first "
            await received.wait()
            yield b"last"

        async def app(request: AsyncRequest) -> AsyncResponse:
            first = await request.read(6)
            received.set()
            return AsyncResponse(200, first + await request.read())

        async def test() -> None:
            async with served(app) as transport:
                response = await transport.send(AsyncRequest("M.x", chunks()), LONG)
                assert await whole(response) == b"first last"

        run(test())

    def test_a_response_may_be_made_of_its_request(self, served: Served, run: Run) -> None:
        """A generator may read the request before it yields."""

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in (b"one ", b"two"):
                await asyncio.sleep(SHORT / 10)
                yield chunk

        async def app(request: AsyncRequest) -> AsyncResponse:
            async def body() -> AsyncIterator[bytes]:
                yield await request.read()

            return AsyncResponse(200, body())

        async def test() -> None:
            async with served(app) as transport:
                response = await transport.send(AsyncRequest("M.x", chunks()), LONG)
                assert await whole(response) == b"one two"

        run(test())

    def test_a_response_begins_with_its_first_bytes(self, served: Served, run: Run) -> None:
        """If the time-out expires before any byte of the body, ``answered`` is false."""

        async def body() -> AsyncIterator[bytes]:
            await asyncio.sleep(1e6)
            yield b"late"

        async def app(_: AsyncRequest) -> AsyncResponse:
            return AsyncResponse(200, body())

        async def test() -> None:
            async with served(app) as transport:
                with pytest.raises(TransportTimeoutError) as caught:
                    await whole(await transport.send(AsyncRequest("M.x", b"{}"), SHORT))
                assert not caught.value.answered

        run(test())

    @pytest.mark.parametrize("read", [0, 4])
    def test_a_response_may_come_before_the_end_of_its_request(
        self, read: int, served: Served, run: Run
    ) -> None:
        """A response ends the sending of the request, also of an iterable that waits for ever."""
        left: list[str] = []

        async def chunks() -> AsyncIterator[bytes]:
            try:
                yield b"some"
                await asyncio.sleep(1e6)
            finally:
                left.append("left")

        async def app(request: AsyncRequest) -> AsyncResponse:
            if read:
                assert await request.read(read) == b"some"
            return AsyncResponse(413, b"too much")

        async def test() -> None:
            async with served(app) as transport:
                request = AsyncRequest("M.x", chunks())
                response = await transport.send(request, LONG)
                assert left == ["left"]
                assert (response.status, await whole(response)) == (413, b"too much")

        run(test())

    def test_the_time_out_bounds_a_request_that_is_not_read(self, served: Served, run: Run) -> None:
        """The time-out also ends a call whose app leaves the body of the request unread."""

        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1 << 16)

        async def app(_: AsyncRequest) -> AsyncResponse:
            await asyncio.sleep(1e6)
            raise AssertionError("the host has left")

        async def test() -> None:
            async with served(app) as transport:
                with pytest.raises(TransportTimeoutError) as caught:
                    await transport.send(AsyncRequest("M.x", chunks()), SHORT)
                assert not caught.value.answered

        run(test())
