"""``moby-plugins demo``, run as a process."""

import re
import signal

import pytest

from tests.integration.cli.machine import SECONDS, Machine


def test_the_demo_runs_each_step_of_a_host_and_leaves_no_file(machine: Machine) -> None:
    """A line is printed for each step, from the plugin's start to an error of the plugin."""
    place = machine.root / "t"
    place.mkdir()

    ran = machine.run("demo", TMPDIR=str(place))

    steps = [line.split()[0] for line in ran.stdout.splitlines()]
    assert ran.returncode == 0
    assert " ".join(steps) == "$ handle scan get create list mount get unmount remove get shrink"
    assert "shelf is active" in ran.stdout
    assert "StatusError 404" in ran.stdout
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_interrupted_demo_leaves_no_process_and_no_file(machine: Machine, number: int) -> None:
    """The plugin's process is ended, and the directory with its socket is removed."""
    place = machine.root / "t"
    place.mkdir()
    environment = machine.environment | {"TMPDIR": str(place)}
    with machine.running(machine.command("demo"), environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=SECONDS)

    assert process.returncode in {130, 0}, said
    assert list(place.iterdir()) == []


def test_a_demo_whose_plugin_cannot_start_ends_at_once(machine: Machine) -> None:
    """It does not wait for a socket that will not come."""
    ran = machine.run("demo", MOBY_PLUGINS_OBSERVERS="nosuch")

    assert ran.returncode == 1
    assert "nosuch" in ran.stderr
    assert re.search("^Error: the plugin's process has ended$", ran.stderr, re.MULTILINE)
