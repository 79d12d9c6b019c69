"""An exception in a task or callback of an asynchronous plugin ends neither server nor process."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver
from moby_plugins.serving import plugin_server_unix
from moby_plugins.subsystems import Volume
from tests.integration.serving.plugins import answer, dial, post


async def exits() -> None:
    """End the program, as a library might that was not written for servers."""
    await asyncio.sleep(0.01)
    sys.exit("mkfs: bad option")


def interrupted() -> None:
    """What Ctrl-C raises."""
    raise KeyboardInterrupt


async def in_wait_for() -> None:
    """In the task of a time-out."""
    await asyncio.wait_for(exits(), 5)


async def in_a_group() -> None:
    """In a task of a group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(exits())


async def gathered() -> None:
    """In a task that is gathered, with its exception."""
    await asyncio.gather(exits(), return_exceptions=True)


async def in_the_background() -> None:
    """In a task that is not awaited."""
    task = asyncio.create_task(exits())
    await asyncio.sleep(0.05)
    assert task.done()


async def in_a_callback() -> None:
    """In a callback of the loop."""
    asyncio.get_running_loop().call_soon(sys.exit, 0)
    await asyncio.sleep(0.05)


async def interrupted_in_a_callback() -> None:
    """The other exception that ends a loop."""
    asyncio.get_running_loop().call_soon(interrupted)
    await asyncio.sleep(0.05)


async def cancelled_by_itself() -> None:
    """In the task of the call itself."""
    await cancelled_in_the_end()
    await asyncio.sleep(0)


async def cancelled_in_the_end() -> None:
    """Before the response is sent."""
    own = asyncio.current_task()
    assert own is not None
    own.cancel()


DEEDS: dict[Callable[[], Coroutine[Any, Any, None]], bytes] = {
    in_wait_for: b"HTTP/1.1 500",
    in_a_group: b"HTTP/1.1 500",
    gathered: b"HTTP/1.1 200",
    in_the_background: b"HTTP/1.1 200",
    in_a_callback: b"HTTP/1.1 200",
    interrupted_in_a_callback: b"HTTP/1.1 200",
    cancelled_by_itself: b"HTTP/1.1 500",
    cancelled_in_the_end: b"HTTP/1.1 200",
}


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_a_server_goes_on_after_a_task_or_callback_of_a_plugin_raises(
    deed: Callable[[], Coroutine[Any, Any, None]],
    short_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call and the next ones, also on another connection, get a response; errors are logged."""

    class Volumes(AsyncVolumeDriver):
        async def create(self, name: str, opts: Any = None) -> None:
            await deed()

        async def list(self) -> Sequence[Volume]:
            return [Volume("ok")]

    addr = f"unix://{short_path}/p.sock"
    create, list_ = post("VolumeDriver.Create", b'{"Name":"a"}'), post("VolumeDriver.List", b"")
    with (
        caplog.at_level(logging.ERROR),
        plugin_server_unix(AsyncPluginApp(Volumes()), str(short_path / "p.sock")),
    ):
        with dial(addr) as sock:
            sock.sendall(create)
            assert answer(sock).startswith(DEEDS[deed])
            sock.sendall(list_)
            assert b'"ok"' in answer(sock)
        with dial(addr) as sock:
            sock.sendall(list_)
            assert b'"ok"' in answer(sock)

    logged = [record for record in caplog.records if record.name == "moby_plugins"]
    assert bool(logged) == (deed is not cancelled_in_the_end)
