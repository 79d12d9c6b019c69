"""Each side restarted under the other, running, one."""

from pathlib import Path

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import PluginProcess

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)


def test_the_plugin_is_restarted_under_a_running_engine(
    engine: Engine, volumes: PluginProcess, shelves: Path
) -> None:
    """The engine goes on with the new process, and the volume is still there."""
    engine.docker("volume", "create", "-d", volumes.name, "-o", "size=1M", "kept")
    engine.run("-v", "kept:/data", IMAGE, "sh", "-c", "echo before > /data/note")

    volumes.stop()
    assert not volumes.socket.exists()
    volumes.start()

    assert engine.inspect("volume", "kept")["Status"]["Quota"] == 1 << 20
    assert engine.run("-v", "kept:/data", IMAGE, "cat", "/data/note") == "before"


def test_a_plugin_that_starts_late_is_waited_for(engine: Engine, volumes: PluginProcess) -> None:
    """A command that comes while the plugin is away succeeds when it is back."""
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
    """An unmount of what another process mounted is no error, and the volume can go."""
    engine.docker("volume", "create", "-d", volumes.name, "held")
    mount = ("--network", "none", "-v", "held:/data")
    container = engine.docker("run", "-d", *mount, IMAGE, "sleep", "60")

    volumes.stop()
    volumes.start()
    engine.docker("rm", "-f", container)

    assert engine.docker("volume", "rm", "held") == "held"


def test_the_engine_is_restarted_under_a_running_plugin(
    engine: Engine, volumes: PluginProcess
) -> None:
    """A new engine activates the plugin again, and knows the volume it had."""
    engine.docker("volume", "create", "-d", volumes.name, "lasting")
    engine.run("-v", "lasting:/data", IMAGE, "sh", "-c", "echo before > /data/note")

    engine.restart()

    assert engine.inspect("volume", "lasting")["Driver"] == volumes.name
    assert engine.run("-v", "lasting:/data", IMAGE, "cat", "/data/note") == "before"
