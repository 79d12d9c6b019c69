"""A plugin that is served in a task group of anyio, whose cancel scopes cancel again and again."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from moby_plugins import RetryPolicy, StatusError, TransportError
from moby_plugins.aio import AsyncPluginApp, new_client, serve_unix
from tests.integration.serving.async_plugins import AsyncVolumes
from tests.integration.serving.plugins import WAIT

Serve: TypeAlias = Callable[[AsyncPluginApp, str], Coroutine[Any, Any, None]]
MOUNT = {"Name": "a", "ID": "b"}
ONCE = RetryPolicy(budget=0)


async def shielded(app: AsyncPluginApp, sockets: str) -> None:
    """Serve as the page on asynchronous plugins recommends it."""
    serving = asyncio.create_task(serve_unix(app, "v", sockets_path=sockets, drain=WAIT))
    try:
        await asyncio.wait([serving])
    finally:
        serving.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([serving])
    await serving


async def plain(app: AsyncPluginApp, sockets: str) -> None:
    """Serve in the task of the task group itself."""
    await serve_unix(app, "v", sockets_path=sockets, drain=WAIT)


@pytest.mark.parametrize("serve", [shielded, plain])
def test_a_running_call_is_completed_only_if_serving_is_shielded_from_cancel_scopes(
    serve: Serve, short_path: Path
) -> None:
    """In a task of an anyio group the call is cut off; in both cases the socket is removed."""
    volumes = AsyncVolumes()
    came: list[object] = []

    async def mount() -> None:
        async with new_client(f"unix://{short_path}/v.sock") as client:
            try:
                came.append(await client.call("VolumeDriver.Mount", MOUNT, retry=ONCE))
            except (TransportError, StatusError) as error:
                came.append(error)

    async def end() -> None:
        await anyio.sleep(0.1)
        volumes.may_end.set()

    async def main() -> None:
        with anyio.fail_after(WAIT):
            async with anyio.create_task_group() as calls, anyio.create_task_group() as group:
                group.start_soon(serve, AsyncPluginApp(volumes), str(short_path))
                while not (short_path / "v.sock").exists():  # noqa: ASYNC110  it appears in the file system
                    await anyio.sleep(0.01)
                calls.start_soon(mount)
                await asyncio.to_thread(volumes.mounting.acquire)
                group.cancel_scope.cancel()
                calls.start_soon(end)

    anyio.run(main)
    assert not list(short_path.iterdir())
    assert [isinstance(each, Exception) for each in came] == [serve is plain]
