"""``moby-plugins wait``, run as a process."""

import json
import time

import pytest

from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering
from tests.integration.cli.machine import SECONDS, Machine, stale_socket
from tests.integration.cli.terminal import at_terminal

ACTIVE = keeps_answering(b'{"Implements": ["authz"]}')


def test_a_plugin_that_is_there_is_not_waited_for(machine: Machine) -> None:
    """Nothing is wrong with it, that it is active is said last, and the status is 0."""
    # A machine may be so busy that the first answer takes a while, which is said.
    slow = "waiting for shelf: no response yet"
    with machine.shelf():
        ran = machine.run("wait", "shelf", "VolumeDriver")

    *before, last = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout, last) == (0, "", "shelf is active")
    # On a machine that has much to do, its answer may take a while.
    assert [line for line in before if line != slow] == []


def test_a_plugin_is_waited_for_by_its_address(machine: Machine) -> None:
    """First there is no socket, then a plugin listens on it."""
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


def test_programs_read_the_outcome_as_json(machine: Machine) -> None:
    """An object on standard output, whether the plugin came or not."""
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


def test_each_change_is_a_line_until_the_plugin_is_there(machine: Machine) -> None:
    """First it is missing, then its socket is stale, then a process listens."""
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
def test_the_time_out_ends_it_with_the_last_reason(
    machine: Machine, prepare: object, status: int, said: str
) -> None:
    """The exit status tells a plugin that is missing from one that is dead."""
    assert callable(prepare)
    prepare(machine.sockets / "late.sock")
    began = time.monotonic()

    ran = machine.run("wait", "late", "--timeout", "1")

    assert time.monotonic() - began < 4
    assert ran.returncode == status
    assert said in ran.stderr.splitlines()[-1]


def test_a_plugin_that_hangs_is_given_up_in_time(machine: Machine) -> None:
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
def test_a_plugin_that_answers_otherwise_is_not_waited_for(
    machine: Machine, answer: bytes, status: int, said: str
) -> None:
    """It would not change by itself: the status says what it did."""
    with DummyPlugin.on_unix(machine.sockets / "odd.sock", answering(answer)):
        began = time.monotonic()
        ran = machine.run("wait", "odd", "VolumeDriver", "--timeout", "15")
        took = time.monotonic() - began

    assert (ran.returncode, ran.stdout) == (status, "")
    assert said in ran.stderr
    assert took < 10


def test_a_terminal_has_one_line_that_counts_down(machine: Machine) -> None:
    """It is gone at the end; Ctrl-C ends the waiting at once, with 130, while a handshake hangs."""
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


def test_a_plugin_that_comes_clears_the_line(machine: Machine) -> None:
    """What stays on the screen is that it is active."""
    command = machine.command("wait", "late", "authz")
    with at_terminal(command, machine.environment) as terminal:
        terminal.wait_for("waiting for late: there is no socket and no spec")
        with DummyPlugin.on_unix(machine.sockets / "late.sock", ACTIVE):
            assert terminal.end() == 0

    assert terminal.written.endswith("\r\x1b[Klate is active\r\n")
