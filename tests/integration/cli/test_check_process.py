"""``moby-plugins check`` examines the process of a plugin, which it finds by the socket."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.checks.process import LinuxProcess, process_at
from moby_plugins.domain.address import Address
from moby_plugins.testing import LivePlugins
from tests.integration.cli.machine import Machine, appear
from tests.unit.checks.good_plugin import Volumes

ROOT = Path(__file__).parents[3]
IDLE, CLOSED = "idle after its calls", "descriptors are closed"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")


@contextmanager
def left(machine: Machine, how: str) -> Iterator[Path]:
    """A plugin in a process of its own that is left with something."""
    path = machine.sockets / "left.sock"
    machine.environment["PYTHONPATH"] = str(ROOT)
    with machine.running(
        [sys.executable, "-m", "tests.integration.cli.left_running", str(path), how]
    ):
        appear(path)
        yield path


def found(machine: Machine, *arguments: str) -> dict[str, dict[str, Any]]:
    """What was found, by the check's name."""
    ran = machine.run("check", "left", "--json", *arguments)
    return {each["check"]: each for each in json.loads(ran.stdout)["findings"]}


@pytest.mark.parametrize(
    ("how", "check", "said"),
    [("spin", IDLE, "of a core"), ("leak", CLOSED, "descriptors are open")],
)
def test_a_process_that_keeps_a_core_busy_or_leaks_descriptors_gets_a_warning(
    machine: Machine, how: str, check: str, said: str
) -> None:
    """Each fault gives a warning by its own check, and the other check passes."""
    with left(machine, how):
        findings = found(machine)

    assert findings[check]["outcome"] == "warned"
    assert said in findings[check]["came_back"]
    (other,) = {IDLE, CLOSED} - {check}
    assert findings[other]["outcome"] == "passed"


def test_a_leak_in_methods_that_only_other_checks_call_is_counted(machine: Machine) -> None:
    """Descriptors are counted from the first call on, and not only by the check's own calls."""
    with left(machine, "leak"):
        before = found(machine, "--check", CLOSED)[CLOSED]["came_back"]
        after = found(machine)[CLOSED]["came_back"]

    assert growth(after) > growth(before) > 28


def growth(came_back: str) -> int:
    """How many more descriptors there are."""
    now, _, rest = came_back.partition(" ")
    return int(now) - int(rest.partition("; ")[2].partition(" ")[0])


@as_root
def test_a_log_driver_with_another_root_directory_does_not_fail_for_its_fifo(
    machine: Machine,
) -> None:
    """The driver cannot see the FIFO, as in a container, so that those checks are skipped."""
    with left(machine, "chroot"):
        findings = found(machine, "--subsystem", "LogDriver")

    failed = {name: each for name, each in findings.items() if each["outcome"] == "failed"}
    assert not failed
    assert findings["lines come back"]["outcome"] == "skipped"
    assert "does not see" in findings["lines come back"]["came_back"]


def test_the_process_of_a_plugin_is_found_by_its_socket(machine: Machine) -> None:
    """The process that listens is found, unless it is the one that runs the checks."""
    with left(machine, "quiet") as path:
        process = process_at(Address(f"unix://{path}"))
        assert isinstance(process, LinuxProcess)
        assert process.pid != os.getpid()
        assert process.sees(path) is True
    with LivePlugins(machine.sockets) as start:
        assert process_at(Address(start(Volumes(), "own").addr)) is None
