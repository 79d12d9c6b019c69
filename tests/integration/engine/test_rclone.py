"""A real plugin that others wrote: ``rclone serve docker``, from its Debian package."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moby_plugins import (
    NotImplementedByPluginError,
    Registry,
    Settings,
    StatusError,
    new_local_registry,
)
from moby_plugins.app.client import Client
from moby_plugins.subsystems import Volume, VolumeDriver
from tests.integration.components import requires

pytestmark = requires("rclone", "rclone")


@contextmanager
def rclone_at(path: Path, directory: Path) -> Iterator[None]:
    """rclone, serving at the socket ``path``; what it writes is in ``directory``."""
    command = ["rclone", "serve", "docker", "--no-spec", "--config", "/dev/null"]
    options = {"socket-addr": path, "base-dir": directory / "b", "cache-dir": directory / "c"}
    command += [f"--{name}={value}" for name, value in options.items()]
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as rclone,
    ):
        try:
            for _ in range(500):
                if path.is_socket() or rclone.poll() is not None:
                    break
                time.sleep(0.02)
            assert path.is_socket(), (directory / "log").read_text()
            yield
        finally:
            rclone.terminate()


@pytest.fixture
def registry(short_path: Path) -> Iterator[Registry]:
    """A registry that finds rclone, which runs for the test."""
    with rclone_at(short_path / "rclone.sock", short_path):
        settings = Settings(sockets_path=short_path, specs_paths=())
        with new_local_registry(settings) as found:
            yield found


@pytest.fixture
def client(registry: Registry) -> Client:
    """A client of rclone, found and activated."""
    return registry.get("rclone", "VolumeDriver").client


def test_rclone_is_found_and_activated(registry: Registry) -> None:
    """A scan finds rclone's socket, and the handshake lists the subsystems of rclone."""
    assert registry.scan() == ["rclone"]

    plugin = registry.get("rclone", "VolumeDriver")

    assert plugin.manifest.implements == ("VolumeDriver",)
    assert [found.name for found in registry.get_all("VolumeDriver")] == ["rclone"]
    with pytest.raises(NotImplementedByPluginError, match="it implements VolumeDriver"):
        registry.get("rclone", "NetworkDriver")


def test_rclone_reports_its_capabilities(client: Client) -> None:
    """A call without arguments gets a response."""
    answer = client.call("VolumeDriver.Capabilities", {})

    assert answer["Capabilities"]["Scope"] == "local"


def test_rclone_creates_lists_and_removes_a_volume(client: Client, short_path: Path) -> None:
    """Create, List, Get, Path and Remove do what their names say."""
    remote = short_path / "remote"
    remote.mkdir()
    options = {"type": "local", "path": str(remote)}

    client.call("VolumeDriver.Create", {"Name": "data", "Opts": options})

    listed = client.call("VolumeDriver.List", {})["Volumes"]
    assert [volume["Name"] for volume in listed] == ["data"]
    got = client.call("VolumeDriver.Get", {"Name": "data"})["Volume"]
    assert got["Name"] == "data"
    where = client.call("VolumeDriver.Path", {"Name": "data"})["Mountpoint"]
    assert where == got["Mountpoint"] == str(short_path / "b" / "data")

    client.call("VolumeDriver.Remove", {"Name": "data"})

    assert not client.call("VolumeDriver.List", {})["Volumes"]


def test_the_typed_volume_driver_works_with_rclone(client: Client, short_path: Path) -> None:
    """``VolumeDriver`` sends requests that rclone understands, and reads its responses."""
    (short_path / "remote").mkdir()
    driver = VolumeDriver(client)

    driver.create("data", {"type": "local", "path": str(short_path / "remote")})

    assert driver.capabilities().scope == "local"
    where = str(short_path / "b" / "data")
    assert driver.path("data") == where
    found = driver.get("data")
    assert isinstance(found, Volume)
    assert (found.name, found.mountpoint) == ("data", where)
    assert [volume.name for volume in driver.list()] == ["data"]

    driver.remove("data")

    assert driver.list() == ()
    with pytest.raises(StatusError, match=r"(?m)^VolumeDriver\.Get: volume not found$"):
        driver.get("data")


def test_an_unknown_volume_gives_the_error_of_rclone(client: Client) -> None:
    """The error has rclone's own message, after the method's name."""
    with pytest.raises(StatusError) as caught:
        client.call("VolumeDriver.Get", {"Name": "nothing"})

    assert caught.value.status == 500
    assert str(caught.value) == "VolumeDriver.Get: volume not found"


def test_a_method_that_rclone_lacks_is_not_found(client: Client) -> None:
    """The error has status 404 and the text of rclone's web server."""
    with pytest.raises(StatusError) as caught:
        client.call("VolumeDriver.Nonsense", {})

    assert (caught.value.status, caught.value.message) == (404, "404 page not found")
