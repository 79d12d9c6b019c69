"""The plugins of ``plugins.py``, for an event loop: what tests of both ends use."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping

from moby_plugins.aio import AsyncGraphDriver, AsyncSubsystem, AsyncVolumeDriver, awaited
from moby_plugins.app.aio.bodies import AsyncData
from moby_plugins.subsystems import Volume
from tests.integration.serving.plugins import Echo

# Seconds between looks at what a test decides in another thread.
LOOK = 0.01


class AsyncVolumes(AsyncVolumeDriver):
    """Volumes in memory; ``mount`` waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.mounting = threading.Semaphore(0)
        self.may_end = threading.Event()

    async def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        self.names.append(name)

    async def list(self) -> tuple[Volume, ...]:
        return tuple(map(Volume, self.names))

    async def mount(self, name: str, id: str) -> str:
        self.mounting.release()
        while not self.may_end.is_set():  # noqa: ASYNC110  another thread's event
            await asyncio.sleep(LOOK)
        return f"/mnt/{name}"

    async def remove(self, name: str) -> None:
        raise LookupError(f"no volume {name}")


class AsyncLayers(AsyncGraphDriver):
    """Layers of nothing but a size; ``diff`` of "endless" ends when its host has gone."""

    def __init__(self) -> None:
        super().__init__()
        self.left = threading.Event()

    async def diff(self, id: str, parent: str = "") -> AsyncIterator[bytes]:
        try:
            yield b"first"
            while id == "endless":
                yield b"more" * 1024
                await asyncio.sleep(0)
            if id == "broken":
                raise OSError("disk error")
            yield b"last"
        finally:
            self.left.set()

    async def apply_diff(self, id: str, parent: str, archive: AsyncData) -> int:
        assert not hasattr(archive, "read")
        if isinstance(archive, bytes):
            return len(archive)
        assert isinstance(archive, AsyncIterator)
        return sum([len(part) async for part in archive])


class AsyncEcho(AsyncSubsystem):
    """A subsystem of one's own, for what needs no volume."""

    say = awaited(Echo.say)


class AsyncEchoes(AsyncEcho):
    """Says the same again, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    async def say(self, text: str) -> str:
        self.said.append(text)
        return text
