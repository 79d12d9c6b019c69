"""``moby-plugins trace`` between a real Docker engine and a plugin while a container starts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.volume_plugin import Shelf
from moby_plugins.serving import PluginApp
from moby_plugins.testing import assert_replayed
from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import EXAMPLES, PluginProcess, StartPlugin

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)

SECONDS = 30


@contextmanager
def trace(plugin: PluginProcess, recording: Path) -> Iterator["subprocess.Popen[str]"]:
    """The command on the engine's own directory, from when it stands in between."""
    command = [sys.executable, "-m", "moby_plugins", "trace", plugin.name]
    command += ["--json", "--record", str(recording)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("calls to ")
            yield process
        finally:
            process.kill()


def test_a_trace_of_a_containers_volume_shows_the_calls_of_the_protocol(
    engine: Engine, start_plugin: StartPlugin, directory: Path
) -> None:
    """The trace has exactly the calls of protocol.md B2, and can be replayed without an engine."""
    volumes = directory / "traced"
    volumes.mkdir()
    plugin = start_plugin("traced", EXAMPLES / "volume_plugin.py", volumes)
    inode = plugin.socket.stat().st_ino

    with trace(plugin, directory / "calls") as process:
        engine.docker("volume", "create", "-d", plugin.name, "-o", "size=1M", "traced")
        printed = engine.run("-v", "traced:/data", IMAGE, "echo", "running")
        engine.docker("volume", "rm", "traced")
        process.terminate()
        out, _ = process.communicate(timeout=SECONDS)

    assert printed == "running"
    assert plugin.socket.stat().st_ino == inode
    assert list(plugin.socket.parent.glob(f".traced/{plugin.name}*")) == []
    calls = [json.loads(line) for line in out.splitlines()]
    methods = [call["method"].partition(".")[2] for call in calls]
    # Capabilities are asked again each time, for the driver has none to tell.
    assert [name for name in methods if name != "Capabilities"] == [
        "Activate",
        *("Get", "Create"),
        *("Get", "Get", "Mount", "Get", "Unmount"),
        *("Get", "Get", "Remove"),
    ]
    created = calls[methods.index("Create")]
    assert json.loads(created["request"]) == {"Name": "traced", "Opts": {"size": "1M"}}
    assert_replayed(directory / "calls", PluginApp(Shelf(volumes)))
