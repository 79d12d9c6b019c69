"""``moby-plugins wait``, run as a process."""

import json
import time

import pytest

from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering
from tests.integration.cli.machine import SECONDS, Machine, stale_socket
from tests.integration.cli.terminal import at_terminal

ACTIVE = keeps_answering(b'{"Implements": ["authz"]}')


def test_wait_ends_at_once_if_the_plugin_is_active(machine: Machine) -> None:
    """The last line says that the plugin is active, and the exit status is 0."""
    # A machine may be so busy that the first answer takes a while, which is said.
    slow = "waiting for shelf: no response yet"
    with machine.shelf():
        ran = machine.run("wait", "shelf", "VolumeDriver")

    *before, last = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout, last) == (0, "", "shelf is active")
    # On a machine that has much to do, its answer may take a while.
    assert [line for line in before if line != slow] == []


def test_a_plugin_is_waited_for_by_its_address(machine: Machine) -> None:
    """At first there is no socket; the command ends once a plugin listens at the address."""
    path = machine.root / "late"
    with machine.running(machine.command("wait", f"unix://{path}", "authz")) as process:
        assert process.stderr is not None
        said = f"waiting for unix://{path}: no socket there; is the plugin running?\n"
        if (first := process.stderr.readline()) != said:
            # On a machine that has much to do, another state comes first.
            assert first.endswith(": no response yet\n")
            assert process.stderr.readline() == said
        with DummyPlugin.on_unix(path, ACTIVE):
            assert process.wait(SECONDS) == 0
        assert process.stderr.read().splitlines()[-1] == f"unix://{path} is active"


def test_wait_prints_the_outcome_as_json(machine: Machine) -> None:
    """An object is printed whether the plugin is active, lacks the subsystem or is missing."""
    with machine.shelf() as path:
        there = machine.run("wait", "shelf", "--json")
        other = machine.run("wait", "shelf", "authz", "--json")
    missing = machine.run("wait", "none", "--json", "--timeout", "0.3")

    found = json.loads(there.stdout)
    assert 0 <= found.pop("seconds") < SECONDS
    assert (there.returncode, found) == (
        0,
        {
            "plugin": "shelf",
            "address": f"unix://{path}",
            "implements": ["VolumeDriver"],
            "error": None,
        },
    )
    assert other.returncode == 4
    assert json.loads(other.stdout)["error"]["kind"] == "NotImplementedByPluginError"
    assert missing.returncode == 3
    assert json.loads(missing.stdout)["error"]["kind"] == "PluginNotFoundError"


def test_wait_prints_a_line_for_each_change_until_the_plugin_is_active(machine: Machine) -> None:
    """At first the plugin is missing, then its socket is stale, then a process listens."""
    path = machine.sockets / "late.sock"
    with machine.running(machine.command("wait", "late", "--timeout", "20")) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting for late: there is no socket and no spec\n"
        stale_socket(path)
        stale = "waiting for late: stale socket: it exists, but no process listens on it\n"
        assert process.stderr.readline() == stale
        path.unlink()
        with DummyPlugin.on_unix(path, ACTIVE):
            assert process.wait(SECONDS) == 0
        assert process.stderr.read().splitlines()[-1] == "late is active"


@pytest.mark.parametrize(
    ("prepare", "status", "said"),
    [
        (lambda _: None, 3, "plugin 'late' not found"),
        (stale_socket, 5, "stale socket"),
    ],
)
def test_the_time_out_ends_the_wait_with_the_last_reason(
    machine: Machine, prepare: object, status: int, said: str
) -> None:
    """The exit status is 3 for a plugin that is missing, and 5 for one that is dead."""
    assert callable(prepare)
    prepare(machine.sockets / "late.sock")
    began = time.monotonic()

    ran = machine.run("wait", "late", "--timeout", "1")

    assert time.monotonic() - began < 4
    assert ran.returncode == status
    assert said in ran.stderr.splitlines()[-1]


def test_the_last_attempt_is_just_before_the_end(machine: Machine) -> None:
    """Nothing is given up earlier because the next delay would be too long."""
    missing = machine.run("wait", "none", "--json", "--timeout", "1.5")

    assert json.loads(missing.stdout)["seconds"] >= 1.3


def test_a_plugin_that_hangs_is_given_up_at_the_time_out(machine: Machine) -> None:
    """The time-out bounds the handshake too."""
    with DummyPlugin.on_unix(machine.sockets / "mute.sock", Conversation.hang):
        began = time.monotonic()
        ran = machine.run("wait", "mute", "--timeout", "1")
        took = time.monotonic() - began

    assert ran.returncode == 6
    assert took < 4
    assert "waiting for mute: no response yet" in ran.stderr


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (http(b'{"Implements": ["authz"]}'), 4, "does not implement 'VolumeDriver'"),
        (http(b"broken", 500), 7, "broken"),
        (http(b"no json"), 8, "JSON"),
    ],
)
def test_wait_ends_at_once_if_the_plugin_responds_with_an_error(
    machine: Machine, answer: bytes, status: int, said: str
) -> None:
    """Lacking the subsystem or failing the handshake, a plugin would not change by itself."""
    with DummyPlugin.on_unix(machine.sockets / "odd.sock", answering(answer)):
        began = time.monotonic()
        ran = machine.run("wait", "odd", "VolumeDriver", "--timeout", "15")
        took = time.monotonic() - began

    assert (ran.returncode, ran.stdout) == (status, "")
    assert said in ran.stderr
    assert took < 10


def test_a_terminal_shows_one_line_that_counts_down(machine: Machine) -> None:
    """Ctrl-C clears the line and ends the command with 130, even while a handshake hangs."""
    command = machine.command("wait", "mute", "--timeout", "60")
    with (
        DummyPlugin.on_unix(machine.sockets / "mute.sock", Conversation.hang),
        at_terminal(command, machine.environment) as terminal,
    ):
        terminal.wait_for("waiting for mute: no response yet (60 s left)")
        terminal.wait_for("(59 s left)")
        terminal.type(b"\x03")
        began = time.monotonic()
        assert terminal.end() == 130
        took = time.monotonic() - began

    assert took < 3
    assert "\n" not in terminal.plain.replace("^C", "")
    assert terminal.written.endswith("\r\x1b[K")


def test_the_line_on_the_terminal_is_cleared_once_the_plugin_is_active(machine: Machine) -> None:
    """Only the message that the plugin is active stays on the screen."""
    command = machine.command("wait", "late", "authz")
    with at_terminal(command, machine.environment) as terminal:
        terminal.wait_for("waiting for late: there is no socket and no spec")
        with DummyPlugin.on_unix(machine.sockets / "late.sock", ACTIVE):
            assert terminal.end() == 0

    assert terminal.written.endswith("\r\x1b[Klate is active\r\n")
