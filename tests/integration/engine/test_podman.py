"""Podman, a second host for the example volume driver."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.components import requires
from tests.integration.engine.busybox import busybox_root
from tests.integration.engine.plugin_process import PluginProcess

pytestmark = requires("podman", "podman", "busybox", root=True)

Podman: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def podman(volumes: PluginProcess) -> Iterator[Podman]:
    """Run a command of a podman that has no other state, and knows our plugin as ``ours``."""
    with tempfile.TemporaryDirectory(prefix="mp-") as home:
        configuration = Path(home, "containers.conf")
        configuration.write_text(f'[engine.volume_plugins]\nours = "{volumes.socket}"\n')
        places = ["--root", f"{home}/root", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp"]

        command = ["podman", *places, "--storage-driver", "vfs"]
        environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command, *words],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        yield run


def test_podman_creates_lists_inspects_and_removes_a_volume(podman: Podman, shelves: Path) -> None:
    """The example volume driver works under Podman as it does under a Docker engine."""
    assert podman("volume", "create", "--driver", "ours", "-o", "size=1M", "pod").stdout == "pod\n"

    assert podman("volume", "ls", "--format", "{{.Driver}} {{.Name}}").stdout == "ours pod\n"
    (found,) = json.loads(podman("volume", "inspect", "pod").stdout)
    assert (found["Driver"], found["Options"]) == ("ours", {"size": "1M"})
    assert (shelves / "pod" / "data").is_dir()

    assert podman("volume", "rm", "pod").stdout == "pod\n"
    assert not (shelves / "pod").exists()


def test_a_container_of_podman_writes_to_a_volume(podman: Podman, shelves: Path) -> None:
    """A file that the container writes into its mount is in the plugin's directory."""
    podman("volume", "create", "--driver", "ours", "written-by-podman")
    # No limits but those that any machine grants.
    limits = ("--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000")
    mount = ("--network", "none", *limits, "-v", "written-by-podman:/data")

    with busybox_root() as root:
        command = (str(root), "sh", "-c", "echo from a pod > /data/note")
        done = podman("run", "--rm", *mount, "--rootfs", *command)

    assert (done.returncode, done.stderr) == (0, "")
    assert (shelves / "written-by-podman" / "data" / "note").read_text() == "from a pod\n"
    assert podman("volume", "rm", "written-by-podman").returncode == 0


def test_podman_prints_the_error_of_the_plugin(podman: Podman) -> None:
    """The message of the plugin's exception is on Podman's standard error."""
    done = podman("volume", "create", "--driver", "ours", "-o", "size=much", "bad")

    assert done.returncode != 0
    assert "not a size: 'much'; 10M is one" in done.stderr
