"""Hostile names, specs, manifests and responses: what the commands print, run as processes."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins.domain.http import Request, Response
from moby_plugins.serving import plugin_server_unix
from tests.integration.cli.machine import Machine

FORGED = "\nFORGED 2026-01-01 sshd: \x1b[2J\x1b]0;owned\x07\r\x7f\u2028\u202e"
SECRET = "s3cr3t"
# More than any command has to say of a few plugins, and far less than they send.
MOST = 40_000


def hostile(request: Request) -> Response:
    """Implements a million subsystems with odd names, and answers the rest with odd text."""
    if request.method == "Plugin.Activate":
        names = ["VolumeDriver", FORGED, *["x" * 7] * 80_000]
        return Response(200, json.dumps({"Implements": names}).encode())
    if request.method == "VolumeDriver.Capabilities":
        return Response(200, json.dumps({"Capabilities": {"Scope": FORGED * 1000}}).encode())
    if request.method == "VolumeDriver.Get":
        return Response(200, json.dumps({"Err": FORGED * 10_000}).encode())
    if request.method == "VolumeDriver.Path":
        return Response(200, b"[" + b"1" * (1 << 20) + b".1e9999]")
    if request.method == "VolumeDriver.List":
        return Response(503, b"")
    return Response(500, (FORGED * 10_000).encode())


@pytest.fixture
def odd_machine(machine: Machine) -> Iterator[Machine]:
    """A machine with a hostile plugin, and with hostile files around it."""
    with plugin_server_unix(hostile, str(machine.sockets / "odd.sock")):
        os.symlink(machine.sockets / "odd.sock", machine.sockets / f"link{FORGED}.sock")
        (machine.specs / f"name{FORGED}.spec").write_text("tcp://127.0.0.1:1")
        (machine.specs / f"stray{FORGED}.sock").write_text("")
        (machine.specs / "text.spec").write_text(FORGED * 10_000)
        (machine.specs / "long.spec").write_text("tcp://" + "h" * 500_000)
        (machine.specs / "text.json").write_text(json.dumps({"Addr": FORGED * 1000}))
        (machine.specs / "number.json").write_text('{"Addr": ' + "1" * 500_000 + ".e}")
        (machine.specs / "bad.spec").write_text(f"tcp://me:{SECRET}@h:port")
        (machine.specs / "login.spec").write_text(f"tcp://me:{SECRET}@127.0.0.1:1")
        tls = {"CAFile": FORGED * 1000, "CertFile": FORGED, "KeyFile": FORGED}
        spec = {"Addr": "https://127.0.0.1:1", "TLSConfig": tls}
        (machine.specs / "tls.json").write_text(json.dumps(spec))
        yield machine


def check(ran: "subprocess.CompletedProcess[str]") -> str:
    """All that was printed, where no line of it is forged and no cursor moved."""
    told = ran.stdout + ran.stderr
    assert "Traceback" not in told
    assert told
    assert len(told) < MOST
    assert SECRET not in told
    for line in told.split("\n"):
        assert line.isprintable()
        assert not line.startswith("FORGED")
    return told


@pytest.mark.parametrize("command", ["ls", "doctor"])
def test_ls_and_doctor_escape_and_cut_hostile_text(command: str, odd_machine: Machine) -> None:
    """Files and plugins forge no line, and take a bounded number of printable characters."""
    told = check(odd_machine.run(command))

    assert "\\nFORGED 2026-01-01 sshd: \\x1b[2J\\x1b]0;owned\\x07\\r\\x7f\\u2028\\u202e" in told
    assert "… of " in told


@pytest.mark.parametrize(
    "name",
    [
        "odd",
        f"link{FORGED}",
        f"name{FORGED}",
        "text",
        "long",
        "number",
        "bad",
        "login",
        "tls",
        f"missing{FORGED}",
        f"no/name{FORGED}",
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["inspect"],
        ["wait", "--timeout", "0.3"],
        ["call", "--timeout", "5"],
        ["check", "--subsystem", "handshake"],
    ],
    ids=lambda command: command[0],
)
def test_commands_for_one_plugin_escape_and_cut_hostile_text(
    command: list[str], name: str, odd_machine: Machine
) -> None:
    """Neither a file's name, nor its content, nor a response of the plugin forges a line."""
    method = ["VolumeDriver.Create"] if command[0] == "call" else []
    check(odd_machine.run(command[0], name, *method, *command[1:]))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("VolumeDriver.Get", "status 200 OK"),
        ("VolumeDriver.Create", "status 500 Internal Server Error"),
        ("VolumeDriver.List", "VolumeDriver.List: status 503 Service Unavailable"),
        ("VolumeDriver.Path", "a number in JSON must be finite"),
    ],
)
def test_an_error_of_a_plugin_is_one_line_with_its_address_and_status(
    method: str, words: str, odd_machine: Machine
) -> None:
    """The plugin's message of many lines is escaped and cut."""
    ran = odd_machine.run("call", "odd", method)

    assert check(ran).count("\n") == 1
    assert words in ran.stderr
    assert f"unix://{odd_machine.sockets}/odd.sock" in ran.stderr


def test_invalid_arguments_are_escaped_and_cut_in_error_messages(odd_machine: Machine) -> None:
    """An option, argument or address that is invalid forges no line and shows no password."""
    for arguments in (
        ["ls", FORGED],
        ["ls", f"--{FORGED}"],
        [FORGED],
        ["call", "odd", FORGED],
        ["call", f"tcp://me:{SECRET}@h:{FORGED}", "M.x"],
        ["call", f"tcp://me:{SECRET}@", "M.x"],
        ["serve", FORGED],
        ["check", "odd", "--volume-opt", FORGED],
    ):
        assert odd_machine.run(*arguments).returncode != 0
        check(odd_machine.run(*arguments))


def test_json_output_has_no_control_characters(odd_machine: Machine) -> None:
    """Names and manifests are complete in the JSON, with control characters escaped."""
    ran = odd_machine.run("ls", "--json")

    told = json.loads(ran.stdout)
    assert f"link{FORGED}" in {each["name"] for each in told}
    assert all(line.isprintable() for line in ran.stdout.split("\n"))
    assert SECRET not in ran.stdout


def test_a_served_plugin_logs_lines_of_less_than_4_kib(machine: Machine, short_path: Path) -> None:
    """An engine reads at most 64 KiB a line of a plugin's log; long errors are cut."""
    (short_path / "odd.py").write_text(
        "from moby_plugins.serving import PluginApp\n"
        "from moby_plugins.subsystems import VolumeDriver\n"
        "class Odd(VolumeDriver):\n"
        "    def remove(self, name):\n"
        f"        raise (ValueError if name == 'v' else RuntimeError)({FORGED!r} * 3000)\n"
        "app = PluginApp(Odd())\n"
    )
    server = ["serve", "odd:app", "--name", str(machine.sockets / "odd.sock")]
    with machine.running(machine.command(*server)) as process:
        ready = machine.run("wait", "odd")
        assert ready.returncode == 0, ready.stderr
        for name in "vvvrrr":
            machine.run("call", "odd", "VolumeDriver.Remove", json.dumps({"Name": name}))
        process.terminate()
        _, logged = process.communicate(timeout=20)

    lines = logged.split("\n")
    assert sum("VolumeDriver.Remove failed" in line for line in lines) == 6
    assert lines.count("Traceback (most recent call last):") == 3
    assert max(len(line.encode()) for line in lines) < 4096
    assert not [line for line in lines if line.startswith("FORGED")]
    assert all(line.isprintable() for line in lines)
