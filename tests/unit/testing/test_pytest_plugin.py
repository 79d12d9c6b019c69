"""The fixtures of the pytest plugin that need neither a socket nor a file."""

import pytest

import moby_plugins
from moby_plugins import PluginNotFoundError
from moby_plugins.testing import FakeClock, MemoryRegistry, MemoryTransports, Request, script


def test_all_fixtures_share_one_fake_clock(
    fake_clock: FakeClock, memory_transport: MemoryTransports, plugin_registry: MemoryRegistry
) -> None:
    """A registry that waits moves the time of a transport as well."""
    plugin = memory_transport({"M.x": 1})

    with pytest.raises(PluginNotFoundError):
        plugin_registry.get("shelf", "VolumeDriver")
    plugin.send(Request("M.x"), None)

    assert fake_clock.sleeps == [1, 2, 4, 8]
    assert plugin.calls.times == [15.0]


def test_each_test_has_a_new_fake_clock(fake_clock: FakeClock) -> None:
    """The clock is at 0 and has recorded no sleep, whatever other tests did."""
    assert (fake_clock.now(), fake_clock.sleeps) == (0.0, [])


def test_a_strict_transport_without_unused_replies_passes(
    memory_transport: MemoryTransports,
) -> None:
    """All replies are used at the end of this test, so that its fixture reports nothing."""
    plugin = memory_transport.strict({"M.x": script(1)})

    plugin.send(Request("M.x"), None)

    plugin.calls.assert_called("M.x", times=1)


def test_the_default_registry_is_in_memory(
    default_registry: MemoryRegistry, plugin_registry: MemoryRegistry
) -> None:
    """``moby_plugins.get`` and ``scan`` use the registry to which the test adds plugins."""
    default_registry.add("shelf", {"VolumeDriver.List": {"Volumes": []}})

    assert default_registry is plugin_registry
    assert moby_plugins.scan() == ["shelf"]
    client = moby_plugins.get("shelf", "VolumeDriver").client
    assert client.call("VolumeDriver.List", {}) == {"Volumes": []}
