"""The fixture ``plugin_dir``: directories of real sockets, specs and links."""

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


def test_a_plugin_directory_is_empty_at_first(
    plugin_dir: PluginDirectory, registry: Registry
) -> None:
    """Its settings name one directory of sockets and two of specs, and no other."""
    assert registry.scan() == []
    assert plugin_dir.settings.sockets_path == str(plugin_dir.sockets)
    assert plugin_dir.settings.specs_paths == (str(plugin_dir.specs), str(plugin_dir.more_specs))


def test_the_path_of_a_plugin_directory_leaves_room_for_a_sockets_name(
    plugin_dir: PluginDirectory,
) -> None:
    """A socket's path has at most 107 bytes."""
    assert len(str(plugin_dir.sockets)) < 40


def test_sockets_specs_and_links_in_a_plugin_directory_are_found(
    plugin_dir: PluginDirectory, registry: Registry
) -> None:
    """Found are sockets, both kinds of specs, links, and plugins in a directory of their own."""
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


def test_a_socket_of_a_plugin_directory_listens_and_never_responds(
    plugin_dir: PluginDirectory,
) -> None:
    """Connections are accepted, and a call runs into its time-out."""
    path = plugin_dir.socket("live")

    with (
        new_client(f"unix://{path}", timeout=0.01) as client,
        pytest.raises(TransportTimeoutError),
    ):
        client.call("Plugin.Activate", retry=RetryPolicy.never())


def test_a_stale_socket_of_a_plugin_directory_refuses_connections(
    plugin_dir: PluginDirectory, registry: Registry
) -> None:
    """A plugin that was killed leaves such a socket."""
    plugin_dir.stale_socket("stale")

    with pytest.raises(TransportError, match="stale socket"):
        registry.get("stale", "VolumeDriver")


def test_a_json_spec_that_is_made_without_tls_options_has_none(
    plugin_dir: PluginDirectory, registry: Registry
) -> None:
    """``TLSConfig`` is written only where options are given."""
    plugin_dir.json_spec("near", "tcp://127.0.0.1:9")

    assert registry.lookup("near").tls_config is None


def test_a_broken_spec_can_be_written(plugin_dir: PluginDirectory, registry: Registry) -> None:
    """The address is written as given, and the look-up raises a SpecError for the file."""
    path = plugin_dir.spec("broken", "localhost:9")

    with pytest.raises(SpecError, match="did you mean") as caught:
        registry.lookup("broken")
    assert caught.value.file == str(path)


@pytest.mark.parametrize("kind", ["socket", "stale_socket"])
def test_a_socket_can_be_removed_and_made_again(
    plugin_dir: PluginDirectory, registry: Registry, kind: str
) -> None:
    """Once removed, the plugin is not found; its name can be used again."""
    plugin_dir.remove(getattr(plugin_dir, kind)("gone"))

    with pytest.raises(PluginNotFoundError):
        registry.lookup("gone")
    getattr(plugin_dir, kind)("gone")
    assert registry.scan() == ["gone"]


def test_a_socket_that_exists_is_not_made_again(plugin_dir: PluginDirectory) -> None:
    """A second socket of the same name is an error, and the first goes on listening."""
    path = plugin_dir.socket("shelf")

    with pytest.raises(OSError, match="in use"):
        plugin_dir.socket("shelf")

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))


def test_a_removed_socket_no_longer_listens(plugin_dir: PluginDirectory) -> None:
    """A connection is refused even through another hard link to the socket."""
    path = plugin_dir.socket("gone")
    other = plugin_dir.sockets / "other"
    other.hardlink_to(path)

    plugin_dir.remove(path)

    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(str(other))


def test_leaving_a_plugin_directory_closes_its_sockets_and_removes_no_file(
    short_path: Path,
) -> None:
    """The files that are left at the end of the ``with`` block are stale sockets."""
    with PluginDirectory(short_path / "plugins") as directory:
        path = directory.socket("shelf")

    assert path.is_socket()
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(str(path))
