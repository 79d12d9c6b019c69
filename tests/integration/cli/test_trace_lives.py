"""``moby-plugins trace`` when something ends: the plugin, the trace, or its reader."""

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moby_plugins import PluginError, new_client
from moby_plugins.domain.http import Request, Response
from moby_plugins.testing import LivePlugin
from moby_plugins.tracing import load_recording
from tests.integration.cli.machine import EXAMPLES, SECONDS, Machine
from tests.integration.cli.tracing import Traced, call, echo, tracing, without_times


def test_a_trace_goes_on_after_the_plugin_is_restarted(machine: Machine) -> None:
    """The plugin makes a new socket, which the trace moves aside too."""
    with tracing_of_two_lives(machine) as traced:
        lines = traced.end()

    assert without_times(lines) == ["M.first 200", '  → "1"', '  ← "1"', "M.second 200",
                                    '  → "2"', '  ← "2"']  # fmt: skip


@contextmanager
def tracing_of_two_lives(machine: Machine) -> Iterator[Traced]:
    """A plugin that is called, killed, started again, and called again."""
    path = machine.sockets / "shelf.sock"
    with LivePlugin(echo, "shelf", machine.sockets):
        stack = machine.running(machine.command("trace", "shelf"))
        process = stack.__enter__()
        traced = Traced(process)
        call(path, "M.first", "1")
    path.unlink()
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "the plugin's socket was removed or replaced\n"
        with LivePlugin(echo, "shelf", machine.sockets):
            assert process.stderr.readline().startswith("calls to ")
            call(path, "M.second", "2")
            yield traced
            assert call(path, "M.third", "3") == "3"
    finally:
        stack.__exit__(None, None, None)


def test_the_next_trace_puts_back_the_socket_that_a_killed_trace_moved(machine: Machine) -> None:
    """Until then the doctor reports the moved socket, with the command to run."""
    with machine.shelf() as path:
        inode = path.stat().st_ino
        with tracing(machine, "shelf") as traced:
            traced.process.kill()
            traced.process.wait()
        diagnosis = machine.run("doctor")
        assert path.stat().st_ino != inode

        with tracing(machine, "shelf") as traced:
            assert call(path, "Plugin.Activate") == {"Implements": ["VolumeDriver"]}
            assert len(traced.end()) == 2

        assert path.stat().st_ino == inode
        assert list(machine.sockets.iterdir()) == [path]
    assert diagnosis.returncode == 1
    assert (
        "a trace of this plugin was killed before it moved the plugin's socket" in diagnosis.stdout
    )
    assert "moby-plugins trace shelf" in diagnosis.stdout


def test_doctor_reports_nothing_while_a_trace_runs(machine: Machine) -> None:
    """The plugin's socket, which the trace has moved aside, is not a problem."""
    with machine.shelf(), tracing(machine, "shelf") as traced:
        ran = machine.run("doctor")
        traced.end()

    assert (ran.returncode, ran.stdout) == (0, "nothing is wrong\n")


def test_the_next_trace_removes_the_socket_of_a_killed_trace_of_a_spec(machine: Machine) -> None:
    """The stale socket hides the spec only until then."""
    with LivePlugin(echo, "far", machine.root) as far:
        (machine.specs / "shelf.spec").write_text(far.addr)
        path = machine.sockets / "shelf.sock"
        with tracing(machine, "shelf") as traced:
            traced.process.kill()
            traced.process.wait()
        assert path.is_socket()

        with tracing(machine, "shelf") as traced:
            assert call(path, "M.x", 1) == 1
            traced.end()

        assert list(machine.sockets.iterdir()) == []


def test_a_trace_without_a_reader_ends_and_puts_the_socket_back(machine: Machine) -> None:
    """This is so with ``trace | head -1``."""
    with machine.shelf() as path:
        inode = path.stat().st_ino
        with tracing(machine, "shelf") as traced:
            assert traced.process.stdout is not None
            traced.process.stdout.close()
            for _ in range(2):
                call(path, "Plugin.Activate")
            assert traced.process.wait(SECONDS) != 0
        assert path.stat().st_ino == inode


@pytest.mark.parametrize(
    ("output", "error"),
    [(">&-", "it is closed"), (">/dev/full", "No space left on device")],
)
def test_a_trace_whose_output_cannot_be_written_ends_with_an_error(
    machine: Machine, output: str, error: str
) -> None:
    """The message is one line, no other file is written to, and the plugin's socket is put back."""
    with machine.shelf() as path:
        inode = path.stat().st_ino
        command = ["sh", "-c", f'exec "$@" {output}', "sh", *machine.command("trace", "shelf")]
        with machine.running(command) as process:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("calls to ")
            assert call(path, "Plugin.Activate") == {"Implements": ["VolumeDriver"]}

            assert process.wait(SECONDS) == 10
            assert process.stderr.read() == f"moby-plugins: standard output: {error}\n"
        assert path.stat().st_ino == inode


def reached(path: Path) -> Path:
    """The path, once a plugin answers there."""
    ends = time.monotonic() + SECONDS
    while True:
        try:
            call(path, "Plugin.Activate")
        except PluginError:
            assert time.monotonic() < ends, f"nothing answers at {path}"
            time.sleep(0.02)
        else:
            return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_plugin_of_this_library_can_be_restarted_during_a_trace(
    machine: Machine, number: int
) -> None:
    """However the plugin ends, its new socket is traced, and stays after the trace."""
    path = machine.sockets / "shelf.sock"
    program = [sys.executable, str(EXAMPLES / "volume_plugin.py"), str(path), str(machine.root)]
    with machine.running(program) as first:
        reached(path)
        with tracing(machine, "shelf") as traced:
            first.send_signal(number)
            first.wait(SECONDS)
            assert traced.process.stderr is not None
            with machine.running(program) as second:
                assert traced.process.stderr.readline() == (
                    "the plugin's socket was removed or replaced\n"
                )
                assert traced.process.stderr.readline().startswith("calls to ")
                call(path, "VolumeDriver.List", {})
                lines = traced.end()
                assert call(path, "VolumeDriver.List", {}) == {"Volumes": []}
                second.send_signal(signal.SIGTERM)
                assert second.wait(SECONDS) == 0

    assert "VolumeDriver.List 200" in without_times(lines)
    assert not path.exists()
    assert not (machine.sockets / ".traced").exists()


def large(_: Request) -> Response:
    """More than a pipe holds."""
    return Response(200, b'"' + b"x" * 60_000 + b'"')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_trace_whose_output_is_stopped_delays_no_host(machine: Machine, number: int) -> None:
    """Calls that cannot be printed are dropped and counted, and a signal ends the trace."""
    path = machine.sockets / "large.sock"
    with (
        LivePlugin(large, "large", machine.sockets),
        tracing(machine, "large", "--json") as traced,
        new_client(f"unix://{path}", timeout=5) as client,
    ):
        for _ in range(1300):
            client.call("M.x")
        traced.process.send_signal(number)
        assert traced.process.wait(SECONDS) == 0
        assert call(path, "M.x") == "x" * 60_000
        out, err = traced.process.communicate()

    whole = out.count("\n")
    assert err == f"{1300 - whole} calls were not shown: the output is stopped or too slow\n"
    assert 1 <= whole < 10


def test_calls_that_are_not_printed_are_counted_on_standard_error(machine: Machine) -> None:
    """Standard output stays JSON; printed and dropped calls add up to all calls."""
    path = machine.sockets / "large.sock"
    with (
        LivePlugin(large, "large", machine.sockets),
        tracing(machine, "large", "--json") as traced,
        new_client(f"unix://{path}", timeout=5) as client,
    ):
        for _ in range(1300):
            client.call("M.x")
        out, err = traced.ended()

    shown = out.count("\n")
    dropped = [int(line.split()[0]) for line in err.splitlines()]
    assert shown + sum(dropped) == 1300
    assert dropped[0] > 0


def test_connections_that_were_open_before_a_trace_are_counted(machine: Machine) -> None:
    """Calls over these are not shown, so that their number is printed whenever it changes."""
    path = machine.sockets / "shelf.sock"
    socket_path = path
    with machine.shelf(), socket.socket(socket.AF_UNIX) as idle:
        idle.connect(str(socket_path))
        with new_client(f"unix://{path}") as client:
            client.call("Plugin.Activate")
            with tracing(machine, "shelf") as traced:
                assert traced.process.stderr is not None
                assert traced.process.stderr.readline() == (
                    "2 connections were open before: calls over them are not seen;"
                    " restart the plugin, or its hosts, to see all\n"
                )
                client.call("VolumeDriver.List", {})
                call(path, "Plugin.Activate")
                client.close()
                assert traced.process.stderr.readline().startswith(
                    "1 connection was open before, of 2 a moment ago: "
                )
                idle.close()
                assert traced.process.stderr.readline() == (
                    "no connection is left that was open before: all calls are seen\n"
                )
                assert without_times(traced.end())[0] == "Plugin.Activate 200"


def test_a_summary_is_a_table_at_the_end(machine: Machine) -> None:
    """``--summary`` shows calls, errors and percentiles of the duration for each method."""
    with machine.shelf() as path, tracing(machine, "shelf", "--summary") as traced:
        for _ in range(3):
            call(path, "VolumeDriver.List", {})
        with pytest.raises(PluginError):
            call(path, "VolumeDriver.Create", {"Name": "a", "Opts": {"none": "1"}})
        heading, created, listed = (line.split() for line in traced.end())

    assert heading == ["METHOD", "CALLS", "ERRORS", "P50", "P95", "P99"]
    assert created[:3] == ["VolumeDriver.Create", "1", "1"]
    assert listed[:3] == ["VolumeDriver.List", "3", "0"]
    assert listed[4] == "ms"


def test_a_summary_can_be_printed_as_json(machine: Machine) -> None:
    """Durations are in seconds; ``--record`` still records each call."""
    file = machine.root / "calls"
    options = ("--summary", "--json", "--record", str(file))
    with machine.shelf() as path, tracing(machine, "shelf", *options) as traced:
        call(path, "VolumeDriver.List", {})
        [method] = json.loads("\n".join(traced.end()))["methods"]

    assert (method["method"], method["calls"], method["errors"]) == ("VolumeDriver.List", 1, 0)
    assert 0 < method["p50"] == method["p99"] < SECONDS
    assert load_recording(file).methods == ["VolumeDriver.List"]
