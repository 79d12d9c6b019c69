"""The asynchronous example log driver, called in memory by a host's proxy (protocol.md B6)."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from examples.async_log_plugin import AsyncJsonLines
from moby_plugins.aio import AsyncLogDriver, AsyncPluginApp, new_client
from moby_plugins.subsystems import LogEntry, LogInfo, PartialLog, ReadConfig, encode_frame
from moby_plugins.testing import AsyncMemoryTransport

INFO = LogInfo(container_id="c0ffee")


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[int]:
    """What an engine makes: a FIFO ``out`` in ``tmp_path``, open for both."""
    os.mkfifo(tmp_path / "out")
    descriptor = os.open(tmp_path / "out", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def with_driver(root: Path, use: Callable[[AsyncLogDriver], Awaitable[None]]) -> None:
    """Have ``use`` call a driver that writes to ``root``."""

    async def main() -> None:
        memory = AsyncMemoryTransport(AsyncPluginApp(AsyncJsonLines(root)))
        async with new_client("unix:///l.sock", connect=memory.connect) as client:
            await use(AsyncLogDriver(client))

    asyncio.run(main())


def line(text: bytes, number: int = 1) -> LogEntry:
    """A line as it is given back."""
    return LogEntry("stdout", number, text + b"\n")


def test_logged_lines_are_read_back(tmp_path: Path, fifo: int) -> None:
    """All lines can be read, or the last ones; the pieces of a partial line are joined."""

    async def use(driver: AsyncLogDriver) -> None:
        assert (await driver.capabilities()).read_logs
        await driver.start_logging(str(tmp_path / "out"), INFO)
        for entry in (
            LogEntry("stdout", 1, b"one"),
            LogEntry("stdout", 2, b"tw", True, PartialLog(False, "p", 1)),
            LogEntry("stdout", 2, b"o", True, PartialLog(True, "p", 2)),
        ):
            os.write(fifo, encode_frame(entry))
        await driver.stop_logging(str(tmp_path / "out"))
        all_ = [entry async for entry in driver.read_logs(INFO, ReadConfig())]
        assert all_ == [line(b"one"), line(b"two", 2)]
        last = [entry async for entry in driver.read_logs(INFO, ReadConfig(tail=1))]
        assert last == [line(b"two", 2)]

    with_driver(tmp_path, use)


def test_a_reader_that_follows_gets_each_line_as_it_is_logged(tmp_path: Path, fifo: int) -> None:
    """The response ends when the container's logging is stopped."""

    async def use(driver: AsyncLogDriver) -> None:
        await driver.start_logging(str(tmp_path / "out"), INFO)
        entries = driver.read_logs(INFO, ReadConfig(follow=True))
        os.write(fifo, encode_frame(LogEntry("stdout", 1, b"early")))
        assert await anext(entries) == line(b"early")
        os.write(fifo, encode_frame(LogEntry("stdout", 1, b"late")))
        assert await anext(entries) == line(b"late")
        await driver.stop_logging(str(tmp_path / "out"))
        assert [entry async for entry in entries] == []

    with_driver(tmp_path, use)
