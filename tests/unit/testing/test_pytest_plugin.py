"""The fixtures of the pytest plugin that need neither a socket nor a file."""

import pytest

import moby_plugins
from moby_plugins import PluginNotFoundError
from moby_plugins.testing import FakeClock, MemoryRegistry, MemoryTransports, Request, script


def test_the_clock_is_one_for_all_fixtures(
    fake_clock: FakeClock, memory_transport: MemoryTransports, plugin_registry: MemoryRegistry
) -> None:
    """What waits in one lets time pass in all."""
    plugin = memory_transport({"M.x": 1})

    with pytest.raises(PluginNotFoundError):
        plugin_registry.get("shelf", "VolumeDriver")
    plugin.send(Request("M.x"), None)

    assert fake_clock.sleeps == [1, 2, 4, 8]
    assert plugin.calls.times == [15.0]


def test_a_clock_starts_anew_with_each_test(fake_clock: FakeClock) -> None:
    """No test sees another's time."""
    assert (fake_clock.now(), fake_clock.sleeps) == (0.0, [])


def test_a_strict_transport_that_is_used_up_is_fine(memory_transport: MemoryTransports) -> None:
    """Nothing is left at the end of this test, so it passes."""
    plugin = memory_transport.strict({"M.x": script(1)})

    plugin.send(Request("M.x"), None)

    plugin.calls.assert_called("M.x", times=1)


def test_the_default_registry_is_in_memory(
    default_registry: MemoryRegistry, plugin_registry: MemoryRegistry
) -> None:
    """``moby_plugins.get`` and the others ask the registry to which the test adds plugins."""
    default_registry.add("shelf", {"VolumeDriver.List": {"Volumes": []}})

    assert default_registry is plugin_registry
    assert moby_plugins.scan() == ["shelf"]
    client = moby_plugins.get("shelf", "VolumeDriver").client
    assert client.call("VolumeDriver.List", {}) == {"Volumes": []}
