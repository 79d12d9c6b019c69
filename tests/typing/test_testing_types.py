"""The types of the testing kit: read by the type checker, and never run."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, assert_type

import moby_plugins as mp
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import (
    Call,
    Calls,
    FakeClock,
    LivePlugin,
    LivePlugins,
    MemoryRegistry,
    MemoryTransport,
    MemoryTransports,
    PluginDirectory,
    refused,
    script,
)


def a_registry_in_memory_is_a_registry(fake_clock: FakeClock) -> None:
    """It can be given wherever a registry is expected, and has the clock of tests."""
    registry = MemoryRegistry(clock=fake_clock, retry=mp.RetryPolicy.never())
    taken: mp.Registry = registry
    assert_type(taken.scan(), list[str])
    assert_type(registry.clock.sleeps, list[float])
    with registry as entered, mp.using_registry(entered) as used:
        assert_type(used, mp.Registry)
    future: list[Future[mp.ActivePlugin]] = registry.clock.run(
        lambda: registry.get("shelf", "VolumeDriver")
    )
    assert_type(future[0].result(), mp.ActivePlugin)


def a_registry_in_memory_takes_each_kind_of_plugin(registry: MemoryRegistry) -> None:
    """It takes implementations, apps, functions, tables, scripts and faults, and nothing else."""
    assert_type(registry.add("shelf", VolumeDriver()), MemoryTransport)
    registry.add("shelf", PluginApp(VolumeDriver()), addr="tcp://host:1")
    registry.add("shelf", lambda request: mp.Response(200, request.read()))
    registry.add("shelf", {"VolumeDriver.List": {"Volumes": []}})
    registry.add("shelf", script(refused(), {"Implements": []}))
    registry.add("shelf", refused())
    registry.add("shelf", 3)  # type: ignore[arg-type]


def transports_take_any_plugin_and_strict_ones_only_tables(make: MemoryTransports) -> None:
    """A strict transport checks that all replies were used, which a function does not have."""
    assert_type(make({"M.x": 1}), MemoryTransport)
    assert_type(make.strict({"M.x": script(1)}), MemoryTransport)
    make.strict(lambda _: mp.Response(200, b""))  # type: ignore[arg-type]


def calls_are_a_sequence_that_can_be_filtered(plugin: MemoryTransport) -> None:
    """Calls are found by index, by slice or by method."""
    assert_type(plugin.calls, Calls)
    assert_type(plugin.calls[0], Call)
    assert_type(plugin.calls[1:], Calls)
    assert_type(iter(plugin.calls), Iterator[Call])
    assert_type(plugin.calls.of("M.x").arguments, list[Any])
    assert_type(plugin.calls.attempts, list[int])
    assert_type(plugin.calls.times, list[float])
    plugin.calls.assert_called("M.x", {"Name": "a"}, times=2)
    plugin.calls.assert_called("M.x", {"Name": "a"}, 2)  # type: ignore[call-arg]  # times have a name


def sockets_and_specs_are_paths(plugin_dir: PluginDirectory) -> None:
    """Each method returns the path that it made."""
    assert_type(plugin_dir.socket("shelf"), Path)
    assert_type(plugin_dir.symlink("other", plugin_dir.spec("far", "tcp://host:1")), Path)
    assert_type(plugin_dir.settings, mp.Settings)


def a_live_plugin_has_an_address_and_a_client(live_plugin: LivePlugins) -> None:
    """It takes an implementation, an app or a function, but no table of replies."""
    live = live_plugin(VolumeDriver(), "shelf")
    assert_type(live, LivePlugin)
    assert_type(live.addr, str)
    assert_type(live.client, mp.Client)
    live_plugin(PluginApp(VolumeDriver()))
    live_plugin(lambda request: mp.Response(200, request.read()))
    live_plugin({"M.x": 1})  # type: ignore[arg-type]  # replies are for memory
