"""Another registry behind the functions of the front door, for as long as a block lasts."""

import pytest

import moby_plugins
from moby_plugins import Client, PluginNotFoundError, RetryPolicy, using_registry
from moby_plugins.testing import FakeClock, MemoryRegistry


def registry_of(*names: str) -> MemoryRegistry:
    """A registry of plugins for volumes."""
    registry = MemoryRegistry()
    for name in names:
        registry.add(name, {"VolumeDriver.List": {"Volumes": []}})
    return registry


def fail_inside(registry: MemoryRegistry) -> None:
    """Leave a block by an error."""
    with using_registry(registry):
        assert moby_plugins.scan() == ["inner"]
        raise ZeroDivisionError


def test_all_functions_ask_the_registry_of_the_block() -> None:
    """Scan, get, get_all and handle, with their options."""
    registry, met = registry_of("shelf"), list[str]()

    def meet(name: str, _: Client) -> None:
        met.append(name)

    with using_registry(registry) as entered:
        assert entered is registry
        assert moby_plugins.scan() == ["shelf"]
        moby_plugins.handle("VolumeDriver", meet)
        plugin = moby_plugins.get("shelf", "VolumeDriver")
        assert plugin is registry.get("shelf", "VolumeDriver")
        assert moby_plugins.get_all("VolumeDriver") == [plugin]
        with pytest.raises(PluginNotFoundError, match="tried once"):
            moby_plugins.get("none", "VolumeDriver", retry=RetryPolicy.never())
    assert met == ["shelf"]


def test_blocks_may_be_nested() -> None:
    """The innermost counts, and at its end the one around it, also after an error."""
    with using_registry(registry_of("outer")):
        with pytest.raises(ZeroDivisionError):
            fail_inside(registry_of("inner"))
        assert moby_plugins.scan() == ["outer"]


def test_all_threads_ask_the_registry_of_the_block() -> None:
    """Code under test may start threads of its own."""
    with using_registry(registry_of("shelf")):
        first, second = FakeClock().run(moby_plugins.scan, moby_plugins.scan)

    assert first.result() == second.result() == ["shelf"]


def test_the_registry_stays_open() -> None:
    """It is closed by the code that made it."""
    registry = registry_of("shelf")

    with using_registry(registry):
        pass

    assert registry.get("shelf", "VolumeDriver").name == "shelf"
