"""What ``moby-plugins doctor`` finds by looking at files: what they are, and who may write."""

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.machine import SECONDS, Machine, stale_socket
from tests.integration.cli.test_doctor import diagnosed
from tests.integration.components import requires

NOBODY = 65534
ID = "0123456789abcdef" * 4


def looked(machine: Machine) -> dict[str, dict[str, Any]]:
    """The findings by file, without asking."""
    return diagnosed(machine, "--no-ask")


def in_shell(command: str, directory: Path) -> None:
    """Run a command that doctor gave, as a person would who pastes it."""
    subprocess.run(["/bin/bash", "-c", command], check=True, timeout=SECONDS, cwd=directory)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.write_text("precious"), "an ordinary file"),
        (Path.mkdir, "a directory"),
        (os.mkfifo, "a FIFO"),
    ],
    ids=["file", "directory", "FIFO"],
)
def test_no_remedy_removes_a_file_that_is_not_a_socket(
    machine: Machine, make: Callable[[Path], object], kind: str
) -> None:
    """A spec that names such a file, also through a link, is reported with the kind of file."""
    there = machine.root / "there"
    make(there)
    (machine.root / "link").symlink_to(there)
    (machine.specs / "a.spec").write_text(f"unix://{there}")
    (machine.specs / "b.spec").write_text(f"unix://{machine.root}/link")

    found = looked(machine)

    assert found["a.spec"]["what"] == f"{there} is not a socket: it is {kind}"
    assert found["b.spec"]["what"] == f"{machine.root}/link is not a socket: it is {kind}"
    assert all("rm " not in finding["remedy"] for finding in found.values())


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "c; touch X #",
        "it's",
        'a "b" $(touch X) `touch X`',
        "-rf",
        "line\nbreak",
        "\x1b[2J",
        "\udcff",
        "ü\u202e",
    ],
)
def test_a_remedy_can_be_pasted_into_a_shell(machine: Machine, name: str) -> None:
    """Whatever a stale socket is called, the command removes the socket and nothing else."""
    path = machine.sockets / f"{name}.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fsencode(path))
    (machine.sockets / "other").write_text("")

    (finding,) = looked(machine).values()
    told, _, command = finding["remedy"].rpartition(", ")
    printed = machine.run("doctor", "--no-ask").stdout.splitlines()

    assert told == "start the plugin; or, if it is gone for good"
    assert f"  → {finding['remedy']}" in printed
    in_shell(command, machine.root)
    assert not path.exists()
    assert sorted(each.name for each in machine.root.rglob("*")) == ["other", "s", "specs"]


def test_the_remedy_for_a_link_to_a_stale_socket_removes_the_socket(machine: Machine) -> None:
    """Hosts find the link; the stale socket is in another directory."""
    stale_socket(machine.root / "elsewhere")
    (machine.sockets / "a.sock").symlink_to(machine.root / "elsewhere")

    assert looked(machine)["a.sock"]["remedy"].endswith(f"rm {machine.root}/elsewhere")


def test_the_socket_of_a_managed_plugin_is_a_note(machine: Machine) -> None:
    """The plugin runs and belongs to the engine; the command in the note reaches it."""
    directory = machine.sockets / ID
    directory.mkdir()
    with machine.shelf() as path:
        path.rename(directory / "x.sock")
        ran = machine.run("doctor")
        finding = diagnosed(machine)["x.sock"]
        command = finding["remedy"].partition(": ")[2]
        asked = machine.run(*shlex.split(command)[1:])

    assert (ran.returncode, finding["severity"]) == (0, "note")
    assert "managed plugin" in finding["what"]
    assert command == f"moby-plugins inspect unix://{directory}/x.sock"
    assert "VolumeDriver" in asked.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("oops.sepc", "its name has to end in .spec"),
        ("typo.SPEC", "its name has to end in .spec"),
        ("x.jsn", "its name has to end in .json"),
        ("x.Json", "its name has to end in .json"),
        ("far.spec.txt", "its name has to end in .spec"),
        ("x.json~", "its name has to end in .json"),
        ("x.spec.bak", "its name has to end in .spec"),
        ("x.json.dpkg-old", "its name has to end in .json"),
        ("x.specs", "its name has to end in .spec"),
    ],
)
def test_a_spec_with_a_misspelt_ending_is_a_problem(
    machine: Machine, name: str, reason: str
) -> None:
    """No host finds such a spec; if another file names the plugin, the finding is a warning."""
    (machine.specs / name).write_text("tcp://127.0.0.1:1")
    finding = looked(machine)[name]
    assert (finding["severity"], finding["what"]) == ("problem", reason)

    stem = name.partition(".")[0]
    (machine.specs / f"{stem}.json").write_text('{"Addr": "tcp://127.0.0.1:1"}')
    assert looked(machine)[name]["severity"] == "warning"


@pytest.mark.parametrize("name", ["README", "ca.pem", "notes.txt", "x.conf", ".x.spec.swp", "a.js"])
def test_other_files_in_a_plugin_directory_are_ignored(machine: Machine, name: str) -> None:
    """A README or a certificate is not taken for a misspelt spec or socket."""
    (machine.specs / name).write_text("")
    (machine.sockets / name).write_text("")

    assert looked(machine) == {}


def _nested(machine: Machine) -> Path:
    path = machine.sockets / "own"
    path.mkdir()
    path.chmod(0o777)
    return path


def _sticky(machine: Machine) -> Path:
    machine.sockets.chmod(0o1777)
    return machine.sockets


def _parent(machine: Machine) -> Path:
    machine.root.chmod(0o777)
    return machine.root


def _linked(machine: Machine) -> Path:
    path = machine.root / "open"
    path.mkdir()
    path.chmod(0o777)
    (path / "real.spec").write_text("tcp://127.0.0.1:1")
    (machine.specs / "far.spec").symlink_to(path / "real.spec")
    return path


def _socket_of_spec(machine: Machine) -> Path:
    path = machine.root / "db"
    stale_socket(path)
    path.chmod(0o666)
    (machine.specs / "db.spec").write_text(f"unix://{path}")
    return path


def _missing_in_sticky(machine: Machine) -> Path:
    path = machine.root / "tmp"
    path.mkdir()
    path.chmod(0o1777)
    (machine.specs / "db.spec").write_text(f"unix://{path}/db")
    return path


def _authority(machine: Machine) -> Path:
    path = machine.root / "ca.pem"
    path.write_text("")
    path.chmod(0o666)
    spec = {"Addr": "https://127.0.0.1:1", "TLSConfig": {"CAFile": str(path)}}
    (machine.specs / "far.json").write_text(json.dumps(spec))
    return path


@pytest.mark.parametrize(
    "make",
    [_nested, _sticky, _parent, _linked, _socket_of_spec, _missing_in_sticky, _authority],
)
def test_a_path_that_every_user_may_write_to_is_a_problem(
    machine: Machine, make: Callable[[Machine], Path]
) -> None:
    """All files and directories that lead to a plugin count; the remedy ends the problem."""
    path = make(machine)

    finding = looked(machine)[path.name]

    assert finding["severity"] == "problem"
    assert finding["where"] == str(path)
    assert finding["what"].startswith("every user can write to the ")
    assert finding["remedy"] == f"chmod o-w {path}"
    in_shell(finding["remedy"], machine.root)
    assert not [
        each
        for each in looked(machine).values()
        if each["where"] == str(path) and each["what"] == finding["what"]
    ]


def test_no_remedy_changes_the_mode_of_a_device(machine: Machine) -> None:
    """A spec that names /dev/null by mistake is no reason to close /dev/null to users."""
    (machine.specs / "a.spec").write_text("unix:///dev/null")
    spec = {"Addr": "https://127.0.0.1:1", "TLSConfig": {"CAFile": "/dev/zero"}}
    (machine.specs / "b.json").write_text(json.dumps(spec))

    found = looked(machine)

    assert {name: found[name]["what"] for name in found} == {
        "a.spec": "/dev/null is not a socket: it is a device",
        "b.json": "CAFile /dev/zero is a device",
    }


def test_a_path_that_cannot_be_followed_is_reported_with_the_cause(machine: Machine) -> None:
    """The causes are links in a circle, a path that is too long, a file in place of a directory."""
    (machine.root / "loop").symlink_to("loop")
    (machine.specs / "a.spec").write_text(f"unix://{machine.root}/loop")
    (machine.specs / "b.spec").write_text(f"unix://{machine.root}/{'x' * 300}")
    (machine.specs / "c.spec").write_text(f"unix://{machine.specs}/a.spec/x")

    found = looked(machine)

    assert {name: found[name]["what"] for name in found} == {
        "a.spec": "the links on the way to the socket lead in a circle",
        "b.spec": "no file can have a path that long",
        "c.spec": "a component of the socket's path is not a directory",
    }


def test_a_sticky_directory_on_the_way_to_a_socket_is_safe(machine: Machine) -> None:
    """In a directory such as /tmp other users may add files, and replace none."""
    path = machine.root / "tmp"
    path.mkdir()
    stale_socket(path / "db")
    path.chmod(0o1777)
    (machine.specs / "db.spec").write_text(f"unix://{path}/db")

    assert [*looked(machine)] == ["db.spec"]


def test_a_directory_that_a_group_may_write_to_is_a_warning(machine: Machine) -> None:
    """A socket that a group may write to is no finding, as this is how hosts connect."""
    machine.specs.chmod(0o775)
    with machine.shelf() as path:
        path.chmod(0o660)
        found = looked(machine)

    assert {name: finding["severity"] for name, finding in found.items()} == {"specs": "warning"}
    assert found["specs"]["remedy"] == f"chmod g-w {machine.specs}"


@requires("root", "chown", root=True)
@pytest.mark.parametrize(
    "prepare",
    [
        lambda machine: machine.specs,
        lambda machine: machine.root,
        _nested,
        _socket_of_spec,
        _authority,
        _linked,
    ],
)
def test_a_file_of_another_owner_is_a_problem(
    machine: Machine, prepare: Callable[[Machine], Path]
) -> None:
    """An owner may change the mode at any time, whatever the mode says now."""
    path = prepare(machine)
    path.chmod(0o755 if path.is_dir() else 0o600)
    os.chown(path, NOBODY, NOBODY)

    finding = looked(machine)[path.name]

    assert finding["severity"] == "problem"
    assert "nobody, who is neither root nor the user that runs this" in finding["what"]
    assert finding["remedy"] == f"chown root {path}"


@requires("root", "setpriv", root=True)
def test_files_of_root_and_of_the_running_user_are_no_problem(machine: Machine) -> None:
    """Run by a user who is not root, the doctor trusts that user's files and root's."""
    machine.root.chmod(0o755)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    ours = subprocess.run([*user, *machine.command("--version")], check=False, cwd="/")
    if ours.returncode != 0:
        pytest.skip("others cannot read this installation")
    os.chown(machine.specs, NOBODY, NOBODY)
    command = [*user, *machine.command("doctor", "--no-ask")]
    with machine.running(command) as process:
        out, _ = process.communicate(timeout=SECONDS)

    assert (process.returncode, out) == (0, "nothing is wrong\n")
