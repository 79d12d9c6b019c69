"""Programs that are run inside a root file system: bounded, and with nothing of the host's."""

import shutil
import time
from pathlib import Path

import pytest

from moby_plugins import SpecError
from moby_plugins.adapters.disk.inside import run_inside
from tests.integration.components import requires

pytestmark = requires("busybox", "busybox", "chroot", root=True)
SHELL = ("/bin/sh", "-c")


@pytest.fixture
def root(short_path: Path) -> Path:
    """A root file system with a shell."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    (short_path / "bin").mkdir()
    for name in ("sh", "sleep", "env", "yes"):
        shutil.copy(busybox, short_path / "bin" / name)
    return short_path


def test_it_sees_its_root_file_system_and_its_environment_alone(root: Path) -> None:
    """What it prints is kept apart."""
    ran = run_inside(str(root), (*SHELL, "echo *; env; echo no >&2; exit 3"), {"A": "b"}, 10)

    assert ran.stdout.splitlines()[0] == "bin"
    assert "A=b" in ran.stdout
    assert "HOME" not in ran.stdout
    assert (ran.status, ran.stderr) == (3, "no\n")


def test_it_is_ended_after_its_time_with_all_that_it_started(root: Path) -> None:
    """What it has left open holds nothing up."""
    began = time.monotonic()

    ran = run_inside(str(root), (*SHELL, "echo begun; sleep 60 & sleep 60"), {}, 0.5)

    assert (ran.status, ran.stdout) == (None, "begun\n")
    assert time.monotonic() - began < 10


def test_the_end_of_a_flood_is_kept(root: Path) -> None:
    """Up to 64 KiB; what is written has a bound."""
    ran = run_inside(str(root), ("/bin/yes", "x" * 100), {}, 1)

    assert len(ran.stdout) == 64 << 10


@pytest.mark.parametrize("command", ["/none", "/bin"])
def test_what_cannot_be_run_says_so(root: Path, command: str) -> None:
    """By its status and on standard error, as a shell has it."""
    ran = run_inside(str(root), (command,), {}, 10)

    assert ran.status in {126, 127}
    assert command in ran.stderr


def test_a_directory_that_is_not_there_is_no_root(short_path: Path) -> None:
    """It fails by itself; a NUL is refused."""
    assert run_inside(str(short_path / "none"), SHELL, {}, 10).status == 125
    with pytest.raises((SpecError, ValueError)):
        run_inside(str(short_path), ("a\0b",), {}, 10)
