"""The asynchronous example volume driver, called in memory by a host's proxy (protocol.md B2)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from examples.async_volume_plugin import AsyncShelf
from moby_plugins import StatusError
from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver, new_client
from moby_plugins.subsystems import Volume
from moby_plugins.testing import AsyncMemoryTransport


def with_driver(root: Path, use: Callable[[AsyncVolumeDriver], Awaitable[None]]) -> None:
    """Have ``use`` call a shelf in ``root``."""

    async def main() -> None:
        memory = AsyncMemoryTransport(AsyncPluginApp(AsyncShelf(root)))
        async with new_client("unix:///s.sock", connect=memory.connect) as client:
            await use(AsyncVolumeDriver(client))

    asyncio.run(main())


def test_a_volume_is_a_directory(tmp_path: Path) -> None:
    """Create makes the directory, get, list and path return its path, and remove deletes it."""

    async def use(driver: AsyncVolumeDriver) -> None:
        await driver.create("books")
        place = str(tmp_path / "books")
        assert await driver.path("books") == place
        assert await driver.get("books") == Volume("books", place, status={"Mounts": 0})
        assert await driver.list() == (Volume("books", place),)
        await driver.remove("books")
        assert await driver.list() == ()
        assert await driver.get("books") is None

    with_driver(tmp_path, use)


def test_mounts_of_a_volume_are_counted(tmp_path: Path) -> None:
    """The same id may mount a volume several times; a mounted volume is not removed."""

    async def use(driver: AsyncVolumeDriver) -> None:
        await driver.create("books")
        await asyncio.gather(*(driver.mount("books", "7") for _ in range(3)))
        with pytest.raises(StatusError, match="volume books is in use"):
            await driver.remove("books")
        for _ in range(4):
            await driver.unmount("books", "7")
        await driver.remove("books")

    with_driver(tmp_path, use)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "é"])
def test_an_invalid_volume_name_and_an_unknown_option_are_refused(
    tmp_path: Path, name: str
) -> None:
    """Create fails with a message that says why, and makes no directory."""

    async def use(driver: AsyncVolumeDriver) -> None:
        with pytest.raises(StatusError, match="not a volume's name"):
            await driver.create(name)
        with pytest.raises(StatusError, match="no option 'colour'"):
            await driver.create("books", {"colour": "red"})

    with_driver(tmp_path, use)
    assert list(tmp_path.iterdir()) == []
