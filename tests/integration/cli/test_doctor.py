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


def test_a_machine_without_problems_is_reported_in_one_line(machine: Machine) -> None:
    """Plugins that run, found by socket and by spec, give exit status 0."""
    (machine.specs / "near.spec").write_text(f"unix://{machine.sockets}/shelf.sock")
    with machine.shelf():
        ran = machine.run("doctor")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "nothing is wrong\n", "")


def test_each_finding_says_what_where_why_and_what_to_do(machine: Machine) -> None:
    """A finding has four lines; the last line of all counts them, and the exit status is 1."""
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
    """The explanation is wrapped between words; the command at the end stays on its line."""
    path = machine.sockets / "dead.sock"
    stale_socket(path)
    command = machine.command("doctor")
    with at_terminal(command, machine.environment, columns=40) as terminal:
        assert terminal.end() == 1

    lines = terminal.plain.replace("\r", "").splitlines()
    assert f"  → start the plugin; or, if it is gone for good, rm {path}" in lines
    assert lines[1:3] == ["  stale socket: it exists, but no", "  process listens on it;"]


def test_a_missing_plugin_directory_is_a_note(machine: Machine) -> None:
    """A note does not change the exit status, so that scripts go on."""
    machine.specs.rmdir()

    found = diagnosed(machine)

    assert [finding["severity"] for finding in found.values()] == ["note"]
    assert machine.run("doctor").stdout.endswith("\n1 note\n")


def test_files_that_no_look_up_finds_are_problems(machine: Machine) -> None:
    """These are sockets under other names, files that are no sockets, and invalid names."""
    for name in ("a.socket", "plain", ".sock"):
        stale_socket(machine.sockets / name)
    (machine.sockets / "file.sock").write_text("")
    (machine.sockets / "own").mkdir()
    stale_socket(machine.sockets / "own" / "other.sock")

    found = diagnosed(machine)

    assert {name: finding["severity"] for name, finding in found.items()} == dict.fromkeys(
        ["a.socket", "plain", ".sock", "file.sock", "other.sock"], "problem"
    )


def test_specs_with_mistakes_or_unsafe_tls_options_are_reported(machine: Machine) -> None:
    """Found are bad addresses, ignored TLS options, unverified TLS and missing files."""
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


def test_files_with_unsafe_permissions_are_reported_with_a_chmod(machine: Machine) -> None:
    """All users may write to a socket, a spec and a directory here, and read a private key."""
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


def test_doctor_changes_no_file(machine: Machine) -> None:
    """The plugin sees a connection that ends without data; no file is made, moved or removed."""
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
def test_a_socket_that_the_user_may_not_connect_to_is_a_problem(machine: Machine) -> None:
    """A socket that root may connect to can be closed to other users."""
    machine.root.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    ours = subprocess.run([*nobody, *machine.command("--version")], check=False, cwd="/")
    if ours.returncode != 0:
        pytest.skip("others cannot read this installation")
    with machine.shelf(), machine.running([*nobody, *machine.command("doctor")]) as process:
        out, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "no permission to connect to the socket" in out
