"""``moby-plugins doctor``, run as a process on machines with something wrong."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.machine import SECONDS, Machine, stale_socket
from tests.integration.cli.terminal import at_terminal
from tests.integration.components import requires


def diagnosed(machine: Machine, *options: str) -> dict[str, dict[str, Any]]:
    """The findings by the name of the file that they are about."""
    ran = machine.run("doctor", "--json", *options)
    found = json.loads(ran.stdout)
    problems = any(finding["severity"] == "problem" for finding in found)
    assert (ran.returncode, ran.stderr) == (int(problems), "")
    return {Path(finding["where"]).name: finding for finding in found}


def test_a_machine_that_is_well(machine: Machine) -> None:
    """Plugins that live, by socket and by spec: exit status 0, in one line."""
    (machine.specs / "near.spec").write_text(f"unix://{machine.sockets}/shelf.sock")
    with machine.shelf():
        ran = machine.run("doctor")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "nothing is wrong\n", "")


def test_each_finding_says_what_where_why_and_what_to_do(machine: Machine) -> None:
    """For people, in four lines; the last line counts, and the exit status is 1."""
    path = machine.sockets / "dead.sock"
    stale_socket(path)
    (machine.specs / "dead.spec").write_text("tcp://192.0.2.1:80")

    ran = machine.run("doctor")

    assert ran.returncode == 1
    assert ran.stdout.splitlines() == [
        f"problem  {path}",
        "  stale socket: it exists, but no process listens on it;",
        "  hosts try for 15 seconds, and fail.",
        f"  → start the plugin; or, if it is gone for good, rm {path}",
        f"warning  {machine.specs}/dead.spec",
        f"  hidden by {path};",
        "  hosts use the first that they find, and never see this one.",
        "  → remove the one that is not meant",
        "1 problem, 1 warning",
    ]


def test_a_narrow_terminal_breaks_no_word_and_no_command(machine: Machine) -> None:
    """What is told is wrapped; the command at the end stays on its line."""
    path = machine.sockets / "dead.sock"
    stale_socket(path)
    command = machine.command("doctor")
    with at_terminal(command, machine.environment, columns=40) as terminal:
        assert terminal.end() == 1

    lines = terminal.plain.replace("\r", "").splitlines()
    assert f"  → start the plugin; or, if it is gone for good, rm {path}" in lines
    assert lines[1:3] == ["  stale socket: it exists, but no", "  process listens on it;"]


def test_directories_that_are_missing_are_a_note(machine: Machine) -> None:
    """Nothing that a script should stop for."""
    machine.specs.rmdir()

    found = diagnosed(machine)

    assert [finding["severity"] for finding in found.values()] == ["note"]
    assert machine.run("doctor").stdout.endswith("\n1 note\n")


def test_files_that_no_lookup_finds(machine: Machine) -> None:
    """Sockets under other names, files that are no sockets, names that are none."""
    for name in ("a.socket", "plain", ".sock"):
        stale_socket(machine.sockets / name)
    (machine.sockets / "file.sock").write_text("")
    (machine.sockets / "own").mkdir()
    stale_socket(machine.sockets / "own" / "other.sock")

    found = diagnosed(machine)

    assert {name: finding["severity"] for name, finding in found.items()} == dict.fromkeys(
        ["a.socket", "plain", ".sock", "file.sock", "other.sock"], "problem"
    )


def test_specs_that_cannot_be_used_or_should_not_be(machine: Machine) -> None:
    """Broken, relative, in plain text in spite of TLS options, unverified, without files."""
    specs = {
        "broken.spec": "192.0.2.1:80",
        "relative.spec": "unix://run/x.sock",
        "gone.spec": f"unix://{machine.root}/gone.sock",
        "plain.json": {"Addr": "tcp://192.0.2.1:80", "TLSConfig": {"CAFile": "/nowhere/ca"}},
        "unverified.json": {"Addr": "https://192.0.2.1", "TLSConfig": {}},
        "files.json": {"Addr": "https://192.0.2.1", "TLSConfig": {"CAFile": "/nowhere/ca"}},
    }
    for name, spec in specs.items():
        (machine.specs / name).write_text(spec if isinstance(spec, str) else json.dumps(spec))

    found = diagnosed(machine)

    assert {name: found[name]["what"] for name in found} == {
        "broken.spec": "address '192.0.2.1:80' is not of the form scheme://… or unix:/path;"
        " did you mean tcp://192.0.2.1:80?",
        "relative.spec": "unix://run/x.sock names the relative path run/x.sock",
        "gone.spec": "no socket there; is the plugin running?",
        "plain.json": "TLS options are given, but only https:// is encrypted: this is plain text",
        "unverified.json": "TLS without verification of the plugin",
        "files.json": "CAFile /nowhere/ca is missing",
    }


def test_what_others_could_write_or_read(machine: Machine) -> None:
    """A socket, a spec, a directory for all to write to; a key for all to read."""
    key = machine.root / "key.pem"
    key.write_text("")
    key.chmod(0o644)
    spec = machine.specs / "far.json"
    tls = {"CAFile": str(key), "KeyFile": str(key)}
    spec.write_text(json.dumps({"Addr": "https://192.0.2.1", "TLSConfig": tls}))
    spec.chmod(0o666)
    machine.specs.chmod(0o777)
    with machine.shelf() as path:
        path.chmod(0o666)
        found = diagnosed(machine)

    assert {name: finding["remedy"] for name, finding in found.items()} == {
        "key.pem": f"chmod 600 {key}",
        "far.json": f"chmod o-w {spec}",
        "specs": f"chmod o-w {machine.specs}",
        "shelf.sock": f"chmod o-w {path}",
    }


def test_looking_changes_nothing(machine: Machine) -> None:
    """A plugin sees a connection that ends; no file is made, moved or removed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(machine.sockets / "shelf.sock"))
        sock.listen()
        before = sorted(machine.root.rglob("*"))
        machine.run("doctor")

        connection, _ = sock.accept()
        with connection:
            assert connection.recv(1) == b""
    assert sorted(machine.root.rglob("*")) == before


@requires("root", "setpriv", root=True)
def test_a_user_without_permission_is_told_so(machine: Machine) -> None:
    """What root may connect to others may not."""
    machine.root.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    ours = subprocess.run([*nobody, *machine.command("--version")], check=False, cwd="/")
    if ours.returncode != 0:
        pytest.skip("others cannot read this installation")
    with machine.shelf(), machine.running([*nobody, *machine.command("doctor")]) as process:
        out, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "no permission to connect to the socket" in out
