"""The example log driver under a real Docker engine (protocol.md B6)."""

import json
from pathlib import Path

import pytest

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import EXAMPLES, PluginProcess, StartPlugin

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)

# Longer than two pieces of 16 KiB.
LONG = 40_000


@pytest.fixture(scope="module")
def files(directory: Path) -> Path:
    """Where the containers' lines are written."""
    path = directory / "logs"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def lines(start_plugin: StartPlugin, files: Path) -> PluginProcess:
    """The example log driver."""
    return start_plugin("lines", EXAMPLES / "log_plugin.py", files)


def start(engine: Engine, lines: PluginProcess, script: str) -> str:
    """The id of a container that runs ``script`` and logs through us."""
    options = ("-d", "--network", "none", "--log-driver", lines.name)
    return engine.docker("run", *options, IMAGE, "sh", "-c", script)


def written(files: Path, container: str) -> list[tuple[str, str]]:
    """Source and line of each record in the container's file."""
    records = map(json.loads, (files / f"{container}.jsonl").read_text().splitlines())
    return [(record["source"], record["line"]) for record in records]


def test_docker_logs_gives_back_what_a_container_prints(
    engine: Engine, lines: PluginProcess, files: Path
) -> None:
    """Each line is JSON in the container's file, and ``docker logs`` gives all of them back."""
    container = start(engine, lines, "echo one; echo two >&2; echo three")
    assert engine.docker("wait", container) == "0"

    done = engine.try_docker("logs", container)

    assert (done.returncode, done.stdout, done.stderr) == (0, "one\nthree\n", "two\n")
    assert sorted(written(files, container)) == [
        ("stderr", "two"),
        ("stdout", "one"),
        ("stdout", "three"),
    ]


def test_a_line_longer_than_16_kib_comes_back_as_one_line(
    engine: Engine, lines: PluginProcess, files: Path
) -> None:
    """The engine sends a long line in pieces, which are joined in the plugin's file, too."""
    container = start(engine, lines, f"head -c {LONG} /dev/zero | tr '\\0' x; echo; echo end")
    engine.docker("wait", container)

    assert engine.docker("logs", container) == "x" * LONG + "\nend"
    assert written(files, container) == [("stdout", "x" * LONG), ("stdout", "end")]


def test_docker_logs_tail_gives_only_the_last_lines(engine: Engine, lines: PluginProcess) -> None:
    """The plugin itself selects the lines for ``--tail``."""
    container = start(engine, lines, "for i in 1 2 3 4 5; do echo line $i; done")
    engine.docker("wait", container)

    assert engine.docker("logs", "--tail", "2", container) == "line 4\nline 5"


def test_docker_logs_follow_gives_lines_while_the_container_runs(
    engine: Engine, lines: PluginProcess
) -> None:
    """``docker logs --follow`` prints a line at once, and killing the command does no harm."""
    container = start(engine, lines, "echo early; sleep 60")

    with engine.start_docker("logs", "--follow", container) as follower:
        try:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "early\n"
        finally:
            follower.kill()

    assert engine.docker("logs", container) == "early"
    engine.docker("rm", "-f", container)


def test_docker_logs_follow_ends_with_the_container(engine: Engine, lines: PluginProcess) -> None:
    """``docker logs --follow`` prints the lines that come later, and ends with the container."""
    container = start(engine, lines, "echo early; sleep 1; echo late")

    assert engine.docker("logs", "--follow", container) == "early\nlate"
