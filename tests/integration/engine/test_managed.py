"""Managed plugins of a real engine, as hosts and the command line find them (protocol.md A7)."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, running
from tests.integration.engine.managed_plugin import SOCKET, create
from tests.integration.engine.plugin_process import EXAMPLES, SOCKETS
from tests.integration.engine.private_engine import PrivateEngine

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", "nsenter", "unshare", root=True)

INSIDE = f"/run/docker/plugins/{SOCKET}"
SHELVES = "/var/lib/shelf"
VOLUMES = (str(EXAMPLES / "volume_plugin.py"), INSIDE, SHELVES)
MOUNTS = (str(Path(__file__).with_name("mounting_plugin.py")), INSIDE, SHELVES)
NETWORK = (str(Path(__file__).with_name("null_network.py")), INSIDE)
ADMIN: dict[str, Any] = {"linux": {"capabilities": ["CAP_SYS_ADMIN"]}}


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """An engine whose plugins' directory is its own; it has the image ``IMAGE``."""
    with running(PrivateEngine()) as engine:
        yield engine


@contextmanager
def installed(
    engine: PrivateEngine, directory: Path, name: str, *command: str, **config: Any
) -> Iterator[None]:
    """The plugin ``name``, created and enabled, until the end of the block."""
    given: dict[str, Any] = {"types": ["docker.volumedriver/1.0"], "propagatedMount": SHELVES}
    given |= config
    create(engine, name, directory / "made" / name, *command, **given)
    try:
        engine.docker("plugin", "enable", name)
        yield
    finally:
        engine.try_docker("plugin", "rm", "--force", name)


def plugin_processes() -> list[str]:
    """The numbers of the processes that run ``VOLUMES``, which only plugins of these tests do."""
    command = "\0".join(VOLUMES).encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if command in (entry / "cmdline").read_bytes():
                found.append(entry.name)
    return found


def test_a_host_finds_a_managed_plugin_by_each_of_its_names(
    engine: PrivateEngine, short_path: Path
) -> None:
    """All names have one client; the scoped path of a mountpoint has what a container wrote."""
    with installed(engine, short_path, "mp/shelf", *VOLUMES):
        engine.docker("volume", "create", "-d", "mp/shelf", "books")
        written = engine.run("-v", "books:/data", IMAGE, "sh", "-c", "echo page > /data/page")
        told = engine.host("""
with new_local_registry(settings) as registry:
    met = []
    registry.handle("VolumeDriver", lambda name, _: met.append(name))
    plugin = registry.get("mp/shelf", "VolumeDriver")
    identity = plugin.address.path.split("/")[-2]
    names = ["mp/shelf:latest", identity, identity[:12]]
    [volume] = VolumeDriver(plugin.client).list()
    tell({
        "scan": registry.scan(),
        "same": all(registry.get(name).client is plugin.client for name in names),
        "met": met,
        "plugin": [plugin.name, plugin.is_v1, plugin.protocol, plugin.manifest.implements],
        "volume": volume.name,
        "page": open(plugin.scoped_path(volume.mountpoint) + "/page").read(),
        "inside": plugin.scoped_path("/marker"),
        "marker": open(plugin.scoped_path("/marker")).read().split()[0],
    })
""")

    assert written == ""
    assert told["scan"] == ["mp/shelf:latest"]
    assert told["same"]
    assert told["met"] == ["mp/shelf:latest"]
    expected = ["mp/shelf:latest", False, "moby.plugins.http/v1", ["VolumeDriver"]]
    assert told["plugin"] == expected
    assert (told["volume"], told["page"]) == ("books", "page\n")
    assert str(engine.directory) in told["inside"]
    assert told["marker"] == "mp/shelf"


def test_a_mount_of_a_managed_plugin_is_at_its_scoped_path_on_the_host(
    engine: PrivateEngine, short_path: Path
) -> None:
    """The host sees the mounted file system with the file that a container wrote."""
    with installed(engine, short_path, "mounts", *MOUNTS, **ADMIN):
        engine.docker("volume", "create", "-d", "mounts:latest", "quick")
        engine.run("-v", "quick:/data", IMAGE, "sh", "-c", "echo page > /data/page")
        told = engine.host("""
import os
with new_local_registry(settings) as registry:
    plugin = registry.get("mounts", "VolumeDriver")
    path = plugin.scoped_path(VolumeDriver(plugin.client).path("quick"))
    tell([os.path.ismount(path), open(path + "/page").read()])
""")

    assert told == [True, "page\n"]


def test_a_disabled_plugin_is_reported_at_once(engine: PrivateEngine, short_path: Path) -> None:
    """A plugin on disk of the same name is not used instead; once enabled, the plugin is back."""
    with installed(engine, short_path, "shelf", *VOLUMES):
        told = engine.host(
            """
import socket, subprocess
docker = sys.argv[2:]
with new_local_registry(settings) as registry:
    plugin = registry.get("shelf", "VolumeDriver")
    with socket.socket(socket.AF_UNIX) as v1:
        v1.bind("/run/docker/plugins/shelf.sock")
        v1.listen()
        subprocess.run([*docker, "plugin", "disable", "shelf"], check=True, capture_output=True)
        try:
            plugin.client.call("VolumeDriver.List", retry=RetryPolicy.never())
        except TransportError as error:
            refused = str(error)
        began = time.monotonic()
        try:
            registry.get("shelf")
        except PluginDisabledError as error:
            disabled = [error.name, str(error), time.monotonic() - began < 5]
        subprocess.run(["rm", "/run/docker/plugins/shelf.sock"], check=True)
    subprocess.run([*docker, "plugin", "enable", "shelf"], check=True, capture_output=True)
    again = registry.get("shelf")
    tell([refused, disabled, again is plugin, again.client.call("VolumeDriver.List")])
""",
            *engine.client(),
        )

    refused, disabled, same, volumes = told
    assert "no socket there" in refused
    assert disabled[0] == "shelf:latest"
    assert "docker plugin enable shelf" in disabled[1]
    assert disabled[2]
    assert same
    assert volumes == {"Volumes": []}


def test_a_managed_plugin_that_is_killed_serves_the_next_call(
    engine: PrivateEngine, short_path: Path
) -> None:
    """The engine starts the plugin again, and the client's retries last long enough."""
    with installed(engine, short_path, "mortal", *VOLUMES):
        pids = plugin_processes()
        assert pids
        told = engine.host(
            """
import os, signal
with new_local_registry(settings) as registry:
    plugin = registry.get("mortal", "VolumeDriver")
    for pid in sys.argv[2:]:
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.1)
    answered = plugin.client.call("VolumeDriver.List")
    tell([answered, registry.get("mortal") is plugin])
""",
            *pids,
        )

    assert told == [{"Volumes": []}, True]


def test_a_managed_plugin_that_was_installed_again_is_found_again(
    engine: PrivateEngine, short_path: Path
) -> None:
    """After a call has failed, ``get`` finds the new plugin, and handlers are called with it."""
    source = short_path / "made" / "twice"
    with installed(engine, short_path, "twice", *VOLUMES):
        told = engine.host(
            """
import subprocess
*docker, source = sys.argv[2:]
def run(*words):
    subprocess.run([*docker, "plugin", *words], check=True, capture_output=True)
with new_local_registry(settings) as registry:
    met = []
    registry.handle("VolumeDriver", lambda name, _: met.append(name))
    before = registry.get("twice", "VolumeDriver")
    run("rm", "-f", "twice")
    open(source + "/rootfs/again", "w").close()
    run("create", "twice", source)
    run("enable", "twice")
    try:
        before.client.call("VolumeDriver.List", retry=RetryPolicy.never())
    except TransportError as error:
        refused = str(error)
    after = registry.get("twice:latest")
    tell([refused, after.addr != before.addr, after.client.call("VolumeDriver.List"), met])
""",
            *engine.client(),
            str(source),
        )

    refused, other, volumes, met = told
    assert "no socket there" in refused
    assert other
    assert volumes == {"Volumes": []}
    assert met == ["twice:latest", "twice:latest"]


def test_a_managed_plugin_of_two_subsystems_is_found_by_each(
    engine: PrivateEngine, short_path: Path
) -> None:
    """``get_all`` finds the plugin for both, though the engine's own filter would leave it out."""
    types = ["docker.networkdriver/1.0", "docker.ipamdriver/1.0"]
    with installed(engine, short_path, "null", *NETWORK, types=types, propagatedMount=""):
        told = engine.host("""
with new_local_registry(settings) as registry:
    tell([
        [plugin.name for plugin in registry.get_all(kind)]
        for kind in ("NetworkDriver", "IpamDriver", "VolumeDriver")
    ])
""")

    assert told == [["null:latest"], ["null:latest"], []]


def test_long_error_messages_do_not_hang_a_managed_plugin(
    engine: PrivateEngine, short_path: Path
) -> None:
    """The engine reads the plugin's log line by line, so the plugin cuts long lines."""
    with installed(engine, short_path, "wordy", *MOUNTS, **ADMIN):
        told = engine.host("""
with new_local_registry(settings) as registry:
    client = registry.get("wordy", "VolumeDriver").client
    for _ in range(20):
        try:
            client.call("VolumeDriver.Create", {"Name": "refused"}, timeout=10)
        except StatusError as error:
            size = len(error.message)
    began = time.monotonic()
    volumes = client.call("VolumeDriver.List", timeout=10)
    tell([size, volumes, time.monotonic() - began < 1])
""")

    size, volumes, quick = told
    assert size > 10_000
    assert volumes == {"Volumes": []}
    assert quick


def test_each_command_accepts_the_name_of_a_managed_plugin(
    engine: PrivateEngine, short_path: Path
) -> None:
    """``ls``, ``doctor``, ``call``, ``wait``, ``check`` and ``inspect`` find the plugin by name."""
    with installed(engine, short_path, "mp/desk", *VOLUMES):
        listed = engine.command_line("ls", "--json")
        doctor = engine.command_line("doctor", "--json")
        called = engine.command_line("call", "mp/desk", "VolumeDriver.List")
        waited = engine.command_line("wait", "mp/desk", "VolumeDriver")
        checked = engine.command_line("check", "mp/desk", "--json")
        inspected = engine.command_line("inspect", "mp/desk", "--json")
        engine.docker("plugin", "disable", "mp/desk")
        disabled = engine.command_line("ls", "--json")

    [row] = json.loads(listed.stdout)
    assert (row["name"], row["implements"], row["error"]) == (
        "mp/desk:latest",
        ["VolumeDriver"],
        None,
    )
    assert row["address"].startswith(f"unix://{SOCKETS}/")
    assert doctor.returncode == 0, doctor.stdout
    assert {each["severity"] for each in json.loads(doctor.stdout)} <= {"note"}
    assert json.loads(called.stdout) == {"Volumes": []}
    assert waited.returncode == 0, waited.stderr
    summary = json.loads(checked.stdout)["summary"]
    assert (checked.returncode, summary["failed"]) == (0, 0), checked.stdout
    assert summary["passed"] > 30
    told = json.loads(inspected.stdout)
    assert told["socket"] == SOCKET
    assert {each["destination"] for each in told["mounts"]} >= {"/usr"}
    assert told["environment"] == []
    assert told["hides"] == []
    [row] = json.loads(disabled.stdout)
    assert row["error"]["kind"] == "PluginDisabledError"


def test_a_trace_of_a_managed_plugin_shows_the_calls_of_its_engine(
    engine: PrivateEngine, short_path: Path
) -> None:
    """The engine sends no handshake, and the trace goes on after the plugin was killed."""
    with installed(engine, short_path, "mp/seen", *VOLUMES):
        command = ("trace", "--engine", engine.address, "mp/seen", "--json")
        process = engine.start_inside(*engine.moby_plugins, *command)
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("calls to ")
            engine.docker("volume", "create", "-d", "mp/seen", "first")
            for pid in plugin_processes():
                os.kill(int(pid), signal.SIGKILL)
            assert "was removed or replaced" in process.stderr.readline()
            assert process.stderr.readline().startswith("calls to ")
            engine.docker("volume", "create", "-d", "mp/seen", "second")
            time.sleep(0.5)
            process.terminate()
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
        engine.docker("volume", "ls")

    calls = [json.loads(line) for line in out.splitlines()]
    methods = [call["method"] for call in calls]
    assert "Plugin.Activate" not in methods
    created = [json.loads(each["request"])["Name"] for each in calls if "Create" in each["method"]]
    assert created == ["first", "second"]


def test_finding_a_managed_plugin_sends_the_engine_only_get_requests(
    engine: PrivateEngine, short_path: Path
) -> None:
    """The engine's own log shows GET requests only, in the API version that the engine states."""
    ping = engine.docker("version", "--format", "{{.Server.APIVersion}}")
    with installed(engine, short_path, "quiet", *VOLUMES):
        before = (engine.directory / "log").stat().st_size
        engine.host('registry = new_local_registry(settings); registry.get("quiet"); tell(1)')
        with (engine.directory / "log").open() as log:
            log.seek(before)
            lines = [line for line in log if "Calling " in line]

    asked = [line.partition("Calling ")[2].strip().rstrip('"') for line in lines]
    assert asked == [
        "GET /_ping",
        f"GET /v{ping}/plugins/quiet:latest/json",
        f"GET /v{ping}/info",
    ]
