"""Directories of real sockets, specs and links, as the fixture furnishes them."""

import socket
from pathlib import Path

import pytest

from moby_plugins import (
    PluginNotFoundError,
    Registry,
    RetryPolicy,
    SpecError,
    TLSOptions,
    TransportError,
    TransportTimeoutError,
    new_client,
    new_local_registry,
)
from moby_plugins.testing import FakeClock, PluginDirectory


@pytest.fixture
def registry(plugin_dir: PluginDirectory) -> Registry:
    """A registry that looks there."""
    return new_local_registry(plugin_dir.settings, clock=FakeClock())


def test_nothing_is_there_at_first(plugin_dir: PluginDirectory, registry: Registry) -> None:
    """Three directories, all empty, and no other is looked at."""
    assert registry.scan() == []
    assert plugin_dir.settings.sockets_path == str(plugin_dir.sockets)
    assert plugin_dir.settings.specs_paths == (str(plugin_dir.specs), str(plugin_dir.more_specs))


def test_a_path_leaves_room_for_a_sockets_name(plugin_dir: PluginDirectory) -> None:
    """A socket's path has 107 bytes."""
    assert len(str(plugin_dir.sockets)) < 40


def test_all_kinds_are_found(plugin_dir: PluginDirectory, registry: Registry) -> None:
    """Sockets, specs of both kinds, links to either, and what has a directory of its own."""
    live = plugin_dir.socket("live")
    plugin_dir.stale_socket("stale")
    plugin_dir.socket("nested/nested")
    far = plugin_dir.spec("far", "tcp://127.0.0.1:9")
    plugin_dir.json_spec("near", "https://127.0.0.1:9", {"CAFile": "/ca.pem"})
    plugin_dir.symlink("same", live)
    plugin_dir.symlink("too-far", far)
    plugin_dir.symlink("dangling", Path("/none.sock"))

    assert registry.scan() == ["far", "live", "near", "nested", "same", "stale", "too-far"]
    assert registry.lookup("too-far").addr == "tcp://127.0.0.1:9"
    assert registry.lookup("near").tls_config == TLSOptions(ca_file="/ca.pem")


def test_a_socket_listens_and_never_answers(plugin_dir: PluginDirectory) -> None:
    """Connections are taken, and a call runs into its time-out."""
    path = plugin_dir.socket("live")

    with (
        new_client(f"unix://{path}", timeout=0.01) as client,
        pytest.raises(TransportTimeoutError),
    ):
        client.call("Plugin.Activate", retry=RetryPolicy.never())


def test_a_stale_socket_refuses(plugin_dir: PluginDirectory, registry: Registry) -> None:
    """As one of a plugin that was killed."""
    plugin_dir.stale_socket("stale")

    with pytest.raises(TransportError, match="stale socket"):
        registry.get("stale", "VolumeDriver")


def test_a_json_without_tls_has_none(plugin_dir: PluginDirectory, registry: Registry) -> None:
    """The table is written only where it is given."""
    plugin_dir.json_spec("near", "tcp://127.0.0.1:9")

    assert registry.lookup("near").tls_config is None


def test_a_broken_spec_can_be_written(plugin_dir: PluginDirectory, registry: Registry) -> None:
    """An address is written as it is given."""
    path = plugin_dir.spec("broken", "localhost:9")

    with pytest.raises(SpecError, match="did you mean") as caught:
        registry.lookup("broken")
    assert caught.value.file == str(path)


@pytest.mark.parametrize("kind", ["socket", "stale_socket"])
def test_what_was_made_can_be_removed(
    plugin_dir: PluginDirectory, registry: Registry, kind: str
) -> None:
    """And made again in the same place."""
    plugin_dir.remove(getattr(plugin_dir, kind)("gone"))

    with pytest.raises(PluginNotFoundError):
        registry.lookup("gone")
    getattr(plugin_dir, kind)("gone")
    assert registry.scan() == ["gone"]


def test_what_is_there_is_not_made_twice(plugin_dir: PluginDirectory) -> None:
    """A second plugin of the same kind and name is an error, and the first goes on."""
    path = plugin_dir.socket("shelf")

    with pytest.raises(OSError, match="in use"):
        plugin_dir.socket("shelf")

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))


def test_a_socket_that_is_removed_listens_no_more(plugin_dir: PluginDirectory) -> None:
    """Even for a process that still knows another way to it."""
    path = plugin_dir.socket("gone")
    other = plugin_dir.sockets / "other"
    other.hardlink_to(path)

    plugin_dir.remove(path)

    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(str(other))


def test_leaving_closes_the_sockets_and_removes_nothing(short_path: Path) -> None:
    """What lies there afterwards are stale sockets."""
    with PluginDirectory(short_path / "plugins") as directory:
        path = directory.socket("shelf")

    assert path.is_socket()
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(str(path))
