"""Standard output that is full or closed: an exit status for every command, and no traceback."""

import json
import os
import subprocess
from contextlib import ExitStack

import pytest

from tests.dummy_plugin import DummyPlugin, keeps_answering
from tests.integration.cli.machine import SECONDS, Machine

UNWRITTEN = 10
COMMANDS = [
    ["--version"],
    ["--help"],
    ["ls"],
    ["ls", "--json"],
    ["ls", "--help"],
    ["inspect", "shelf"],
    ["inspect", "shelf", "--json"],
    ["call", "shelf", "VolumeDriver.List", "{}"],
    ["call", "shelf", "VolumeDriver.List", "{}", "--json"],
    ["call", "shelf", "VolumeDriver.List", "{}", "--raw"],
    ["call", "shelf", "VolumeDriver.List", "{}", "--stream"],
    ["wait", "shelf", "--json"],
    ["doctor"],
    ["doctor", "--json"],
    ["check", "shelf", "--read-only"],
    ["check", "--list"],
    ["demo"],
]


def in_shell(
    machine: Machine, redirection: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command with its streams put elsewhere, as a shell does."""
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *machine.command(*arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=machine.environment,
        cwd=machine.root,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_standard_output_to_a_full_disk_has_exit_status_10(
    machine: Machine, arguments: list[str]
) -> None:
    """The last line on standard error says why, and there is no traceback."""
    with machine.shelf():
        ran = in_shell(machine, ">/dev/full", *arguments)

    assert ran.returncode == UNWRITTEN
    last = ran.stderr.splitlines()[-1]
    assert last == "moby-plugins: standard output: No space left on device"
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_closed_standard_output_has_exit_status_10(machine: Machine, arguments: list[str]) -> None:
    """A file that is opened next does not become standard output, and there is no traceback."""
    with machine.shelf():
        ran = in_shell(machine, ">&-", *arguments)

    assert ran.returncode == UNWRITTEN
    assert ran.stderr.splitlines()[-1] == "moby-plugins: standard output: it is closed"
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_pipe_without_a_reader_has_exit_status_10_and_no_message(
    machine: Machine, arguments: list[str]
) -> None:
    """This is how ``head`` ends a command whose output it has read enough of."""
    reading, writing = os.pipe()
    os.close(reading)
    with machine.shelf():
        try:
            ran = subprocess.run(
                machine.command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=SECONDS,
                env=machine.environment,
                cwd=machine.root,
            )
        finally:
            os.close(writing)

    assert ran.returncode == UNWRITTEN
    assert "moby-plugins: standard output" not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&- <&-"])
@pytest.mark.parametrize(
    "arguments", [["ls"], ["inspect", "none"], ["wait", "shelf"], ["ls", "--x"]]
)
def test_standard_error_that_cannot_be_written_to_changes_no_exit_status(
    machine: Machine, arguments: list[str], redirection: str
) -> None:
    """Exit status and standard output are the same as with standard error open."""
    with machine.shelf():
        usual = machine.run(*arguments)
        ran = in_shell(machine, redirection, *arguments)

    assert (ran.returncode, ran.stdout) == (usual.returncode, usual.stdout)


def test_a_command_that_prints_nothing_works_with_closed_standard_output(machine: Machine) -> None:
    """A boot script may run ``wait`` in this way."""
    with machine.shelf():
        assert in_shell(machine, ">&- <&-", "wait", "shelf").returncode == 0


def test_closed_standard_input_is_read_as_empty(machine: Machine) -> None:
    """The arguments of ``call`` are then no JSON, which is an error of usage."""
    ran = in_shell(machine, "<&-", "call", "shelf", "A.B", "-")

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


def test_ls_ends_without_a_message_when_the_reader_has_read_enough(machine: Machine) -> None:
    """The list is longer than a pipe holds, and ``head`` reads one line of it."""
    answer = keeps_answering(json.dumps({"Implements": ["x" * 200] * 5}).encode())
    with ExitStack() as stack:
        for number in range(60):
            path = machine.sockets / f"p{number}.sock"
            stack.enter_context(DummyPlugin.on_unix(path, answer))
        script = '"$@" | head -1; exit ${PIPESTATUS[0]}'
        ran = subprocess.run(
            ["/bin/bash", "-c", script, "bash", *machine.command("ls", "--json")],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env=machine.environment,
        )

    assert ran.returncode in {0, UNWRITTEN}
    assert (ran.stdout, ran.stderr) == ("[\n", "")
