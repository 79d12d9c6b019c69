"""A registry reports activated, dropped and failed plugins, and calls, to its observers."""

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


def test_an_activation_is_reported_to_observers_once(notes: Notes) -> None:
    """The event has the seconds with all waits, and a second ``get`` reports nothing."""
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


def test_invalidate_and_close_report_an_active_plugin_as_dropped(
    notes: Notes,
) -> None:
    """``invalidate`` of a plugin that is not active reports nothing."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("shelf", {"Plugin.Activate": MANIFEST})
        registry.get("shelf")
        registry.invalidate("shelf")
        registry.invalidate("shelf")
        registry.invalidate("nothing")
        assert [event.plugin.name for event in notes.of(PluginDropped)] == ["shelf"]
        registry.get("shelf")

    assert [event.plugin.name for event in notes.of(PluginDropped)] == ["shelf"] * 2


def test_a_plugin_invalidated_during_its_activation_is_reported_as_dropped_at_once(
    notes: Notes,
) -> None:
    """Observers see as many plugins dropped as activated."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("shelf", {"Plugin.Activate": script(refused(), MANIFEST, MANIFEST)})
        registry.clock.at(0.5, lambda: registry.invalidate("shelf"))
        registry.get("shelf")
        registry.get("shelf")

    assert [type(e) for e in notes.events if isinstance(e, PluginActivated | PluginDropped)] == [
        *(PluginActivated, PluginDropped) * 2
    ]


def test_handlers_run_although_an_observer_raises_a_keyboard_interrupt() -> None:
    """``get`` or ``get_all`` raises the interrupt when the handlers have run."""

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


def test_get_all_reports_each_plugin_to_observers(notes: Notes) -> None:
    """Activations, failures and the retries between are an event each."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("a", {"Plugin.Activate": MANIFEST})
        registry.add("b", {"Plugin.Activate": script(refused(), MANIFEST)})
        registry.add("c", {"Plugin.Activate": refused()})
        found = registry.get_all()

    assert [plugin.name for plugin in found] == ["a", "b"]
    assert sorted(event.plugin.name for event in notes.of(PluginActivated)) == ["a", "b"]
    assert [event.name for event in notes.of(ActivationFailed)] == ["c"]
    assert {event.plugin for event in notes.of(RetryScheduled)} == {"b", "c"}


def test_calls_of_the_registrys_clients_are_reported_with_the_plugins_name(notes: Notes) -> None:
    """The handshake is reported as a call, too."""
    with MemoryRegistry(observers=[notes]) as registry:
        registry.add("shelf", {"Plugin.Activate": MANIFEST, "VolumeDriver.List": {}})
        registry.get("shelf").client.call("VolumeDriver.List")

    assert [(e.started.plugin, e.started.method, e.status) for e in notes.of(CallEnded)] == [
        ("shelf", "Plugin.Activate", 200),
        ("shelf", "VolumeDriver.List", 200),
    ]


def test_a_handler_that_fails_is_reported_to_observers(notes: Notes) -> None:
    """The event has the plugin, the handler and its exception."""
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
    """An exception for any event changes neither results nor what other observers get."""

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
    """So tracing spans that an observer opens in those threads belong to the caller's span."""
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
