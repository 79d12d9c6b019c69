"""A volume driver in which each volume is a directory, with an optional quota.

    python volume_plugin.py /run/docker/plugins/shelf.sock /var/lib/shelf
    docker volume create -d shelf -o size=10M books

``volume_plugin:app`` is the same for ``moby-plugins serve``, ``unit`` and ``package``.

The quota is checked when mounting: a volume that exceeds it cannot be mounted again.
"""

import argparse
import logging
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from moby_plugins.serving import PluginApp, serve_unix
from moby_plugins.subsystems import Volume, VolumeDriver


class Shelf(VolumeDriver):
    """Each volume is ``root/NAME/data``, its quota in bytes in ``root/NAME/quota``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Counted, because an engine may mount the same name and ID several times.
        self._mounts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        options = dict(opts or {})
        quota = bytes_of(options.pop("size")) if "size" in options else None
        if options:
            raise ValueError(f"no option {min(options)!r}; there is size=10M")
        place = self._place(name)
        place.mkdir(exist_ok=True)
        if quota is not None:
            (place / "quota").write_text(str(quota))
        (place / "data").mkdir(exist_ok=True)

    def remove(self, name: str) -> None:
        with self._lock:
            if self._mounted(name):
                raise ValueError(f"volume {name} is in use")
            shutil.rmtree(Path(self.path(name)).parent)

    def path(self, name: str) -> str:
        if not (data := self._place(name) / "data").is_dir():
            raise ValueError(f"no such volume: {name}")
        return str(data)

    def mount(self, name: str, id: str) -> str:
        with self._lock:
            data, quota = self.path(name), self._quota(name)
            if quota is not None and (used := usage(data)) > quota:
                raise ValueError(f"volume {name} is over its quota: {used} of {quota} bytes")
            self._mounts[name, id] += 1
            return data

    def unmount(self, name: str, id: str) -> None:
        with self._lock:
            # After a restart of this plugin the count is 0.
            self._mounts[name, id] = max(self._mounts[name, id] - 1, 0)

    def list(self) -> tuple[Volume, ...]:
        found = sorted(self._root.glob("*/data"))
        return tuple(Volume(data.parent.name, str(data)) for data in found)

    def get(self, name: str) -> Volume | None:
        if not (data := self._place(name) / "data").is_dir():
            return None
        status = {"Used": usage(data), "Quota": self._quota(name), "Mounts": self._mounted(name)}
        return Volume(name, str(data), status=status)

    def _place(self, name: str) -> Path:
        if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
            raise ValueError(f"not a volume's name: {name!r}")
        return self._root / name

    def _quota(self, name: str) -> int | None:
        quota = self._place(name) / "quota"
        return int(quota.read_text()) if quota.exists() else None

    def _mounted(self, name: str) -> int:
        # Iterate over a copy, since other threads may change the counts.
        return sum(count for (mounted, _), count in dict(self._mounts).items() if mounted == name)


def bytes_of(size: str) -> int:
    """Return a size such as ``10M`` in bytes."""
    given = re.fullmatch(r"([0-9]+)([KMGT]?)", size.upper())
    if given is None:
        raise ValueError(f"not a size: {size!r}; 10M is one")
    return int(given[1]) << 10 * " KMGT".index(given[2] or " ")


def usage(directory: str | Path) -> int:
    """Return the bytes in all files under ``directory``; files may disappear at any time."""
    total = 0
    for parent, _, files in os.walk(directory):
        for file in files:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, file)).st_size
    return total


app = PluginApp(Shelf(Path("/var/lib/shelf")))

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Volumes as directories, with quotas.")
    parser.add_argument("socket", help="the plugin's name, or the path of its socket")
    parser.add_argument("directory", type=Path, help="where the volumes are")
    arguments = parser.parse_args()
    logging.basicConfig()
    serve_unix(PluginApp(Shelf(arguments.directory)), arguments.socket)
