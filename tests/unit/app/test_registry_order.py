"""Observers see what happens to a plugin in the order in which it happens: threads and tasks."""

import threading
from collections.abc import Callable

import pytest

from moby_plugins import PluginNotFoundError, WaitCancelledError
from moby_plugins.ports import (
    ActivationFailed,
    HandlerFailed,
    Observer,
    PluginActivated,
    PluginDropped,
)
from moby_plugins.testing import refused, script
from tests.observers import Notes
from tests.unit.app.hosts import NewHost, ThreadsHost

ACTIVE = {"Implements": ["A"]}


class Doing(Observer):
    """Does something when a plugin becomes active, before other observers are told."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = [work]

    def plugin_activated(self, event: PluginActivated, /) -> None:
        """Do it, once."""
        if self._work:
            self._work.pop()()


def in_a_thread(work: Callable[[], object]) -> None:
    """Call it in another thread, and wait for that."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("how", [in_a_thread, lambda work: work()], ids=["thread", "observer"])
@pytest.mark.parametrize("asked", ["get", "get_all"])
def test_invalidate_while_an_activation_is_reported_is_reported_after_it(
    new_host: NewHost, how: Callable[[Callable[[], object]], None], asked: str
) -> None:
    """An observer, or another thread, invalidates the plugin while observers are called."""
    notes = Notes()

    def forget() -> None:
        how(lambda: host.registry.invalidate("p"))

    host = new_host({"p": ACTIVE}, observers=[Doing(forget), notes])
    host.registry.get("p") if asked == "get" else host.registry.get_all()
    host.registry.get("p")

    kinds = [type(e) for e in notes.events if isinstance(e, PluginActivated | PluginDropped)]
    assert kinds == [PluginActivated, PluginDropped, PluginActivated]


def test_a_failed_activation_is_reported_to_observers(new_host: NewHost) -> None:
    """The event has the name that was asked for, the error, and the seconds of all attempts."""
    notes = Notes()
    host = new_host({}, observers=[notes])
    with pytest.raises(PluginNotFoundError) as caught:
        host.registry.get("nothing")

    [failed] = notes.of(ActivationFailed)
    assert (failed.name, failed.seconds) == ("nothing", 15.0)
    assert (type(failed.error), str(failed.error)) == (PluginNotFoundError, str(caught.value))


def test_close_while_an_activation_is_reported_reports_the_drop_after_it() -> None:
    """The client is closed at once; observers see the activation first, then the drop."""
    notes = Notes()
    host = ThreadsHost(
        {"p": ACTIVE}, observers=[Doing(lambda: in_a_thread(host.registry.close)), notes]
    )
    with pytest.raises(WaitCancelledError):
        host.registry.get("p")

    kinds = [type(e) for e in notes.events if isinstance(e, PluginActivated | PluginDropped)]
    assert kinds == [PluginActivated, PluginDropped]
    assert host.closed() == [1]


def test_a_drop_is_reported_although_an_observer_of_the_activation_raised_an_interrupt(
    new_host: NewHost,
) -> None:
    """The events that follow are reported first; then ``get`` raises the interrupt."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    notes = Notes()
    host = new_host({"p": script(refused(), ACTIVE)}, observers=[Doing(interrupt), notes])

    def forget(*_: object) -> None:
        host.registry.invalidate("p")

    with pytest.raises(KeyboardInterrupt):
        host.registry.get("p", on_retry=forget)

    kinds = [type(e) for e in notes.events if isinstance(e, PluginActivated | PluginDropped)]
    assert kinds == [PluginActivated, PluginDropped]


class Unhandled(Observer):
    """Raises a ``KeyboardInterrupt`` for a handler that fails."""

    def handler_failed(self, event: HandlerFailed, /) -> None:
        """Raise it."""
        raise KeyboardInterrupt


@pytest.mark.parametrize("late", [False, True], ids=["at the activation", "to an active plugin"])
def test_other_handlers_run_although_an_observer_of_a_failed_handler_raised_an_interrupt(
    new_host: NewHost, *, late: bool
) -> None:
    """``get`` or ``handle`` raises the interrupt when all handlers have run."""
    host = new_host({"p": ACTIVE, "q": ACTIVE}, observers=[Unhandled()])
    met: list[str] = []

    def fail(name: str, _: object) -> None:
        met.append(name)
        raise ValueError

    if late:
        host.registry.get_all()
        with pytest.raises(KeyboardInterrupt):
            host.registry.handle("A", fail)
        assert met == ["p", "q"]
        return
    host.registry.handle("A", fail)
    host.registry.handle("A", lambda name, _: met.append(name))
    with pytest.raises(KeyboardInterrupt):
        host.registry.get("p")
    assert met == ["p", "p"]
