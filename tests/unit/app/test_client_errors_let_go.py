"""An error that was dealt with keeps nothing: no cycle waits for the garbage collector."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from moby_plugins import Client, PluginError, RetryPolicy
from moby_plugins.domain.address import Address
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    MemoryTransport,
    drops,
    refused,
    status,
)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """The garbage collector does not run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def made(reply: Any) -> Client:
    """A client of a plugin that replies so to everything."""
    clock = FakeClock()
    plugin = MemoryTransport(dict.fromkeys(("M.x", "VolumeDriver.List"), reply), clock=clock)
    return Client(plugin, Address("memory://plugin"), clock=clock, retry=RetryPolicy.never())


def list_volumes(client: Client) -> None:
    """A call through a proxy."""
    VolumeDriver(client).list()


DEEDS: dict[str, Callable[[Client], object]] = {
    "a call": lambda client: client.call("M.x"),
    "a proxy's call": list_volumes,
    "a stream": lambda client: client.stream("M.x"),
    "a file": lambda client: client.send_file("M.x", iter([b"x"])),
}


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("reply", [refused(), drops(), status(500, "no")], ids=str)
def test_a_call_that_failed_keeps_no_client(deed: str, reply: Any) -> None:
    """Dropping a client and its error closes its connections."""
    client = made(reply)
    with suppress(PluginError):
        DEEDS[deed](client)
    gone = weakref.ref(client)

    del client

    assert gone() is None


def test_a_plugin_that_is_forgotten_is_let_go() -> None:
    """After calls that failed, too."""
    registry = MemoryRegistry()
    registry.add(
        "p",
        {
            "Plugin.Activate": {"Implements": ["VolumeDriver"]},
            "VolumeDriver.List": status(500, "no"),
        },
    )
    plugin = registry.get("p", "VolumeDriver")
    with suppress(PluginError):
        list_volumes(plugin.client)
    gone = weakref.ref(plugin.client)

    registry.invalidate("p")
    del plugin

    assert gone() is None
