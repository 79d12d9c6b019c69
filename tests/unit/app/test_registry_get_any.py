"""Asking for a plugin, or for all, whatever they implement; and being told of each new attempt."""

from moby_plugins.domain.errors import PluginError, PluginNotFoundError, TransportError
from moby_plugins.testing import refused, script
from tests.unit.app.hosts import NewHost


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
