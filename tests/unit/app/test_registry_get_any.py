"""``get`` and ``get_all`` without a subsystem, and the callback ``on_retry`` for each retry."""

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
    """The plugins are sorted by name, without those whose activation failed."""
    host = new_host({"b": ["X"], "a": [], "dead": b"no json"})

    assert [plugin.name for plugin in host.registry.get_all(None)] == ["a", "b"]


def test_on_retry_is_called_before_each_wait_for_another_attempt(new_host: NewHost) -> None:
    """``on_retry`` gets the error and the seconds to wait; the final outcome is not reported."""
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


def test_on_retry_is_called_when_a_look_up_finds_nothing(new_host: NewHost) -> None:
    """A look-up that finds nothing is an attempt like any other."""
    host = new_host()
    told: list[PluginError] = []
    host.clock.at(2, lambda: host.add("late", ["X"]))

    host.registry.get("late", "X", on_retry=lambda error, _: told.append(error))

    assert [type(error) for error in told] == [PluginNotFoundError] * 2


def test_a_registry_may_have_an_on_retry_that_get_can_replace(new_host: NewHost) -> None:
    """The registry's callback is called in ``get`` and ``get_all``, unless ``get`` has its own."""
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


def test_a_registry_refuses_an_on_retry_or_a_connect_that_is_not_callable() -> None:
    """The constructor raises a ``TypeError`` that names the argument."""
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


def test_the_handshake_has_the_activation_timeout(new_host: NewHost) -> None:
    """The transport gets ``activation_timeout``, not the time-out of other calls."""
    host = new_host({"a": ["X"]}, activation_timeout=3.0, timeout=7.0)
    host.registry.get("a", "X")

    assert [line.timeouts for line in host.lines] == [[3.0]]
