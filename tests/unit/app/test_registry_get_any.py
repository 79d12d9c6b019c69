"""Asking for a plugin, or for all, whatever they implement; and being told of each new attempt."""

from typing import Any, cast

import pytest

from moby_plugins import Registry
from moby_plugins.domain.errors import PluginError, PluginNotFoundError, TransportError
from moby_plugins.testing import refused, script
from tests.unit.app.hosts import NewHost
from tests.unit.app.in_memory import MemoryHost


def test_a_plugin_is_got_whatever_it_implements(new_host: NewHost) -> None:
    """``None`` asks for no subsystem in particular, so even one that has none will do."""
    host = new_host({"a": ["X"], "b": []})

    assert host.registry.get("a", None).manifest.implements == ("X",)
    assert host.registry.get("b", None).manifest.implements == ()


def test_all_plugins_are_got_whatever_they_implement(new_host: NewHost) -> None:
    """Sorted, and without those that fail."""
    host = new_host({"b": ["X"], "a": [], "dead": b"no json"})

    assert [plugin.name for plugin in host.registry.get_all(None)] == ["a", "b"]


def test_each_new_attempt_is_told_before_the_wait(new_host: NewHost) -> None:
    """With the error, and the seconds until the next; the last outcome is not told."""
    reply = script(refused(), refused(), {"Implements": ["X"]})
    host = new_host({"a": {"Plugin.Activate": reply}})
    told: list[tuple[PluginError, float, float]] = []

    host.registry.get(
        "a", "X", on_retry=lambda error, delay: told.append((error, delay, host.clock.now()))
    )

    assert [(type(error), delay, now) for error, delay, now in told] == [
        (TransportError, 1.0, 0.0),
        (TransportError, 2.0, 1.0),
    ]


def test_a_missing_plugin_is_told_too(new_host: NewHost) -> None:
    """A look-up that finds nothing is an attempt like any other."""
    host = new_host()
    told: list[PluginError] = []
    host.clock.at(2, lambda: host.add("late", ["X"]))

    host.registry.get("late", "X", on_retry=lambda error, _: told.append(error))

    assert [type(error) for error in told] == [PluginNotFoundError] * 2


def test_a_registry_tells_a_function_of_its_own_of_each_new_attempt(new_host: NewHost) -> None:
    """In ``get`` and in ``get_all``; but one that is given to ``get`` instead."""
    told: list[float] = []
    given: list[float] = []

    def dead_once() -> dict[str, object]:
        return {"Plugin.Activate": script(refused(), {"Implements": ["X"]})}

    plugins = {name: dead_once() for name in "abc"}
    host = new_host(plugins, on_retry=lambda _, delay: told.append(delay))

    host.registry.get("a", "X")
    assert told == [1.0]
    host.registry.get("b", "X", on_retry=lambda _, delay: given.append(delay))
    assert (told, given) == ([1.0], [1.0])
    assert len(host.registry.get_all("X")) == 3
    assert told == [1.0, 1.0]


def test_what_is_no_function_for_retries_is_refused() -> None:
    """Where it is given; the error names it."""
    host = MemoryHost()
    with pytest.raises(TypeError, match=r"^on_retry must be a function, not 5$"):
        Registry(
            discovery=host.discovery,
            connect=host.connect,
            clock=host.clock,
            on_retry=cast("Any", 5),
        )
    with pytest.raises(TypeError, match=r"^connect must be a function of an address, not 5$"):
        Registry(discovery=host.discovery, connect=cast("Any", 5), clock=host.clock)


def test_a_handshake_takes_no_longer_than_it_is_given(new_host: NewHost) -> None:
    """The transport is told."""
    host = new_host({"a": ["X"]}, activation_timeout=3.0, timeout=7.0)
    host.registry.get("a", "X")

    assert [line.timeouts for line in host.lines] == [[3.0]]
