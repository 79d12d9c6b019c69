"""``serve_managed`` outside of an engine: what it does as process 1, and what it refuses."""

import subprocess
import sys

import pytest

from moby_plugins import InvalidPluginNameError, SettingsError
from moby_plugins.serving import serve_managed
from moby_plugins.subsystems import VolumeDriver
from tests.integration.components import requires

AS_PROCESS_1 = ("/usr/bin/env", "unshare", "--pid", "--fork", "--mount-proc")


class Shelves(VolumeDriver):
    """A driver with one method."""

    def list(self) -> tuple[()]:
        return ()


@pytest.mark.parametrize("name", ["a/b", "", ".."])
def test_a_name_that_cannot_be_that_of_a_socket_is_refused(name: str) -> None:
    """``InvalidPluginNameError`` is raised before anything is served."""
    with pytest.raises(InvalidPluginNameError):
        serve_managed(Shelves(), name)


def test_a_name_whose_socket_path_is_too_long_for_an_engine_is_refused() -> None:
    """The path inside the plugin is short enough, so no other check would find the mistake."""
    with pytest.raises(SettingsError, match="has 23 bytes, and an engine reaches at most 22"):
        serve_managed(Shelves(), "a" * 18)


def test_an_object_that_is_neither_an_app_nor_a_subsystem_is_refused() -> None:
    """The ``TypeError`` lists what can be served."""
    with pytest.raises(TypeError, match="neither a PluginApp"):
        serve_managed(3)  # type: ignore[arg-type]


# As process 1 of a container: a child of a child outlives its parent, then ends.
def run_as_process_1(program: str) -> "subprocess.CompletedProcess[str]":
    """What comes of a program that is process 1 among those that it sees."""
    alone = ["/usr/bin/env", "unshare", "--pid", "--fork", "--mount-proc"]
    return subprocess.run(
        [*alone, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


ORPHANS = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from moby_plugins.adapters.server.managed_process import leave_reaping_to_process_one

held = os.pipe()
leave_reaping_to_process_one()
assert os.getpid() != 1
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
subprocess.run([sys.executable, "-c", "import os, time; os.fork() or time.sleep(0.2)"])
assert subprocess.run([sys.executable, "-c", "import os; os._exit(7)"]).returncode == 7
for _ in range(100):
    stats = [each.read_text() for each in Path("/proc").glob("[0-9]*/stat")]
    if len(stats) == 2 and not any(" Z " in stat for stat in stats):
        break
    time.sleep(0.05)
else:
    raise AssertionError(stats)
# What the program opened is not held open by process 1.
assert len(os.listdir("/proc/1/fd")) == 3, os.listdir("/proc/1/fd")
os.kill(1, signal.SIGTERM)
for _ in range(100):
    if told:
        os._exit(9)
    time.sleep(0.05)
"""


@requires("unshare", "unshare", root=True)
def test_process_1_reaps_orphans_and_forwards_signals_to_the_program() -> None:
    """Process 1 leaves the program's own children alone, and has the program's exit status."""
    done = run_as_process_1(ORPHANS)

    assert (done.returncode, done.stdout + done.stderr) == (9, "")


THREADS = """
import threading, logging
from moby_plugins.adapters.server.managed_process import leave_reaping_to_process_one
import os
logging.basicConfig(format="%(message)s")
threading.Thread(target=threading.Event().wait, daemon=True).start()
leave_reaping_to_process_one()
os._exit(os.getpid())
"""


@requires("unshare", "unshare", root=True)
def test_a_program_with_threads_stays_process_1_itself_and_logs_a_warning() -> None:
    """Process 1 is separated by a fork, which would not take the threads along."""
    done = run_as_process_1(THREADS)

    assert done.returncode == 1
    assert "serve before threads are started" in done.stderr


ON_ASYNCIO = """
import os, subprocess, sys
from moby_plugins.aio import AsyncVolumeDriver
from moby_plugins.serving import serve_managed

CALL = '''
import os, signal
from moby_plugins import new_client

with new_client("unix:///run/docker/plugins/shelf.sock") as client:
    print(client.call("VolumeDriver.List", {}), flush=True)
os.kill(1, signal.SIGTERM)
'''

class Shelf(AsyncVolumeDriver):
    async def list(self):
        return []

subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
subprocess.Popen([sys.executable, "-c", CALL])
serve_managed(Shelf(), "shelf")
print([name for name in os.listdir("/run/docker/plugins") if name.endswith(".sock")])
"""


@requires("unshare", "unshare", root=True)
def test_an_asynchronous_plugin_can_be_managed() -> None:
    """The plugin is served as process 1 until SIGTERM comes, and then its socket is removed."""
    done = run_as_process_1(ON_ASYNCIO)

    assert done.returncode == 0, done.stderr
    assert "'Volumes': []" in done.stdout
    assert done.stdout.endswith("[]\n")
