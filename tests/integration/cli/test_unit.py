"""``moby-plugins unit``: the units for systemd, and what a plugin reports to systemd."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.machine import SECONDS, Machine
from tests.integration.components import requires

PLUGIN = """
from moby_plugins.subsystems import VolumeDriver


class Shelves(VolumeDriver):
    def list(self):
        return ()
"""


@pytest.fixture
def module(machine: Machine) -> Path:
    """A module in the directory where the command is run."""
    path = machine.root / "shelves.py"
    path.write_text(PLUGIN)
    return path


def units_of(printed: str) -> dict[str, str]:
    """The text of each unit, by the path in the comment before it."""
    _, *parts = re.split(r"^# (/\S+)$", printed, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@requires("systemd", "systemd-analyze")
@pytest.mark.parametrize("directory", ["plain", "a b", "100%"])
def test_systemd_accepts_the_service_and_the_socket(
    machine: Machine, module: Path, directory: str
) -> None:
    """Each unit is printed after its path; the current directory may have any name."""
    place = machine.root / directory
    place.mkdir()
    shutil.move(module, place)
    ran = subprocess.run(
        machine.command("unit", "shelves:Shelves", "--name", "mp-test"),
        capture_output=True,
        text=True,
        check=True,
        cwd=place,
        env=machine.environment,
    )

    units = units_of(ran.stdout)
    assert list(units) == [
        "/etc/systemd/system/mp-test.service",
        "/etc/systemd/system/mp-test.socket",
    ]
    files = [machine.root / Path(path).name for path in units]
    for file, text in zip(files, units.values(), strict=True):
        file.write_text(text)
    verified = subprocess.run(
        ["/usr/bin/env", "systemd-analyze", "verify", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_service_runs_this_python_where_the_module_is(machine: Machine, module: Path) -> None:
    """The service runs in the module's directory; its socket is where the settings say."""
    ran = machine.run("unit", "shelves:Shelves", "--drain", "20")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"ExecStart={sys.executable} -m moby_plugins serve shelves:Shelves" in ran.stdout
    assert "--name shelves --drain 20\n" in ran.stdout
    assert f"WorkingDirectory={machine.root}\n" in ran.stdout
    assert "TimeoutStopSec=25\n" in ran.stdout
    assert f"ListenStream={machine.sockets}/shelves.sock\n" in ran.stdout


def test_a_module_that_is_not_found_is_only_a_warning(machine: Machine) -> None:
    """The units are printed: the module may be installed where they are copied to."""
    ran = machine.run("unit", "none:app")

    assert (ran.returncode, "no module 'none' here" in ran.stderr) == (0, True)
    assert "WorkingDirectory" not in ran.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["shelves"], "is not of the form MODULE:APP"),
        (["shelves:a\nUser=root"], "is not of the form MODULE:APP"),
        (["shelves:app", "--name", "a b"], "is not a valid unit name"),
        (["shelves:app", "--name", "a/b"], "is not a plugin name"),
    ],
)
def test_an_app_or_name_that_no_unit_can_hold_is_refused(
    machine: Machine, words: list[str], told: str
) -> None:
    """The exit status is 9, and nothing is printed that could be copied."""
    ran = machine.run("unit", *words)

    assert (ran.returncode, ran.stdout, told in ran.stderr) == (9, "", True), ran.stderr


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_systemd_is_notified_when_the_plugin_is_ready_and_when_it_stops(
    machine: Machine, module: Path, abstract: object
) -> None:
    """READY=1 is sent once the plugin accepts connections, STOPPING=1 before its calls end."""
    name = f"@mp-test-{machine.root.name}" if abstract else str(machine.root / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.settimeout(SECONDS)
        machine.environment["NOTIFY_SOCKET"] = name
        with machine.running(machine.command("serve", "shelves:Shelves")) as process:
            assert systemd.recv(100) == b"READY=1"
            assert machine.run("call", "shelves", "VolumeDriver.List").returncode == 0
            process.send_signal(signal.SIGTERM)
            assert systemd.recv(100) == b"STOPPING=1"
            assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("name", ["/none/notify", "vsock:2:1", "@" + "x" * 200, "relative"])
def test_a_plugin_serves_even_if_systemd_cannot_be_notified(
    machine: Machine, module: Path, name: str
) -> None:
    """The address in NOTIFY_SOCKET may lead nowhere or be invalid."""
    machine.environment["NOTIFY_SOCKET"] = name
    with machine.running(machine.command("serve", "shelves:Shelves")) as process:
        assert process.stderr is not None
        process.stderr.readline()
        assert machine.run("call", "shelves", "VolumeDriver.List").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
