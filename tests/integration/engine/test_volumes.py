"""The example volume driver under a real Docker engine (protocol.md B2)."""

from pathlib import Path

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import PluginProcess

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)


def create(engine: Engine, volumes: PluginProcess, name: str, *options: str) -> None:
    """Make a volume of ours."""
    engine.docker("volume", "create", "-d", volumes.name, *options, name)


def test_a_container_writes_to_a_volume(
    engine: Engine, volumes: PluginProcess, shelves: Path
) -> None:
    """A file that a container writes into its mount is in the plugin's directory."""
    create(engine, volumes, "written")

    engine.run("-v", "written:/data", IMAGE, "sh", "-c", "echo from inside > /data/note")

    assert (shelves / "written" / "data" / "note").read_text() == "from inside\n"
    assert engine.run("-v", "written:/data", IMAGE, "cat", "/data/note") == "from inside"


def test_a_volume_is_listed_inspected_and_removed(
    engine: Engine, volumes: PluginProcess, shelves: Path
) -> None:
    """``docker volume`` shows the plugin's values; removal deletes the volume's directory."""
    create(engine, volumes, "listed", "-o", "size=10M")

    rows = engine.docker("volume", "ls", "--format", "{{.Driver}} {{.Name}}").splitlines()
    assert f"{volumes.name} listed" in rows
    found = engine.inspect("volume", "listed")
    assert (found["Driver"], found["Scope"]) == (volumes.name, "local")
    assert found["Mountpoint"] == str(shelves / "listed" / "data")
    assert found["Status"] == {"Used": 0, "Quota": 10 << 20, "Mounts": 0}

    engine.docker("volume", "rm", "listed")

    assert not (shelves / "listed").exists()
    assert "listed" not in engine.docker("volume", "ls", "-q").splitlines()


def test_two_containers_share_a_volume(engine: Engine, volumes: PluginProcess) -> None:
    """Each container has its own mount, and no mount is left when both are removed."""
    create(engine, volumes, "shared")
    mount = ("--network", "none", "-v", "shared:/data")
    ids = [engine.docker("run", "-d", *mount, IMAGE, "sleep", "60") for _ in range(2)]

    assert engine.inspect("volume", "shared")["Status"]["Mounts"] == 2
    engine.docker("rm", "-f", ids[0])
    assert engine.inspect("volume", "shared")["Status"]["Mounts"] == 1
    engine.docker("rm", "-f", ids[1])
    assert engine.inspect("volume", "shared")["Status"]["Mounts"] == 0


def test_a_volume_over_its_quota_is_not_mounted(engine: Engine, volumes: PluginProcess) -> None:
    """The container does not start, and ``docker`` prints the plugin's message."""
    create(engine, volumes, "full", "-o", "size=1K")
    engine.run("-v", "full:/data", IMAGE, "sh", "-c", "head -c 2000 /dev/zero > /data/zeros")

    done = engine.try_docker("run", "--rm", "--network", "none", "-v", "full:/data", IMAGE, "echo")

    assert done.returncode != 0
    assert "VolumeDriver.Mount: volume full is over its quota: 2000 of 1024 bytes" in done.stderr


def test_a_bad_option_is_refused_by_its_name(engine: Engine, volumes: PluginProcess) -> None:
    """``docker`` prints the message of the plugin's exception, and no volume is left."""
    command = ("volume", "create", "-d", volumes.name, "-o")

    sizes = engine.try_docker(*command, "size=much", "refused")
    colours = engine.try_docker(*command, "colour=red", "refused")

    assert "VolumeDriver.Create: not a size: 'much'; 10M is one" in sizes.stderr
    assert "VolumeDriver.Create: no option 'colour'; there is size=10M" in colours.stderr
    assert "refused" not in engine.docker("volume", "ls", "-q").splitlines()
