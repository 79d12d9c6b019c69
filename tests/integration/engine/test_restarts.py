"""The plugin restarted while its engine runs, and the engine while its plugin runs."""

from pathlib import Path

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import PluginProcess

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)


def test_a_plugin_can_be_restarted_while_its_engine_runs(
    engine: Engine, volumes: PluginProcess, shelves: Path
) -> None:
    """The engine uses the new process, and the volume with its file is still there."""
    engine.docker("volume", "create", "-d", volumes.name, "-o", "size=1M", "kept")
    engine.run("-v", "kept:/data", IMAGE, "sh", "-c", "echo before > /data/note")

    volumes.stop()
    assert not volumes.socket.exists()
    volumes.start()

    assert engine.inspect("volume", "kept")["Status"]["Quota"] == 1 << 20
    assert engine.run("-v", "kept:/data", IMAGE, "cat", "/data/note") == "before"


def test_an_engine_waits_for_a_plugin_that_starts_late(
    engine: Engine, volumes: PluginProcess
) -> None:
    """A command that begins while the plugin is stopped succeeds once the plugin is back."""
    engine.docker("volume", "create", "-d", volumes.name, "late")
    volumes.stop()
    command = engine.start_docker("volume", "rm", "late")
    try:
        volumes.start()
        output, errors = command.communicate(timeout=30)
    finally:
        command.kill()

    assert (output.strip(), errors) == ("late", "")


def test_a_container_stops_after_its_plugin_was_restarted(
    engine: Engine, volumes: PluginProcess
) -> None:
    """Unmounting what the earlier process mounted is no error, and the volume can be removed."""
    engine.docker("volume", "create", "-d", volumes.name, "held")
    mount = ("--network", "none", "-v", "held:/data")
    container = engine.docker("run", "-d", *mount, IMAGE, "sleep", "60")

    volumes.stop()
    volumes.start()
    engine.docker("rm", "-f", container)

    assert engine.docker("volume", "rm", "held") == "held"


def test_an_engine_can_be_restarted_while_its_plugin_runs(
    engine: Engine, volumes: PluginProcess
) -> None:
    """The restarted engine activates the plugin again, and still knows its volume."""
    engine.docker("volume", "create", "-d", volumes.name, "lasting")
    engine.run("-v", "lasting:/data", IMAGE, "sh", "-c", "echo before > /data/note")

    engine.restart()

    assert engine.inspect("volume", "lasting")["Driver"] == volumes.name
    assert engine.run("-v", "lasting:/data", IMAGE, "cat", "/data/note") == "before"
