"""The asynchronous example plugins under a real Docker engine (protocol.md B2, B6)."""

from pathlib import Path

import pytest

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import EXAMPLES, PluginProcess, StartPlugin
from tests.integration.engine.test_logs import start, written
from tests.integration.engine.test_volumes import create

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)


@pytest.fixture(scope="module")
def shelves(directory: Path) -> Path:
    """Where the volumes are."""
    path = directory / "async-volumes"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def volumes(start_plugin: StartPlugin, shelves: Path) -> PluginProcess:
    """The asynchronous volume driver."""
    return start_plugin("async-volumes", EXAMPLES / "async_volume_plugin.py", shelves)


@pytest.fixture(scope="module")
def files(directory: Path) -> Path:
    """Where the containers' lines are written."""
    path = directory / "async-logs"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def lines(start_plugin: StartPlugin, files: Path) -> PluginProcess:
    """The asynchronous log driver."""
    return start_plugin("async-lines", EXAMPLES / "async_log_plugin.py", files)


def test_a_container_writes_to_a_volume(
    engine: Engine, volumes: PluginProcess, shelves: Path
) -> None:
    """A file that a container writes into its mount is in the plugin's directory."""
    create(engine, volumes, "awritten")

    engine.run("-v", "awritten:/data", IMAGE, "sh", "-c", "echo from inside > /data/note")

    assert (shelves / "awritten" / "note").read_text() == "from inside\n"


def test_a_volume_is_listed_shared_and_removed(
    engine: Engine, volumes: PluginProcess, shelves: Path
) -> None:
    """Each container has its own mount, and ``docker`` prints the error of a refused option."""
    create(engine, volumes, "alisted")
    rows = engine.docker("volume", "ls", "--format", "{{.Driver}} {{.Name}}").splitlines()
    assert f"{volumes.name} alisted" in rows
    mount = ("--network", "none", "-v", "alisted:/data")
    ids = [engine.docker("run", "-d", *mount, IMAGE, "sleep", "60") for _ in range(2)]

    assert engine.inspect("volume", "alisted")["Status"]["Mounts"] == 2
    for container in ids:
        engine.docker("rm", "-f", container)
    assert engine.inspect("volume", "alisted")["Status"]["Mounts"] == 0
    refused = engine.try_docker("volume", "create", "-d", volumes.name, "-o", "colour=red", "no")
    assert "VolumeDriver.Create: no option 'colour'" in refused.stderr

    engine.docker("volume", "rm", "alisted")
    assert not (shelves / "alisted").exists()


def test_docker_logs_gives_back_what_a_container_prints(
    engine: Engine, lines: PluginProcess, files: Path
) -> None:
    """Each line is JSON in the container's file, and ``docker logs`` gives all of them back."""
    container = start(engine, lines, "echo one; echo two >&2; head -c 40000 /dev/zero | tr '\\0' x")
    assert engine.docker("wait", container) == "0"

    done = engine.try_docker("logs", container)

    assert (done.returncode, done.stderr) == (0, "two\n")
    assert done.stdout == "one\n" + "x" * 40_000 + "\n"
    assert ("stdout", "one") in written(files, container)
    assert engine.docker("logs", "--tail", "1", container) == "x" * 40_000


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
