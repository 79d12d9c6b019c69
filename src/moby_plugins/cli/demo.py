"""The command ``moby-plugins demo``, which finds, activates and calls a plugin of its own."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from moby_plugins import (
    Cancellation,
    Settings,
    StatusError,
    WaitCancelledError,
    new_local_registry,
)
from moby_plugins.cli.interrupts import interrupted_by_signals
from moby_plugins.cli.options import example
from moby_plugins.subsystems import Volume, VolumeDriver

PLUGIN = "moby_plugins.cli.demo:Shelf"


class Shelf(VolumeDriver):
    """A volume driver whose volumes are directories; mounting only returns the path."""

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


@click.command(epilog=example("moby-plugins demo"))
def demo() -> None:
    """Find, activate and call a plugin that runs in a process of its own.

    It needs no engine, no root and no network, and leaves nothing behind: all
    is in a temporary directory.
    """
    ended = Cancellation()
    with (
        interrupted_by_signals(),
        _served_plugin(ended) as settings,
        new_local_registry(settings) as registry,
    ):
        registry.handle("VolumeDriver", lambda name, _: _step("handle", f"{name} is active"))
        # The process is still starting; ``get`` waits until its socket exists.
        try:
            plugin = registry.get("shelf", "VolumeDriver", cancel=ended)
        except WaitCancelledError as error:
            raise click.ClickException("the plugin's process has ended") from error
        _step("scan", registry.scan())
        _step("get", f"{plugin.name} at {plugin.addr} implements {plugin.manifest.implements}")
        _use(VolumeDriver(plugin.client))


@contextmanager
def _served_plugin(ended: Cancellation) -> Iterator[Settings]:
    """Yield the settings of a running plugin, and set ``ended`` when its process has ended."""
    with tempfile.TemporaryDirectory(prefix="moby-plugins-") as directory:
        sockets, volumes = Path(directory, "plugins"), Path(directory, "volumes")
        sockets.mkdir()
        volumes.mkdir()
        arguments = ["serve", PLUGIN, "--name", str(sockets / "shelf.sock")]
        _step("$", " ".join(["moby-plugins", *arguments]))
        command = [sys.executable, "-m", "moby_plugins", *arguments]
        process = subprocess.Popen(command, cwd=volumes)  # noqa: S603  our own, no shell

        def wait() -> None:
            process.wait()
            ended.set()

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        try:
            yield Settings(sockets_path=str(sockets), specs_paths=())
        finally:
            process.terminate()
            waiting.join()


def _use(driver: VolumeDriver) -> None:
    """Call methods of a volume plugin as a host does, and print a line for each call."""
    _step("create", driver.create("books"))
    _step("list", driver.list())
    _step("mount", driver.mount("books", id="reader-1"))
    _step("get", driver.get("books"))
    _step("unmount", driver.unmount("books", id="reader-1"))
    _step("remove", driver.remove("books"))
    _step("get", driver.get("books"))
    try:
        driver.client.call("VolumeDriver.Shrink", {"Name": "books"})
    except StatusError as error:
        _step("shrink", f"{type(error).__name__} {error.status}: {error}")


def _step(name: str, result: object) -> None:
    print(f"{name:>8}  {result}", flush=True)
