"""The main job on real input: a plugin in a process of its own, found, activated and called.

Needs no engine, no root and no fixed path: all is in a temporary directory.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from moby_plugins import Settings, StatusError, new_local_registry
from moby_plugins.subsystems import VolumeDriver

PLUGIN = Path(__file__).with_name("volume_plugin.py")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="moby-plugins-") as directory:
        sockets, volumes = Path(directory, "plugins"), Path(directory, "volumes")
        sockets.mkdir()
        volumes.mkdir()
        command = [sys.executable, str(PLUGIN), str(sockets / "shelf.sock"), str(volumes)]
        process = subprocess.Popen(command)  # noqa: S603  our own file, no shell
        try:
            use(Settings(sockets_path=str(sockets), specs_paths=()))
        finally:
            process.terminate()
            process.wait()


def use(settings: Settings) -> None:
    """Everything a host does with a volume plugin, one line each."""
    with new_local_registry(settings) as registry:
        registry.handle("VolumeDriver", lambda name, _: step("handle", f"{name} is active"))
        # The process is still starting: get waits until its socket is there.
        plugin = registry.get("shelf", "VolumeDriver")
        step("scan", registry.scan())
        step("get", f"{plugin.name} at {plugin.addr} implements {plugin.manifest.implements}")

        driver = VolumeDriver(plugin.client)
        step("create", driver.create("books", {"size": "10M"}))
        step("list", driver.list())
        step("mount", driver.mount("books", id="reader-1"))
        step("get", driver.get("books"))
        step("unmount", driver.unmount("books", id="reader-1"))
        step("remove", driver.remove("books"))
        step("get", driver.get("books"))
        try:
            plugin.client.call("VolumeDriver.Shrink", {"Name": "books"})
        except StatusError as error:
            step("shrink", f"{type(error).__name__} {error.status}: {error}")


def step(name: str, result: object) -> None:
    print(f"{name:>8}  {result}")


if __name__ == "__main__":
    main()
