"""``get`` and ``get_all`` by a subsystem's class: typed proxies."""

from collections.abc import Sequence
from typing import Any

import pytest

from moby_plugins import (
    Cancellation,
    NotImplementedByPluginError,
    PluginError,
    PluginNotFoundError,
    Registry,
    RetryPolicy,
    WaitCancelledError,
    get,
    get_all,
    using_registry,
)
from moby_plugins.subsystems import NetworkDriver, Subsystem, Volume, VolumeDriver, remote
from moby_plugins.testing import MemoryRegistry, refused


class Shelf(VolumeDriver):
    """A plugin whose ``list`` returns a list where the declared type is a tuple."""

    def list(self) -> Sequence[Volume]:
        """One volume."""
        return [Volume("books")]


class Handy(VolumeDriver):
    """A proxy with a method of its own."""

    def names(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(volume.name for volume in self.list())


@pytest.fixture
def registry() -> MemoryRegistry:
    """Two plugins, one of volumes."""
    made = MemoryRegistry()
    made.add("shelf", Shelf())
    made.add("net", {"NetworkDriver.GetCapabilities": {}})
    return made


def test_get_by_a_subsystem_class_returns_a_typed_proxy(registry: Registry) -> None:
    """The proxy has the client of the active plugin, and returns a tuple for a list."""
    proxy = registry.get("shelf", VolumeDriver)

    assert type(proxy) is VolumeDriver
    assert proxy.list() == (Volume("books"),)
    assert proxy.client is registry.get("shelf").client
    assert registry.get("shelf", "VolumeDriver") is registry.get("shelf", None)


def test_get_accepts_a_proxy_class_with_additional_methods(registry: Registry) -> None:
    """A subclass that overrides no method of the protocol is still a proxy class."""
    assert registry.get("shelf", Handy).names() == ("books",)


def test_get_all_by_a_subsystem_class_returns_typed_proxies(registry: Registry) -> None:
    """Only plugins of that subsystem are returned; without a class, all plugins are."""
    [proxy] = registry.get_all(VolumeDriver)

    assert proxy.list() == (Volume("books"),)
    assert [plugin.name for plugin in registry.get_all()] == ["net", "shelf"]


def test_the_module_level_get_and_get_all_accept_a_subsystem_class(registry: Registry) -> None:
    """The functions over the default registry accept what the registry's methods accept."""
    with using_registry(registry):
        assert get("shelf", VolumeDriver).list() == (Volume("books"),)
        assert len(get_all(VolumeDriver)) == 1
        assert get("shelf").name == "shelf"


def test_a_proxy_is_waited_for_as_a_plugin_is(registry: MemoryRegistry) -> None:
    """A missing plugin is retried, reported and given up, or the wait is cancelled."""
    told: list[tuple[str, float]] = []

    def note(error: PluginError, delay: float) -> None:
        told.append((type(error).__name__, delay))

    with pytest.raises(PluginNotFoundError):
        registry.get("late", VolumeDriver, on_retry=note)
    assert told == [("PluginNotFoundError", delay) for delay in (1, 2, 4, 8)]
    assert registry.clock.now() == 15

    with pytest.raises(PluginNotFoundError):
        registry.get("late", VolumeDriver, retry=RetryPolicy.never(), on_retry=note)
    assert (len(told), registry.clock.now()) == (4, 15)

    cancel = Cancellation()
    registry.clock.at(17, cancel.set)
    with pytest.raises(WaitCancelledError):
        registry.get("late", VolumeDriver, cancel=cancel)
    assert registry.clock.now() == 17


def test_get_all_by_class_reports_a_plugin_that_fails(registry: MemoryRegistry) -> None:
    """``on_failure`` gets the plugin's name, and proxies of the other plugins are returned."""
    registry.add("broken", {"Plugin.Activate": refused()})
    told: list[str] = []

    proxies = registry.get_all(VolumeDriver, on_failure=lambda name, _: told.append(name))

    assert told == ["broken"]
    assert [proxy.list() for proxy in proxies] == [(Volume("books"),)]


def test_a_plugin_of_another_subsystem_is_an_error(registry: Registry) -> None:
    """The error is the one that the subsystem's name would give."""
    with pytest.raises(NotImplementedByPluginError, match=r"does not implement .NetworkDriver."):
        registry.get("shelf", NetworkDriver)


class Other(Subsystem):
    """A subsystem whose manifest names it otherwise."""

    implements = "other/1.0"

    @remote()
    def ping(self) -> None:
        """Nothing."""


def test_get_by_class_compares_the_implements_attribute_with_the_manifest(
    registry: Registry,
) -> None:
    """Neither the name of the class nor that in its paths is compared."""
    with pytest.raises(NotImplementedByPluginError, match=r"'other/1\.0'"):
        registry.get("shelf", Other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Shelf, "Shelf is a plugin's implementation, for it overrides list: "),
        (Subsystem, "Subsystem is not a subsystem: it has no method marked @remote()"),
        (int, "implements takes a subsystem's name or its class, VolumeDriver for example, not "),
        (5, "implements takes a subsystem's name or its class, VolumeDriver for example, not 5"),
        (Shelf(), "implements takes a subsystem's name or its class, VolumeDriver for example, "),
    ],
)
def test_get_refuses_what_is_not_a_proxy_class_before_any_look_up(
    registry: Registry, given: Any, message: str
) -> None:
    """An implementation is refused, too: its methods would run instead of the plugin's."""
    for ask in (lambda: registry.get("none", given), lambda: registry.get_all(given)):
        with pytest.raises(TypeError) as caught:
            ask()
        assert str(caught.value).startswith(message)
