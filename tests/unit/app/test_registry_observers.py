"""A registry tells its observers of plugins: activated, dropped, failed; and of calls."""

from contextvars import ContextVar

import pytest

from moby_plugins.ports import (
    ActivationFailed,
    CallEnded,
    CallStarted,
    HandlerFailed,
    Observer,
    PluginActivated,
    PluginDropped,
    RetryScheduled,
)
from moby_plugins.testing import MemoryRegistry, refused, script
from tests.observers import Failing, Notes

SPAN: ContextVar[str] = ContextVar("span", default="none")
MANIFEST = {"Implements": ["VolumeDriver"]}


@pytest.fixture
def notes() -> Notes:
    """What was told."""
    return Notes()


def test_a_plugin_that_becomes_active_is_told_once(notes: Notes) -> None:
    """With the seconds that it took, waits included; a second ``get`` tells nothing."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.clock.at(2, lambda: registry.add("shelf", {"Plugin.Activate": MANIFEST}))
        registry.get("shelf", "VolumeDriver")
        registry.get("shelf", "VolumeDriver")

        [activated] = notes.of(PluginActivated)
        assert (activated.plugin.name, activated.seconds) == ("shelf", 3.0)
        assert activated.plugin.manifest.implements == ("VolumeDriver",)
        assert [(r.plugin, r.method, r.attempt) for r in notes.of(RetryScheduled)] == [
            ("shelf", "Plugin.Activate", 1),
            ("shelf", "Plugin.Activate", 2),
        ]


def test_a_plugin_is_dropped_when_it_is_forgotten_and_when_the_registry_closes(
    notes: Notes,
) -> None:
    """``invalidate`` of what is not active tells nothing."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("shelf", {"Plugin.Activate": MANIFEST})
        registry.get("shelf")
        registry.invalidate("shelf")
        registry.invalidate("shelf")
        registry.invalidate("nothing")
        assert [event.plugin.name for event in notes.of(PluginDropped)] == ["shelf"]
        registry.get("shelf")

    assert [event.plugin.name for event in notes.of(PluginDropped)] == ["shelf"] * 2


def test_a_plugin_that_is_forgotten_while_it_becomes_active_is_dropped_at_once(
    notes: Notes,
) -> None:
    """So that as many are dropped as were activated."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("shelf", {"Plugin.Activate": script(refused(), MANIFEST, MANIFEST)})
        registry.clock.at(0.5, lambda: registry.invalidate("shelf"))
        registry.get("shelf")
        registry.get("shelf")

    assert [type(e) for e in notes.events if isinstance(e, PluginActivated | PluginDropped)] == [
        *(PluginActivated, PluginDropped) * 2
    ]


def test_an_interrupt_in_an_observer_keeps_no_handler_from_its_plugin() -> None:
    """It is raised in ``get`` or ``get_all`` afterwards."""

    class Interrupted(Observer):
        def plugin_activated(self, event: PluginActivated, /) -> None:
            raise KeyboardInterrupt

    met: list[str] = []
    with MemoryRegistry(observers=[Interrupted()]) as registry:
        registry.add("a", {"Plugin.Activate": MANIFEST})
        registry.add("b", {"Plugin.Activate": MANIFEST})
        registry.handle("VolumeDriver", lambda name, _: met.append(name))
        with pytest.raises(KeyboardInterrupt):
            registry.get("a")
        assert met == ["a"]
        with pytest.raises(KeyboardInterrupt):
            registry.get_all()
        assert met == ["a", "b"]
        assert registry.get("b").name == "b"


def test_get_all_tells_of_each_plugin(notes: Notes) -> None:
    """Those that become active, those that fail, and the retries between."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("a", {"Plugin.Activate": MANIFEST})
        registry.add("b", {"Plugin.Activate": script(refused(), MANIFEST)})
        registry.add("c", {"Plugin.Activate": refused()})
        found = registry.get_all()

    assert [plugin.name for plugin in found] == ["a", "b"]
    assert sorted(event.plugin.name for event in notes.of(PluginActivated)) == ["a", "b"]
    assert [event.name for event in notes.of(ActivationFailed)] == ["c"]
    assert {event.plugin for event in notes.of(RetryScheduled)} == {"b", "c"}


def test_the_calls_of_its_clients_are_told_with_the_plugins_name(notes: Notes) -> None:
    """The handshake is a call too."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("shelf", {"Plugin.Activate": MANIFEST, "VolumeDriver.List": {}})
        registry.get("shelf").client.call("VolumeDriver.List")

    assert [(e.started.plugin, e.started.method, e.status) for e in notes.of(CallEnded)] == [
        ("shelf", "Plugin.Activate", 200),
        ("shelf", "VolumeDriver.List", 200),
    ]


def test_a_handler_that_fails_is_told(notes: Notes) -> None:
    """With the plugin that it met."""
    error = ValueError("no room")

    def handler(_: str, __: object) -> None:
        raise error

    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("shelf", {"Plugin.Activate": MANIFEST})
        registry.handle("VolumeDriver", handler)
        registry.get("shelf")

    [failed] = notes.of(HandlerFailed)
    assert (failed.plugin, failed.handler, failed.error) == ("shelf", handler, error)


def test_an_observer_that_fails_changes_nothing(notes: Notes) -> None:
    """Whatever the event is, the registry does what it does."""

    def handler(_: str, __: object) -> None:
        raise ValueError

    with MemoryRegistry(observers=[Failing(SystemExit(1)), notes]) as registry:
        registry.add("a", {"Plugin.Activate": script(refused(), MANIFEST)})
        registry.add("b", {"Plugin.Activate": refused()})
        registry.handle("VolumeDriver", handler)
        assert [plugin.name for plugin in registry.get_all()] == ["a"]
        registry.invalidate("a")

    kinds = {PluginActivated, PluginDropped, ActivationFailed, HandlerFailed, RetryScheduled}
    assert kinds <= {type(event) for event in notes.events}


def test_the_threads_of_get_all_have_the_callers_context() -> None:
    """So the spans of their calls belong to the caller's own."""
    seen: list[str] = []

    class Spans(Observer):
        def call_started(self, event: CallStarted, /) -> None:
            seen.append(SPAN.get())

    token = SPAN.set("the caller's")
    try:
        with MemoryRegistry(observers=[Spans()]) as registry:
            registry.add("a", {"Plugin.Activate": MANIFEST})
            registry.add("b", {"Plugin.Activate": script(refused(), MANIFEST)})
            registry.get_all()
    finally:
        SPAN.reset(token)

    assert seen == ["the caller's"] * 3
