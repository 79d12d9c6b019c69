"""An error that was handled keeps no object alive: there are no reference cycles."""

import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from moby_plugins import Client, PluginError, RetryPolicy
from moby_plugins.domain.address import Address
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    MemoryTransport,
    Request,
    drops,
    refused,
    status,
)
from tests.observers import Notes
from tests.unit.app.in_memory import MemoryHost


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
def test_a_failed_call_does_not_keep_its_client_alive(deed: str, reply: Any) -> None:
    """The client is freed with the last reference to it, without the garbage collector."""
    client = made(reply)
    with suppress(PluginError):
        DEEDS[deed](client)
    gone = weakref.ref(client)

    del client

    assert gone() is None


def test_an_invalidated_plugin_is_freed_even_after_a_failed_call() -> None:
    """Neither the registry nor the error keeps a reference to the plugin's client."""
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


@pytest.mark.parametrize("reply", [status(500, "no"), drops(), {"Implements": 3}], ids=str)
def test_a_failed_activation_does_not_keep_its_transport_alive(
    reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The transport of the handshake is freed without the garbage collector."""
    caplog.set_level(logging.CRITICAL)  # what is logged would be kept until the end of the test
    host = MemoryHost({"p": {"Plugin.Activate": reply}}, retry=RetryPolicy.never())
    with suppress(PluginError):
        host.registry.get("p", "VolumeDriver")
    gone = weakref.ref(host.lines.pop())

    assert host.lines == []
    assert gone() is None


class Shelf(VolumeDriver):
    """A volume driver whose ``list`` raises an exception."""

    def list(self) -> tuple[Volume, ...]:
        raise RuntimeError("no")


class Kept:
    """An object that only a frame of the server refers to."""


@pytest.mark.parametrize("observers", [[], [Notes()]], ids=["alone", "observed"])
def test_an_error_response_does_not_keep_the_frames_of_its_server_alive(
    observers: list[Notes], caplog: pytest.LogCaptureFixture
) -> None:
    """The response has no traceback, whose frames would refer to the response."""
    caplog.set_level(logging.CRITICAL)
    app = PluginApp(Shelf(), observers=observers)

    def serve() -> "weakref.ref[Kept]":
        kept = Kept()
        response = app(Request("VolumeDriver.List"))
        assert response.status == 500
        return weakref.ref(kept)

    gone = serve()
    for notes in observers:
        notes.events.clear()
    assert gone() is None
