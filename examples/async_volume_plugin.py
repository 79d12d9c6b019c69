"""A volume driver for asyncio, in which each volume is a directory.

    python async_volume_plugin.py /run/docker/plugins/ashelf.sock /var/lib/ashelf
    docker volume create -d ashelf books

``async_volume_plugin:app`` is the same for ``moby-plugins serve``, ``unit`` and ``package``.

Disk access runs in threads, so that other calls are served in the meantime. If its host closes the
connection, a call is cancelled at an ``await``, so there is none inside the counting of mounts.
"""

import argparse
import asyncio
import re
import shutil
import signal
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver, serve_unix
from moby_plugins.subsystems import Volume, VolumeCapabilities


class AsyncShelf(AsyncVolumeDriver):
    """Each volume is the directory ``root/NAME``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Counted, because an engine may mount the same name and ID several times.
        self._mounts: Counter[tuple[str, str]] = Counter()

    async def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        if opts:
            raise ValueError(f"no option {min(opts)!r}; there are none")
        await asyncio.to_thread(self._place(name).mkdir, exist_ok=True)

    async def remove(self, name: str) -> None:
        if self._mounted(name):
            raise ValueError(f"volume {name} is in use")
        await asyncio.to_thread(shutil.rmtree, await self.path(name))

    async def path(self, name: str) -> str:
        place = self._place(name)
        if not await asyncio.to_thread(place.is_dir):
            raise ValueError(f"no such volume: {name}")
        return str(place)

    async def mount(self, name: str, id: str) -> str:
        path = await self.path(name)
        self._mounts[name, id] += 1
        return path

    async def unmount(self, name: str, id: str) -> None:
        # After a restart of this plugin the count is 0.
        self._mounts[name, id] = max(self._mounts[name, id] - 1, 0)

    async def list(self) -> tuple[Volume, ...]:
        found = await asyncio.to_thread(lambda: sorted(self._root.iterdir()))
        return tuple(Volume(path.name, str(path)) for path in found)

    async def get(self, name: str) -> Volume | None:
        place = self._place(name)
        if not await asyncio.to_thread(place.is_dir):
            return None
        return Volume(name, str(place), status={"Mounts": self._mounted(name)})

    async def capabilities(self) -> VolumeCapabilities:
        return VolumeCapabilities("local")

    def _place(self, name: str) -> Path:
        if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
            raise ValueError(f"not a volume's name: {name!r}")
        return self._root / name

    def _mounted(self, name: str) -> int:
        return sum(count for (mounted, _), count in self._mounts.items() if mounted == name)


app = AsyncPluginApp(AsyncShelf(Path("/var/lib/ashelf")))


async def serve(socket: str, directory: Path) -> None:
    """Serve until SIGTERM, which cancels the task."""
    serving = asyncio.ensure_future(serve_unix(AsyncPluginApp(AsyncShelf(directory)), socket))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Volumes as directories, on an event loop.")
    parser.add_argument("socket", help="the plugin's name, or the path of its socket")
    parser.add_argument("directory", type=Path, help="where the volumes are")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.socket, arguments.directory))
