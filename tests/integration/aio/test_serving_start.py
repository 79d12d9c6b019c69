"""How ``aio.serve_unix`` and ``serve_tcp`` start, and end, beside other work of the program."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.aio import AsyncPluginApp, new_client, serve_tcp, serve_unix
from moby_plugins.app.aio.hosting import opened_in_thread
from moby_plugins.app.listening import Opened
from moby_plugins.serving import MetricsServer
from tests.integration.aio.loops import run
from tests.integration.descriptors import descriptors, soon
from tests.integration.loops import LOOPS
from tests.integration.serving.async_plugins import AsyncEchoes

pytestmark = pytest.mark.parametrize("loop", LOOPS)
WAIT = 10.0


@asynccontextmanager
async def busy_executor() -> AsyncIterator[None]:
    """All threads of the loop's executor wait until the end."""
    end = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))
    busy = [loop.run_in_executor(None, end.wait, WAIT) for _ in range(4)]
    try:
        yield
        assert not any(each.done() for each in busy)
    finally:
        end.set()
        await asyncio.gather(*busy)


def starts(path: Path) -> dict[str, Callable[..., Any]]:
    """Each way to serve the same plugin at a path."""
    app = AsyncPluginApp(AsyncEchoes())
    return {
        "unix": partial(serve_unix, app, "echo", sockets_path=str(path)),
        "tcp": partial(serve_tcp, app, "echo", specs_path=str(path)),
    }


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
@pytest.mark.parametrize("measured", [False, True], ids=["", "with metrics"])
def test_a_plugin_is_served_while_all_threads_of_the_executor_are_busy(
    loop: str, scheme: str, short_path: Path, *, measured: bool
) -> None:
    """Serving starts and ends without a thread of the loop's default executor."""

    async def main() -> None:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        options = {"metrics": MetricsServer("127.0.0.1:0")} if measured else {}
        async with busy_executor(), asyncio.timeout(WAIT / 2):
            serve = starts(short_path)[scheme]
            task = asyncio.ensure_future(serve(on_serving=ready.set_result, **options))
            async with new_client(await ready) as client:
                assert await client.call("Echo.Say", {"Text": "hello"}) == {"Said": "hello"}
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(loop, main())
    assert os.listdir(short_path) == []


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
def test_a_cancelled_start_does_not_wait_for_a_busy_executor(
    loop: str, scheme: str, short_path: Path
) -> None:
    """Whenever the start is cancelled, it ends at once and leaves no file and no descriptor."""

    async def main() -> None:
        await asyncio.sleep(0)
        before = descriptors()
        async with busy_executor(), asyncio.timeout(WAIT / 2):
            for turns in range(20):
                task = asyncio.ensure_future(starts(short_path)[scheme]())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert os.listdir(short_path) == []
        assert await asyncio.to_thread(soon, before) <= before

    run(loop, main())


def test_on_serving_may_be_a_coroutine_function(loop: str, short_path: Path) -> None:
    """The coroutine is awaited while calls are served; an exception in it ends the serving."""
    said: list[object] = []

    async def calls(address: str) -> None:
        async with new_client(address) as client:
            said.append(await client.call("Echo.Say", {"Text": "hello"}))
        raise LookupError("mine")

    async def main() -> None:
        with pytest.raises(LookupError, match="mine"):
            await starts(short_path)["unix"](on_serving=calls)

    run(loop, main())
    assert said == [{"Said": "hello"}]
    assert os.listdir(short_path) == []


def test_a_task_that_on_serving_returns_is_left_alone(loop: str, short_path: Path) -> None:
    """Serving neither waits for the task nor cancels it."""
    started: list[asyncio.Task[None]] = []

    async def main() -> None:
        def starting(_: str) -> object:
            started.append(asyncio.ensure_future(asyncio.sleep(0.2)))
            return started[0]

        task = asyncio.ensure_future(starts(short_path)["unix"](on_serving=starting))
        while not started:  # noqa: ASYNC110  a thread opens the socket
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await started[0]

    run(loop, main())


def test_an_on_serving_that_is_not_callable_is_a_type_error(loop: str, short_path: Path) -> None:
    """``on_serving=5`` is refused before a socket is opened."""
    with pytest.raises(TypeError, match=r"^on_serving must be a function of an address, not 5$"):
        run(loop, starts(short_path)["unix"](on_serving=5))
    assert os.listdir(short_path) == []


class Held:
    """Opens a socket slowly, and cannot be interrupted, as where a name server is slow."""

    def __init__(self) -> None:
        self.begun, self.may_go_on, self.ended = (threading.Event() for _ in range(3))
        self.sock = socket.socket()

    def __call__(self, _: Callable[[], bool]) -> Opened:
        self.begun.set()
        assert self.may_go_on.wait(WAIT)
        return Opened(self.sock, "tcp://here:1", self.ended.set)


@pytest.mark.parametrize("late", [False, True], ids=["while it is waited for", "later"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_socket_that_a_cancelled_start_has_opened_is_closed(
    loop: str, times: int, *, late: bool
) -> None:
    """If opening takes too long, its thread closes the socket later, even after the loop ended."""
    held = Held()

    async def main() -> None:
        task = asyncio.ensure_future(opened_in_thread(held, 0.1 if late else WAIT))
        assert await asyncio.to_thread(held.begun.wait, WAIT)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        if not late:
            held.may_go_on.set()
        async with asyncio.timeout(WAIT / 2):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert held.ended.is_set() is not late

    run(loop, main())
    held.may_go_on.set()
    assert held.ended.wait(WAIT)
    deadline = time.monotonic() + WAIT
    while held.sock.fileno() != -1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held.sock.fileno() == -1
