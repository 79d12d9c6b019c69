"""Inside ``using_registry``, the module-level functions use another registry."""

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


def test_all_module_level_functions_use_the_registry_of_the_block() -> None:
    """``scan``, ``get``, ``get_all`` and ``handle`` pass their options on to that registry."""
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


def test_using_registry_blocks_may_be_nested() -> None:
    """The innermost block counts; after it, even by an exception, the one around it."""
    with using_registry(registry_of("outer")):
        with pytest.raises(ZeroDivisionError):
            fail_inside(registry_of("inner"))
        assert moby_plugins.scan() == ["outer"]


def test_all_threads_use_the_registry_of_the_block() -> None:
    """Code under test may start threads that call the module-level functions."""
    with using_registry(registry_of("shelf")):
        first, second = FakeClock().run(moby_plugins.scan, moby_plugins.scan)

    assert first.result() == second.result() == ["shelf"]


def test_the_registry_stays_open_after_the_block() -> None:
    """Only the code that made the registry closes it."""
    registry = registry_of("shelf")

    with using_registry(registry):
        pass

    assert registry.get("shelf", "VolumeDriver").name == "shelf"
