"""The plugin that ``moby-plugins demo`` serves: volumes that are directories."""

from collections.abc import Mapping
from pathlib import Path

from moby_plugins.subsystems import Volume, VolumeDriver


class Shelf(VolumeDriver):
    """Each volume is a directory in the current one. Mounting takes nothing but telling where."""

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        Path(name).mkdir(exist_ok=True)

    def remove(self, name: str) -> None:
        Path(name).rmdir()

    def mount(self, name: str, id: str) -> str:
        return str(Path(name).resolve(strict=True))

    def unmount(self, name: str, id: str) -> None:
        Path(name).resolve(strict=True)

    def list(self) -> tuple[Volume, ...]:
        return tuple(Volume(path.name, str(path)) for path in sorted(Path.cwd().iterdir()))

    def get(self, name: str) -> Volume | None:
        return next((volume for volume in self.list() if volume.name == name), None)
