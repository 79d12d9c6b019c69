"""A volume driver that really mounts: a tmpfs for each volume.

``python mounting_plugin.py SOCKET DIRECTORY``. It needs CAP_SYS_ADMIN, and an engine that
propagates what is mounted in the directory. A volume called "refused" cannot be created.
"""

import ctypes
import os
import sys
from collections.abc import Mapping

from moby_plugins.serving import PluginApp, serve_unix
from moby_plugins.subsystems import Volume, VolumeDriver

_LIBC = ctypes.CDLL(None, use_errno=True)


class Mounting(VolumeDriver):
    """Volumes below ``root``; each is mounted once, until it is removed."""

    def __init__(self, root: str) -> None:
        self._root = root

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        if name == "refused":
            raise ValueError("x" * 100_000)
        os.makedirs(f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        path = f"{self._root}/{name}"
        if os.path.ismount(path):
            _LIBC.umount2(path.encode(), 0)
        os.rmdir(path)

    def mount(self, name: str, id: str) -> str:
        path = f"{self._root}/{name}"
        if not os.path.ismount(path) and _LIBC.mount(b"none", path.encode(), b"tmpfs", 0, None):
            number = ctypes.get_errno()
            raise OSError(number, f"mount: {os.strerror(number)}")
        return path

    def unmount(self, name: str, id: str) -> None:
        pass

    def path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def get(self, name: str) -> Volume | None:
        path = f"{self._root}/{name}"
        return Volume(name, path) if os.path.isdir(path) else None

    def list(self) -> tuple[Volume, ...]:
        return tuple(Volume(name, self.path(name)) for name in sorted(os.listdir(self._root)))


if __name__ == "__main__":
    os.makedirs(sys.argv[2], exist_ok=True)
    serve_unix(PluginApp(Mounting(sys.argv[2])), sys.argv[1])
