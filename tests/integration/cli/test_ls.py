"""``moby-plugins ls``, run as a process."""

import json
import time
from contextlib import ExitStack

import pytest

from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering
from tests.integration.cli.machine import SECONDS, Machine, stale_socket
from tests.integration.cli.terminal import at_terminal


def test_ls_prints_a_line_for_each_plugin(machine: Machine) -> None:
    """A running plugin is shown with its subsystems, a broken plugin with its error."""
    (machine.specs / "broken.spec").write_text("127.0.0.1:1")
    stale_socket(machine.sockets / "stale.sock")
    with machine.shelf():
        ran = machine.run("ls")

    assert (ran.returncode, ran.stderr) == (0, "")
    heading, *lines = ran.stdout.splitlines()
    assert heading.split() == ["NAME", "IMPLEMENTS", "ADDRESS", "FOUND"]
    assert [line.split("  ", 1)[0] for line in lines] == ["broken", "shelf", "stale"]
    broken, shelf, stale = lines
    assert "error: address '127.0.0.1:1' is not of the form scheme://" in broken
    assert shelf.split() == [
        "shelf",
        "VolumeDriver",
        f"unix://{machine.sockets}/shelf.sock",
        "socket",
    ]
    assert broken.endswith(f"  {machine.specs}/broken.spec")
    assert "error: stale socket: it exists, but no process listens on it" in stale


def test_a_metrics_collector_that_hosts_find_is_marked(machine: Machine) -> None:
    """Its row has a warning, since an engine that activates a metrics collector locks itself up."""
    meter = keeps_answering(b'{"Implements": ["VolumeDriver", "MetricsCollector"]}')
    with machine.shelf(), DummyPlugin.on_unix(machine.sockets / "meter.sock", meter):
        lines = machine.run("ls").stdout.splitlines()

    marked = [line.split()[0] for line in lines if "locks engines up" in line]
    assert marked == ["meter"]
    assert "VolumeDriver, MetricsCollector (locks engines up" in "\n".join(lines)


def test_ls_prints_the_same_as_json(machine: Machine) -> None:
    """``--json`` prints a list with one object for each plugin."""
    stale_socket(machine.sockets / "stale.sock")
    with machine.shelf() as path:
        ran = machine.run("ls", "--json")

    shelf, stale = json.loads(ran.stdout)
    assert shelf == {
        "name": "shelf",
        "address": f"unix://{path}",
        "found": str(path),
        "implements": ["VolumeDriver"],
        "error": None,
    }
    assert stale["implements"] is None
    assert stale["error"]["kind"] == "TransportError"
    assert stale["address"] == f"unix://{machine.sockets}/stale.sock"


def test_plugins_that_hang_do_not_delay_the_others(machine: Machine) -> None:
    """Ten that never respond take one time-out together, and the eleventh plugin is shown."""
    with ExitStack() as stack:
        for number in range(10):
            path = machine.sockets / f"mute{number}.sock"
            stack.enter_context(DummyPlugin.on_unix(path, Conversation.hang))
        answer = keeps_answering(b'{"Implements": ["authz"]}')
        stack.enter_context(DummyPlugin.on_unix(machine.sockets / "quick.sock", answer))
        began = time.monotonic()
        ran = machine.run("ls", "--timeout", "1")
        took = time.monotonic() - began

    lines = ran.stdout.splitlines()[1:]
    assert ["error: timed out" in line for line in lines] == [True] * 10 + [False]
    assert lines[-1].split()[:2] == ["quick", "authz"]
    assert took < 5


def test_ctrl_c_ends_ls_while_a_plugin_hangs(machine: Machine) -> None:
    """The command ends at once with exit status 130, and prints nothing."""
    with DummyPlugin.on_unix(machine.sockets / "mute.sock", Conversation.hang) as plugin:
        command = machine.command("ls", "--timeout", "60")
        with machine.running(command) as process:
            while not plugin.connections:
                time.sleep(0.02)
            process.send_signal(2)
            assert process.wait(SECONDS) == 130
            assert process.communicate() == ("", "")


def test_missing_plugin_directories_are_no_error(machine: Machine) -> None:
    """The table or list is empty, and standard error names the directories."""
    machine.sockets.rmdir()
    machine.specs.rmdir()

    ran = machine.run("ls")

    assert ran.stdout == "NAME  IMPLEMENTS  ADDRESS  FOUND\n"
    assert ran.stderr == f"moby-plugins: no plugins in {machine.sockets}, {machine.specs}\n"
    assert json.loads(machine.run("ls", "--json").stdout) == []


def test_control_characters_in_a_response_are_escaped(machine: Machine) -> None:
    """A plugin's text is shown, and cannot move the cursor of a terminal."""
    answers = [http(b'{"Implements": ["\\u001b[2J\\u202eauthz"]}'), http(b"\x1b[31mred", 500)]
    with ExitStack() as stack:
        for name, answer in zip(["calm", "angry"], answers, strict=True):
            path = machine.sockets / f"{name}.sock"
            stack.enter_context(DummyPlugin.on_unix(path, answering(answer)))
        ran = machine.run("ls")

    assert "\x1b" not in ran.stdout
    assert "\u202e" not in ran.stdout
    assert "\\x1b[2J\\u202eauthz" in ran.stdout
    assert "error: Plugin.Activate: \\x1b[31mred" in ran.stdout


def test_an_error_response_is_shown_with_its_http_status(machine: Machine) -> None:
    """The status stands behind the message in the table, and as a number in the JSON."""
    with ExitStack() as stack:
        for name, body in (("angry", b"no"), ("mute", b"")):
            path = machine.sockets / f"{name}.sock"
            stack.enter_context(DummyPlugin.on_unix(path, answering(http(body, 503))))
        lines = machine.run("ls").stdout.splitlines()[1:]
        told = json.loads(machine.run("ls", "--json").stdout)

    assert "error: Plugin.Activate: no (status 503 Service Unavailable)" in lines[0]
    assert "error: Plugin.Activate: status 503 Service Unavailable  " in lines[1]
    assert [each["error"]["status"] for each in told] == [503, 503]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_ls_breaks_no_word_at_any_width_of_the_terminal(machine: Machine, columns: int) -> None:
    """An error has lines of its own, socket addresses are left out, and cells may be stacked."""
    many = ["VolumeDriver", "NetworkDriver", "IpamDriver", "authz", "LogDriver"]
    active = keeps_answering(json.dumps({"Implements": many}).encode())
    why = "not today, for reasons that take many words to tell, as they so often do in life"
    failing = answering(http(json.dumps({"Err": why}).encode(), 500))
    (machine.specs / "far.spec").write_text("tcp://127.0.0.1:1")
    command = machine.command("ls")
    with ExitStack() as stack:
        stack.enter_context(DummyPlugin.on_unix(machine.sockets / "many.sock", active))
        stack.enter_context(DummyPlugin.on_unix(machine.sockets / "angry.sock", failing))
        with at_terminal(command, machine.environment, columns) as terminal:
            assert terminal.end() == 0

    lines = terminal.plain.replace("\r", "").splitlines()
    words = [word for line in lines for word in line.split()]
    assert max(map(len, lines)) <= columns
    wanted = [*", ".join(many).split(), *why.split(), "(status", "500", "tcp://127.0.0.1:1"]
    wanted += [f"{machine.sockets}/many.sock", f"{machine.specs}/far.spec"]
    assert [word for word in wanted if word not in words] == []
    assert "unix://" not in terminal.plain
    errors = [line for line in lines if line.startswith("  error: ")]
    assert len(errors) == 2
    assert ("NAME" in words) == (columns == 120)


def test_a_column_without_values_is_left_out(machine: Machine) -> None:
    """Plugins on sockets alone have no column ADDRESS; a table without rows has all headings."""
    command = machine.command("ls")
    with machine.shelf(), at_terminal(command, machine.environment) as terminal:
        assert terminal.end() == 0
    (machine.sockets / "shelf.sock").unlink(missing_ok=True)
    with at_terminal(command, machine.environment) as empty:
        assert empty.end() == 0

    assert terminal.plain.split()[:3] == ["NAME", "IMPLEMENTS", "FOUND"]
    assert empty.plain.split()[:2] == ["NAME", "IMPLEMENTS"]


def test_a_terminal_gets_a_table_in_colour(machine: Machine) -> None:
    """The table is as wide as the window; with NO_COLOR it is printed as to a pipe."""
    with machine.shelf():
        with at_terminal(machine.command("ls"), machine.environment) as terminal:
            assert terminal.end() == 0
        coloured, plain = terminal.written, terminal.plain
        calm = machine.environment | {"NO_COLOR": "1"}
        with at_terminal(machine.command("ls"), calm) as terminal:
            assert terminal.end() == 0
        piped = machine.run("ls").stdout

    assert "\x1b[32mVolumeDriver" in coloured
    assert "─" * 50 in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert terminal.written.replace("\r\n", "\n") == piped
