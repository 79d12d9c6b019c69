"""Programs run inside a root file system: bounded, and without access to files of the host."""

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


def test_a_program_sees_only_its_root_file_system_and_its_environment(root: Path) -> None:
    """The exit status, standard output and standard error are returned separately."""
    ran = run_inside(str(root), (*SHELL, "echo *; env; echo no >&2; exit 3"), {"A": "b"}, 10)

    assert ran.stdout.splitlines()[0] == "bin"
    assert "A=b" in ran.stdout
    assert "HOME" not in ran.stdout
    assert (ran.status, ran.stderr) == (3, "no\n")


def test_a_program_and_its_children_are_ended_at_the_time_out(root: Path) -> None:
    """Children that keep the output open do not delay the return, and the output so far is kept."""
    began = time.monotonic()

    ran = run_inside(str(root), (*SHELL, "echo begun; sleep 60 & sleep 60"), {}, 0.5)

    assert (ran.status, ran.stdout) == (None, "begun\n")
    assert time.monotonic() - began < 10


def test_only_the_last_64_kib_of_a_programs_output_are_kept(root: Path) -> None:
    """A program that prints without end takes a bounded amount of memory and disk."""
    ran = run_inside(str(root), ("/bin/yes", "x" * 100), {}, 1)

    assert len(ran.stdout) == 64 << 10


@pytest.mark.parametrize("command", ["/none", "/bin"])
def test_a_program_that_cannot_be_run_has_the_exit_status_126_or_127(
    root: Path, command: str
) -> None:
    """The status is as in a shell, and standard error names the program."""
    ran = run_inside(str(root), (command,), {}, 10)

    assert ran.status in {126, 127}
    assert command in ran.stderr


def test_a_missing_root_directory_gives_exit_status_125(short_path: Path) -> None:
    """An argument with a NUL is refused with an error."""
    assert run_inside(str(short_path / "none"), SHELL, {}, 10).status == 125
    with pytest.raises((SpecError, ValueError)):
        run_inside(str(short_path), ("a\0b",), {}, 10)
