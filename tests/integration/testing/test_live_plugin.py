"""Plugins of a test on real sockets."""

import threading
from pathlib import Path

import pytest

from moby_plugins import (
    Request,
    Response,
    RetryPolicy,
    Settings,
    SpecError,
    TransportError,
    new_client,
    new_local_registry,
)
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import (
    AsyncLivePlugin,
    FakeClock,
    LivePlugin,
    LivePlugins,
    PluginDirectory,
)
from tests.integration.serving.async_plugins import AsyncEchoes


class Shelves(VolumeDriver):
    """A plugin of one volume."""

    def list(self) -> tuple[Volume, ...]:
        return (Volume("books"),)


def serve(request: Request) -> Response:
    """A plugin that is a plain function."""
    return PluginApp(Shelves())(request)


@pytest.mark.parametrize(
    "plugin", [Shelves(), PluginApp(Shelves()), serve], ids=["a part", "an app", "a function"]
)
def test_a_plugin_may_be_an_object_an_app_or_a_function(
    live_plugin: LivePlugins, plugin: PluginApp
) -> None:
    """Each kind of plugin gets an address, a client and a socket."""
    live = live_plugin(plugin)

    assert live.name == "plugin"
    assert Path(live.addr.removeprefix("unix://")).is_socket()
    assert VolumeDriver(live.client).list() == (Volume("books"),)


def test_a_live_plugin_is_found_in_the_directory(
    live_plugin: LivePlugins, plugin_dir: PluginDirectory
) -> None:
    """A registry with the settings of ``plugin_dir`` finds each plugin by its name."""
    live_plugin(Shelves(), "one")
    live_plugin(Shelves(), "two")

    with new_local_registry(plugin_dir.settings, clock=FakeClock()) as registry:
        active = registry.get_all("VolumeDriver")
        assert [plugin.name for plugin in active] == ["one", "two"]
        assert len(VolumeDriver(active[1].client).list()) == 1


def test_a_plugin_runs_in_threads_of_its_own(live_plugin: LivePlugins) -> None:
    """A test may therefore wait for what a call does."""
    called = threading.Event()

    def app(_: Request) -> Response:
        called.set()
        return Response(200, threading.current_thread().name.encode())

    with live_plugin(app).client.stream("M.x") as stream:
        assert called.wait(5)
        assert stream.read(100).decode() != threading.current_thread().name


def test_a_plugin_can_be_stopped_and_started_again(live_plugin: LivePlugins) -> None:
    """A stopped plugin has no socket; a new one of the same name gets the calls of hosts."""
    live = live_plugin(Shelves(), "shelf")

    live.stop()
    live.stop()

    with new_client(live.addr, settings=Settings(retry=RetryPolicy.never())) as client:
        with pytest.raises(TransportError, match="no socket there"):
            client.call("VolumeDriver.List", {})
        live_plugin(Shelves(), "shelf")
        assert len(VolumeDriver(client).list()) == 1


def test_a_plugin_has_no_client_and_no_address_before_it_listens(short_path: Path) -> None:
    """Reading either raises a RuntimeError."""
    live = LivePlugin(Shelves(), "shelf", short_path)

    with pytest.raises(RuntimeError, match="no client before"):
        _ = live.client
    with pytest.raises(RuntimeError, match="no address before"):
        _ = live.addr


def test_a_plugin_that_cannot_listen_leaves_no_file(short_path: Path) -> None:
    """Where another plugin listens already, the start fails, and the other plugin goes on."""
    with LivePlugins(short_path) as start:
        first = start(Shelves(), "shelf")

        with pytest.raises(SpecError, match="another plugin already listens there"):
            start(Shelves(), "shelf")

        assert len(VolumeDriver(first.client).list()) == 1
    assert list(short_path.iterdir()) == []


def test_an_asynchronous_plugin_has_no_client_and_no_address_before_it_listens(
    short_path: Path,
) -> None:
    """Reading either raises a RuntimeError; a start that fails leaves no file."""
    live = AsyncLivePlugin(AsyncEchoes(), "shelf", short_path)

    with pytest.raises(RuntimeError, match="no client before"):
        _ = live.client
    with pytest.raises(RuntimeError, match="no address before"):
        _ = live.addr
    with LivePlugins(short_path) as start:
        start(Shelves(), "shelf")
        with pytest.raises(SpecError, match="another plugin already listens there"), live:
            raise AssertionError
    assert list(short_path.iterdir()) == []
