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
    """A plugin, of which a list is as good as a tuple."""

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


def test_a_class_gives_the_typed_proxy(registry: Registry) -> None:
    """Its ``client`` is that of the active plugin, and a result is a tuple."""
    proxy = registry.get("shelf", VolumeDriver)

    assert type(proxy) is VolumeDriver
    assert proxy.list() == (Volume("books"),)
    assert proxy.client is registry.get("shelf").client
    assert registry.get("shelf", "VolumeDriver") is registry.get("shelf", None)


def test_a_proxy_with_methods_of_its_own_is_one(registry: Registry) -> None:
    """What overrides nothing of the protocol is a host's."""
    assert registry.get("shelf", Handy).names() == ("books",)


def test_all_proxies_are_those_of_the_subsystem(registry: Registry) -> None:
    """Sorted by name, as ``get_all`` gives active plugins."""
    [proxy] = registry.get_all(VolumeDriver)

    assert proxy.list() == (Volume("books"),)
    assert [plugin.name for plugin in registry.get_all()] == ["net", "shelf"]


def test_the_front_door_gives_proxies_too(registry: Registry) -> None:
    """The functions over the default registry take what its methods take."""
    with using_registry(registry):
        assert get("shelf", VolumeDriver).list() == (Volume("books"),)
        assert len(get_all(VolumeDriver)) == 1
        assert get("shelf").name == "shelf"


def test_a_proxy_is_waited_for_as_a_plugin_is(registry: MemoryRegistry) -> None:
    """With the policy, the callback and the cancellation of that one ``get``."""
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


def test_what_fails_while_proxies_are_made_is_told(registry: MemoryRegistry) -> None:
    """By name, as for all plugins; the others are there."""
    registry.add("broken", {"Plugin.Activate": refused()})
    told: list[str] = []

    proxies = registry.get_all(VolumeDriver, on_failure=lambda name, _: told.append(name))

    assert told == ["broken"]
    assert [proxy.list() for proxy in proxies] == [(Volume("books"),)]


def test_a_plugin_of_another_subsystem_is_an_error(registry: Registry) -> None:
    """As it is by the subsystem's name."""
    with pytest.raises(NotImplementedByPluginError, match=r"does not implement .NetworkDriver."):
        registry.get("shelf", NetworkDriver)


class Other(Subsystem):
    """A subsystem whose manifest names it otherwise."""

    implements = "other/1.0"

    @remote()
    def ping(self) -> None:
        """Nothing."""


def test_a_class_is_asked_for_by_its_name_in_the_manifest(registry: Registry) -> None:
    """``implements``, and not the name of the class or of paths."""
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
def test_what_is_no_proxy_is_refused(registry: Registry, given: Any, message: str) -> None:
    """Before anything is looked up; an author's class would answer in the plugin's place."""
    for ask in (lambda: registry.get("none", given), lambda: registry.get_all(given)):
        with pytest.raises(TypeError) as caught:
            ask()
        assert str(caught.value).startswith(message)
