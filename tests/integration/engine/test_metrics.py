"""The example metrics collector and a real Docker engine (protocol.md B7)."""

import time
from pathlib import Path

from tests.integration.components import requires
from tests.integration.engine.dockerd import Engine
from tests.integration.engine.managed_plugin import managed
from tests.integration.engine.plugin_process import EXAMPLES

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)

SCRIPT = str(EXAMPLES / "metrics_plugin.py")


def content_of(path: Path) -> str:
    """What is in the file, once it is there; at most 10 s."""
    for _ in range(500):
        if path.exists():
            break
        time.sleep(0.02)
    return path.read_text()


def test_a_managed_plugin_collects_the_engines_metrics(engine: Engine, short_path: Path) -> None:
    """The engine starts the plugin, calls StartMetrics, and mounts the socket with the metrics."""
    target = short_path / "docker.prom"
    command = (SCRIPT, "/run/docker/plugins/plugin.sock", str(target))

    with managed(engine, "mp-test-meter", "metricscollector", short_path, *command):
        content = content_of(target)

    assert "# TYPE engine_daemon_container_states_containers gauge" in content
