"""``moby-plugins serve --reload``: which changes of a file it sees, and what it does then."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cli.machine import SECONDS, Machine

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
