"""A plugin of the examples, packaged by the documented commands, under a real engine."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import EXAMPLES
from tests.integration.python_root import python_root

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", "ldd", root=True)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A root file system with Python and this library."""
    path = Path(tempfile.mkdtemp(prefix="mp-"))
    python_root(path / "root")
    yield path / "root"
    shutil.rmtree(path)


def moby_plugins(*words: str, cwd: Path, stdin: int = subprocess.DEVNULL) -> str:
    """What the command printed; a failure is the test's."""
    done = subprocess.run(
        [sys.executable, "-m", "moby_plugins", *words],
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def package(name: str, rootfs: str, cwd: Path, *words: str, stdin: int = subprocess.DEVNULL) -> str:
    """Package the example volume driver."""
    app = ("volume_plugin:app", "--name", name, "--rootfs", rootfs)
    mount = ("--propagated-mount", "/var/lib/shelf")
    source = ("--source", str(EXAMPLES / "volume_plugin.py"))
    return moby_plugins("package", *app, *mount, *source, *words, cwd=cwd, stdin=stdin)


def test_the_example_is_packaged_created_enabled_and_mounted(
    engine: Engine, root: Path, short_path: Path
) -> None:
    """Each step is one command; a container's file is below the plugin's propagated mount."""
    address = f"unix://{engine.directory}/docker.sock"

    told = package("mp/shelf", str(root), short_path, "--create", "--engine", address)
    assert told == "nothing is wrong\n"
    began = time.monotonic()
    engine.docker("plugin", "enable", "mp/shelf")
    took = time.monotonic() - began
    engine.docker("volume", "create", "-d", "mp/shelf", "books")
    engine.run("-v", "books:/data", IMAGE, "sh", "-c", "echo it works > /data/note")

    id_ = engine.docker("plugin", "inspect", "-f", "{{.ID}}", "mp/shelf")
    mount = engine.directory / "data" / "plugins" / id_ / "propagated-mount"
    assert (mount / "books" / "data" / "note").read_text() == "it works\n"
    assert engine.run("-v", "books:/data", IMAGE, "cat", "/data/note") == "it works"
    # An engine dials after half a second, then every three: bytecode is what makes the first do.
    assert took < 12

    again = subprocess.run(
        [
            *(sys.executable, "-m", "moby_plugins", "package", "--check", "shelf"),
            *("--name", "mp/shelf", "--create", "--engine", address),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=short_path,
    )
    assert (again.returncode, "docker plugin rm" in again.stderr) == (7, True), again.stderr
    engine.docker("volume", "rm", "books")
    engine.docker("plugin", "rm", "-f", "mp/shelf")


def test_an_exported_container_can_be_the_root_file_system_of_a_plugin(
    engine: Engine, root: Path, short_path: Path
) -> None:
    """``docker export CONTAINER | moby-plugins package … --rootfs -`` makes a plugin that works."""
    image = subprocess.run(
        ["/usr/bin/env", "tar", "-C", str(root), "-c", "."], capture_output=True, check=True
    )
    engine.docker("import", "-", "mp-python", stdin=image.stdout)
    engine.docker("create", "--name", "exported", "--network", "none", "mp-python", "true")

    with engine.start_docker("export", "exported") as export:
        assert export.stdout is not None
        told = package("exported", "-", short_path, stdin=export.stdout.fileno())
        export.communicate(timeout=60)
    assert told == "nothing is wrong\n"
    engine.docker("plugin", "create", "exported", str(short_path / "exported"))
    engine.docker("plugin", "enable", "exported")
    engine.docker("volume", "create", "-d", "exported", "pages")

    assert engine.inspect("volume", "pages")["Driver"] == "exported:latest"
    engine.docker("volume", "rm", "pages")
    engine.docker("plugin", "rm", "-f", "exported")
    engine.docker("rm", "exported")
    engine.docker("rmi", "mp-python")


def test_long_output_and_orphaned_processes_do_not_stop_a_managed_plugin(
    engine: Engine, root: Path, short_path: Path
) -> None:
    """Lines of 200 kB are cut, so that the engine reads on, and orphans do not become zombies."""
    (short_path / "loud.py").write_text(LOUD)
    words = ("package", "loud:Loud", "--name", "loud", "--rootfs", str(root), "--create")
    where = ("--propagated-mount", "/v", "--engine", f"unix://{engine.directory}/docker.sock")
    moby_plugins(*words, *where, cwd=short_path)
    engine.docker("plugin", "enable", "loud")

    for number in range(3):
        engine.docker("volume", "create", "-d", "loud", f"v{number}")

    assert engine.inspect("volume", "v0")["Status"] == {"zombies": 0, "status": 7}
    logged = engine.log(1000)
    assert f"level=info msg={'x' * 4000}" in logged
    assert f"level=error msg={'y' * 4000}" in logged
    engine.docker("plugin", "rm", "-f", "loud")


LOUD = """
import os
import subprocess
import sys
import time
from pathlib import Path
from moby_plugins.subsystems import Volume, VolumeDriver


class Loud(VolumeDriver):
    made = set()

    def create(self, name, opts=None):
        self.made.add(name)
        print("x" * 200_000)
        print("y" * 200_000, file=sys.stderr)
        # A daemon: its parent ends at once.
        subprocess.run([sys.executable, "-c", "import os; os.fork() or os._exit(0)"])

    def get(self, name):
        if name not in self.made:
            return None
        time.sleep(0.5)
        ended = subprocess.run([sys.executable, "-c", "import os; os._exit(7)"]).returncode
        found = [stat for stat in Path("/proc").glob("[0-9]*/stat") if " Z " in stat.read_text()]
        return Volume(name, "/v", status={"zombies": len(found), "status": ended})

    def list(self):
        return ()

    def remove(self, name):
        pass

    def mount(self, name, id):
        return "/v"

    def unmount(self, name, id):
        pass
"""
