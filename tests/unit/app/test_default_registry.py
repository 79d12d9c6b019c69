"""The module-level functions, which use a registry set by environment variables."""

from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

import pytest

from moby_plugins import (
    Client,
    NotImplementedByPluginError,
    PluginError,
    RetryPolicy,
    SettingsError,
)
from moby_plugins.testing import MemoryRegistry
from tests.transports import install_transport

PACKAGE = """
from moby_plugins.testing import MemoryTransport, refused

PLUGINS = {
    "memory://volumes": {"Plugin.Activate": {"Implements": ["VolumeDriver"]}},
    "memory://dead": {"Plugin.Activate": refused()},
}

def connect(address, tls, /):
    return MemoryTransport(PLUGINS[address.text]).connect(address, tls)
"""


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of specs, with a transport for them, as the environment tells."""
    install_transport(tmp_path, "in_memory", PACKAGE)
    specs = tmp_path / "specs"
    specs.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MOBY_PLUGINS_SOCKETS_PATH", str(tmp_path / "sockets"))
    monkeypatch.setenv("MOBY_PLUGINS_SPECS_PATHS", str(specs))
    monkeypatch.setenv("MOBY_PLUGINS_TRANSPORTS", "memory=in_memory")
    return specs


@pytest.fixture
def front_door(specs: Path) -> ModuleType:
    """The module of the functions, loaded again: its registry is made once, and kept for good."""
    found = find_spec("moby_plugins.app.default_registry")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def volumes(specs: Path) -> str:
    """A plugin for volumes."""
    (specs / "volumes.spec").write_text("memory://volumes")
    return "volumes"


def test_scan_looks_where_the_environment_says(front_door: ModuleType, volumes: str) -> None:
    """The directories of the default registry are those in environment variables."""
    assert front_door.scan() == [volumes]


def test_get_activates_once_for_the_whole_process(front_door: ModuleType, volumes: str) -> None:
    """All calls share one registry, and so one activation."""
    first = front_door.get(volumes, "VolumeDriver")

    assert first.name == volumes
    assert front_door.get(volumes, "VolumeDriver") is first
    assert front_door.get_all("VolumeDriver") == [first]


def test_get_takes_a_retry_policy_and_raises_the_errors_of_the_registry(
    front_door: ModuleType, volumes: str
) -> None:
    """Arguments and errors pass unchanged between ``get`` and the default registry."""
    with pytest.raises(NotImplementedByPluginError):
        front_door.get(volumes, "authz")
    with pytest.raises(PluginError) as caught:
        front_door.get("missing", "authz", retry=RetryPolicy.never())

    assert caught.value.attempts == 1


def test_get_all_calls_on_failure_for_each_plugin_that_cannot_be_activated(
    front_door: ModuleType, volumes: str, specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``on_failure`` gets the plugin's name; the other plugins are returned."""
    monkeypatch.setenv("MOBY_PLUGINS_RETRY_BUDGET", "0")
    (specs / "dead.spec").write_text("memory://dead")
    failed: list[str] = []

    active = front_door.get_all("VolumeDriver", on_failure=lambda name, _: failed.append(name))

    assert [plugin.name for plugin in active] == [volumes]
    assert failed == ["dead"]


def test_a_handler_is_called_for_a_plugin_that_get_activates(
    front_door: ModuleType, volumes: str
) -> None:
    """The handler is called with the plugin's name and client."""
    met: list[tuple[str, Client]] = []
    front_door.handle("VolumeDriver", lambda name, client: met.append((name, client)))

    plugin = front_door.get(volumes, "VolumeDriver")

    assert met == [(volumes, plugin.client)]


def test_after_an_invalid_environment_variable_is_corrected_scan_succeeds(
    front_door: ModuleType, volumes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the correction, each call raises a SettingsError that names the variable."""
    monkeypatch.setenv("MOBY_PLUGINS_TIMEOUT", "soon")
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"^MOBY_PLUGINS_TIMEOUT: "):
            front_door.scan()

    monkeypatch.setenv("MOBY_PLUGINS_TIMEOUT", "5")

    assert front_door.scan() == [volumes]


def test_after_a_using_registry_block_the_functions_use_the_default_registry(
    front_door: ModuleType, volumes: str
) -> None:
    """The default registry is made when it is first needed, even after such a block."""
    with MemoryRegistry() as other, front_door.using_registry(other):
        assert front_door.scan() == []

    assert front_door.scan() == [volumes]
