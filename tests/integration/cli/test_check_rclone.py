"""``moby-plugins check`` of a plugin that others wrote: ``rclone serve docker``.

What it finds was compared with the protocol, and is so:

- "mount again" and "mounts are counted" fail: rclone refuses to mount what the same ID has
  mounted, but ``docker cp`` from a running container repeats the running mount (B11 trap 12).
- "create twice" warns: a second Create is "volume already exists". An engine sends one only
  where Get has failed.
- "unmount of unmounted" warns: an error for an Unmount that comes after a restart.
- "content type" warns: rclone labels its answers v1.1, where engines ask for v1.2; they do
  not look.
"""

import json
from pathlib import Path

from tests.integration.cli.machine import Machine
from tests.integration.components import requires
from tests.integration.engine.test_rclone import rclone_at

pytestmark = requires("rclone", "rclone", "fusermount3")


def test_check_finds_the_known_faults_of_rclone(machine: Machine) -> None:
    """Two checks fail, three warn, and the volumes that they made are removed."""
    remote = Path(machine.root, "remote")
    remote.mkdir()
    options = ["--volume-opt", "type=local", "--volume-opt", f"path={remote}"]
    with rclone_at(machine.sockets / "rclone.sock", machine.root):
        ran = machine.run("check", "rclone", *options, "--json")
        left = machine.run("call", "rclone", "VolumeDriver.List", "{}")

    findings = json.loads(ran.stdout)["findings"]
    found = {each["check"]: each for each in findings if each["outcome"] in ("failed", "warned")}
    assert ran.returncode == 1
    assert {name: each["outcome"] for name, each in found.items()} == {
        "content type": "warned",
        "create twice": "warned",
        "mount again": "failed",
        "mounts are counted": "failed",
        "unmount of unmounted": "warned",
    }
    assert "volume is already mounted by this id" in found["mount again"]["came_back"]
    assert "moby-plugins-check" not in left.stdout
