"""``moby-plugins trace`` when something ends: the plugin, the trace, or whoever reads it."""

from collections.abc import Iterator
from contextlib import contextmanager

from moby_plugins.testing import LivePlugin
from tests.integration.cli.machine import SECONDS, Machine
from tests.integration.cli.tracing import Traced, call, echo, tracing, without_times


def test_a_plugin_that_is_restarted_is_traced_on(machine: Machine) -> None:
    """It makes its socket anew; the trace moves that aside too."""
    with tracing_of_two_lives(machine) as traced:
        lines = traced.end()

    assert without_times(lines) == ["M.first 200", '  → "1"', '  ← "1"', "M.second 200",
                                    '  → "2"', '  ← "2"']  # fmt: skip


@contextmanager
def tracing_of_two_lives(machine: Machine) -> Iterator[Traced]:
    """A plugin that is called, killed, started anew, and called again."""
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


def test_a_trace_that_was_killed_is_put_right_by_the_next(machine: Machine) -> None:
    """The plugin's socket is where it was left; the doctor tells, and another trace mends."""
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
    assert "a trace of this plugin was killed, and its socket is still aside" in diagnosis.stdout
    assert "moby-plugins trace shelf" in diagnosis.stdout


def test_a_trace_that_runs_is_no_finding(machine: Machine) -> None:
    """What it has put aside is its own business."""
    with machine.shelf(), tracing(machine, "shelf") as traced:
        ran = machine.run("doctor")
        traced.end()

    assert (ran.returncode, ran.stdout) == (0, "nothing is wrong\n")


def test_a_trace_of_a_spec_that_was_killed_leaves_no_socket_for_ever(machine: Machine) -> None:
    """Its stale socket hides the spec only until the next trace."""
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


def test_output_that_nobody_reads_ends_it_properly(machine: Machine) -> None:
    """``trace | head -1``: the socket comes back."""
    with machine.shelf() as path:
        inode = path.stat().st_ino
        with tracing(machine, "shelf") as traced:
            assert traced.process.stdout is not None
            traced.process.stdout.close()
            for _ in range(2):
                call(path, "Plugin.Activate")
            assert traced.process.wait(SECONDS) != 0
        assert path.stat().st_ino == inode
