"""``moby-plugins serve --reload``: which changes of a file it sees, and what it does then."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cli.machine import SECONDS, Machine, appear

THREADS = """
from moby_plugins.subsystems import VolumeDriver


class Shelves(VolumeDriver):
    def list(self):
        raise ValueError('ONE')
"""
LOOP = """
from moby_plugins.aio import AsyncVolumeDriver


class Shelves(AsyncVolumeDriver):
    async def list(self):
        raise ValueError('ONE')
"""
# As the first lines of a module: let its file be changed while it is imported.
CHANGES_ITSELF = """
import pathlib
pathlib.Path(__file__).write_text(pathlib.Path("next.txt").read_text())
"""


@contextmanager
def reloading(machine: Machine) -> "Iterator[subprocess.Popen[bytes]]":
    """``serve --reload`` of ``shelves:Shelves``; its log is the file ``log``."""
    command = machine.command("serve", "shelves:Shelves", "--name", "p", "--reload")
    with (machine.root / "log").open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=machine.root, env=machine.environment, stderr=stderr
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answers(machine: Machine, expected: str) -> bool:
    """Whether the plugin answers so, soon."""
    for _ in range(100):
        ran = machine.run("call", "p", "VolumeDriver.List")
        if expected in ran.stdout + ran.stderr:
            return True
        time.sleep(0.1)
    return False


def looked_at(log: Path) -> Iterator[str]:
    """What is in ``log``, again and again for some seconds."""
    for _ in range(100):
        yield log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("source", [THREADS, LOOP], ids=["threads", "loop"])
def test_a_changed_file_reloads_the_plugin(machine: Machine, source: str) -> None:
    """The process stays the same; a syntax error is shown, and the next change is waited for."""
    module = machine.root / "shelves.py"
    module.write_text(source)
    with reloading(machine) as process:
        assert answers(machine, "ONE")
        module.write_text(source.replace("ONE", "SECOND"))
        assert answers(machine, "SECOND")
        module.write_text("this is no Python")
        log = machine.root / "log"
        assert any("waiting for a change" in text for text in looked_at(log))
        assert "SyntaxError" in log.read_text()
        module.write_text("raise SystemExit(3)")
        assert any("ends the program: SystemExit(3)" in text for text in looked_at(log))
        module.write_text(source.replace("ONE", "AFTER ALL"))
        assert answers(machine, "AFTER ALL")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert [path.name for path in machine.sockets.iterdir()] == []


@pytest.mark.parametrize("file", ["shelves.py", "shop/shelves.py"])
@pytest.mark.parametrize("ending", ["", "raise ValueError('not yet')"], ids=["served", "broken"])
def test_a_file_that_changes_while_it_is_imported_is_read_again(
    machine: Machine, file: str, ending: str
) -> None:
    """The old text may be served or fail; the new one is served soon, without another change."""
    module = machine.root / file
    if file != "shelves.py":
        module.parent.mkdir()
        (machine.root / "shelves.py").write_text("from shop.shelves import Shelves")
    (machine.root / "next.txt").write_text(THREADS.replace("ONE", "SECOND"))
    module.write_text(f"{CHANGES_ITSELF}\n{THREADS}\n{ending}")
    with reloading(machine):
        assert answers(machine, "SECOND")


def test_a_module_that_was_missing_in_a_package_is_waited_for(machine: Machine) -> None:
    """A package below the current directory is watched too, even if nothing of it is imported."""
    package = machine.root / "shop"
    package.mkdir()
    (machine.root / "shelves.py").write_text("from shop.shelves import Shelves")
    with reloading(machine):
        log = machine.root / "log"
        assert any("waiting for a change" in text for text in looked_at(log))
        (package / "shelves.py").write_text(THREADS)
        assert answers(machine, "ONE")


def test_a_text_of_the_same_size_and_second_is_served(machine: Machine) -> None:
    """No bytecode of the text before it is taken for it, even with a time in the same second."""
    module = machine.root / "shelves.py"
    module.write_text(THREADS)
    os.utime(module, (1_000_000_000, 1_000_000_000))
    with reloading(machine):
        assert answers(machine, "ONE")
        module.write_text(THREADS.replace("ONE", "TWO"))
        os.utime(module, (1_000_000_000, 1_000_000_000))
        assert answers(machine, "TWO")


SLOW = """
import pathlib
import time
from moby_plugins.subsystems import VolumeDriver


class Shelves(VolumeDriver):
    def list(self):
        pathlib.Path("called").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        return ()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("order", ["signal first", "change first"])
def test_a_signal_ends_the_command_even_if_a_file_changes_too(
    machine: Machine, number: int, order: str
) -> None:
    """While a call still runs, both are seen; the command does not start again."""
    module = machine.root / "shelves.py"
    module.write_text(SLOW)
    with reloading(machine) as process:
        appear(machine.sockets / "p.sock")
        with machine.running(machine.command("call", "p", "VolumeDriver.List")):
            appear(machine.root / "called")
            if order == "signal first":
                process.send_signal(number)
            else:
                module.write_text(SLOW + "# changed")
            disappear(machine.sockets / "p.sock")
            if order == "signal first":
                module.write_text(SLOW + "# changed")
                time.sleep(1)  # for some checks of the file
            else:
                process.send_signal(number)
            (machine.root / "go").touch()
            assert process.wait(SECONDS) == 0
    assert "has changed" not in (machine.root / "log").read_text()


def disappear(path: Path) -> None:
    """Wait until there is no such file."""
    for _ in range(2000):
        if not path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} is still there")


def test_a_plugin_that_changes_the_current_directory_is_found_again(machine: Machine) -> None:
    """The command starts again in the directory where it was started."""
    (machine.root / "data").mkdir()
    source = f"import os\nos.chdir('data')\n{THREADS}"
    module = machine.root / "shelves.py"
    module.write_text(source)
    with reloading(machine):
        assert answers(machine, "ONE")
        module.write_text(source.replace("ONE", "SECOND"))
        assert answers(machine, "SECOND")


def test_a_lazy_module_that_cannot_be_loaded_is_not_watched(machine: Machine) -> None:
    """Whatever it raises, changes of other files are seen."""
    lazy = """
import sys, types
class Lazy(types.ModuleType):
    def __getattribute__(self, name):
        raise ImportError("not installed")
sys.modules["lazy"] = Lazy("lazy")
"""
    module = machine.root / "shelves.py"
    module.write_text(lazy + THREADS)
    with reloading(machine):
        assert answers(machine, "ONE")
        module.write_text(lazy + THREADS.replace("ONE", "SECOND"))
        assert answers(machine, "SECOND")


def test_a_socket_that_systemd_opened_is_served_again(machine: Machine) -> None:
    """Its descriptor and variables are there again for the new program."""
    module = machine.root / "shelves.py"
    module.write_text(THREADS)
    starts = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as own:
    own.bind(sys.argv[1])
    own.listen()
    os.dup2(own.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execv(sys.argv[2], sys.argv[2:])
"""
    serve = machine.command("serve", "shelves:Shelves", "--reload")
    command = [sys.executable, "-c", starts, str(machine.sockets / "p.sock"), *serve]
    with machine.running(command):
        assert answers(machine, "ONE")
        module.write_text(THREADS.replace("ONE", "SECOND"))
        assert answers(machine, "SECOND")
