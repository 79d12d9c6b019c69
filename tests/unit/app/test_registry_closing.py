"""Closing a registry closes the clients of all its plugins, for threads and for tasks."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from moby_plugins import WaitCancelledError
from moby_plugins.ports import Observer, PluginDropped
from tests.observers import Notes
from tests.unit.app.hosts import Ask, NewHost

PLUGINS = {"a": ["A"], "b": ["A"], "c": ["A"]}


class Interrupted(Observer):
    """Raises a ``KeyboardInterrupt`` for the first plugin that is dropped."""

    def __init__(self) -> None:
        self._interrupts = [KeyboardInterrupt()]

    def plugin_dropped(self, event: PluginDropped, /) -> None:
        """Raise it."""
        if self._interrupts:
            raise self._interrupts.pop()


def sticking(host: Any, names: str) -> None:
    """Make the lines to these plugins raise when they are closed; they are in order of names."""
    for name, line in zip(PLUGINS, host.lines, strict=True):
        line.close = partial(_close, line.close, name if name in names else "")


def _close(close: Callable[[], None], name: str) -> None:
    close()
    if name:
        raise OSError(f"{name} sticks")


def test_a_client_that_fails_to_close_does_not_keep_other_clients_open(
    new_host: NewHost, caplog: pytest.LogCaptureFixture
) -> None:
    """All are closed and reported as dropped; the first error is raised, and others are logged."""
    notes = Notes()
    host = new_host(PLUGINS, observers=[notes])
    for name in PLUGINS:
        host.registry.get(name)
    sticking(host, "ab")

    with pytest.raises(OSError, match="a sticks"):
        host.registry.close()

    assert host.closed() == [1, 1, 1]
    assert [event.plugin.name for event in notes.of(PluginDropped)] == ["a", "b", "c"]
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "b sticks" in str(record.exc_text)
    host.registry.close()  # once more: there is nothing left
    assert host.closed() == [1, 1, 1]


@pytest.mark.parametrize("names", ["", "b", "abc"])
def test_a_keyboard_interrupt_in_an_observer_does_not_keep_clients_open(
    new_host: NewHost, names: str
) -> None:
    """All clients are closed, and then the interrupt is raised, in place of any other error."""
    notes = Notes()
    host = new_host(PLUGINS, observers=[Interrupted(), notes])
    for name in PLUGINS:
        host.registry.get(name)
    sticking(host, names)

    with pytest.raises(KeyboardInterrupt):
        host.registry.close()

    assert host.closed() == [1, 1, 1]
    assert [event.plugin.name for event in notes.of(PluginDropped)] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["a", None], ids=["get", "get_all"])
def test_get_raises_when_a_handler_of_the_plugin_closes_the_registry(
    new_host: NewHost, name: str | None
) -> None:
    """``get`` and ``get_all`` raise ``WaitCancelledError`` instead of returning a closed plugin."""
    host = new_host({"a": ["A"]})
    host.registry.handle("A", lambda *_: host.close())

    [answer] = host.ask(Ask(name))

    assert isinstance(answer.error, WaitCancelledError)
    assert answer.error.reason == "this registry is closed"
    assert host.closed() == [1]
    with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
        host.registry.get("a")
