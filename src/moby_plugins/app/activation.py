"""The life of a plugin in a registry: its activation, and the sharing among all callers.

States
------
``Activations`` keeps one ``Activation`` under each plugin's name. It has one of these states:

===========  ==============================  ===================================================
state        ``done`` / ``plugin`` / error   how the state ends
===========  ==============================  ===================================================
running      unset / -                       the leader calls ``settle`` with the outcome
active       set / the plugin                ``invalidate`` or ``close`` removes the activation
failed       set / - / the error             removed at once: the next ``get`` starts another
abandoned    set / - / -                     removed at once: a waiting caller leads another
===========  ==============================  ===================================================

Leader
------
The *leader* is the thread that created the activation; for ``get_all`` it is a thread of
``retrying.py``. Only the leader looks the plugin up and makes the handshake. All other callers wait
for ``done`` and share the outcome. An activation is abandoned if its leader is interrupted or
cancelled, or if the leader's ``on_retry`` raises: this ends only the leader's own call. One of the
waiting callers then leads a second activation, with its own policy and the rest of its own budget.

Lock
----
There is one lock, in ``Activations``. It guards which activation a name has, the change from
"running" to another state, and the list of handlers, so that each handler is called exactly once
for each activated plugin. No I/O, no waiting and no user code happens while it is held.

Handlers
--------
Handlers run in the thread that called ``get`` or ``get_all``, after the state has changed. A
handler may therefore ``get`` any plugin, including its own, without a deadlock.

Events
------
Each event of a plugin is put into a list while the lock is held, and reported to observers after
its release. One thread at a time reports the events of a plugin, also those that other threads add
during this: so observers see them in the order in which they happened (decision 0057).

Managed plugins
---------------
A managed plugin has several names (``shelf``, ``shelf:latest``, its id), each with an activation.
All of them share the plugin that is stored under its own name, so there is one client, and each
handler is called once. If a call finds the plugin's socket missing, the activations are dropped but
the plugin is kept: the next look-up shows whether it is still the same plugin or was installed
again.

Forks
-----
The child of a fork has none of the leaders. Active plugins stay active. An activation that was
running is replaced by one that the first caller in the child leads.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import field, frozen

from moby_plugins.app.client import Client
from moby_plugins.app.observing import (
    Observers,
    notify_activated,
    notify_dropped,
    notify_failed,
)
from moby_plugins.app.retrying import Ending
from moby_plugins.domain.errors import (
    PluginError,
)
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.text import quoted
from moby_plugins.domain.typed import typed
from moby_plugins.failures import call_all
from moby_plugins.ports import Cancellation, Clock, WakeEvent

CLOSED = "this registry is closed"
# An active plugin, with a synchronous or an asynchronous client.
P = TypeVar("P", bound=Plugin)
# Called with the name of a plugin and a client for it.
Handler: TypeAlias = Callable[[str, Client], object]


class ProcessLock:
    """A lock that is replaced in the child of a fork: ``with lock():``.

    If another thread holds a lock during a fork, that thread does not exist in the child and would
    never release it. Each process therefore has a lock of its own.
    """

    def __init__(self) -> None:
        self._by_process: dict[int, threading.Lock] = {}

    def __call__(self) -> threading.Lock:
        """Return the lock of this process, which all its threads share.

        A forked child gets a lock of its own, also from a ``ProcessLock`` that its parent made.
        """
        process = os.getpid()
        lock = self._by_process.get(process)
        # If two threads create a lock at once, both get the one that was stored first.
        return lock or self._by_process.setdefault(process, threading.Lock())


@frozen(field_transformer=typed)
class ActivePlugin(Plugin):
    """A plugin whose handshake succeeded: a ``Plugin`` with a client. A frozen value.

    Args:
        client: The client that calls the plugin. The registry closes it; threads may share it.
    """

    client: Client = field(kw_only=True, eq=False, repr=False)


# A handler, and the plugin that it is to be called with.
PendingHandlerCall: TypeAlias = tuple[Callable[[str, Any], object], P]


class Activation(Generic[P]):
    """The state of one plugin name in a registry; the module's docstring lists the states."""

    def __init__(self, name: str, leader: int | None) -> None:
        self.name = name
        # Set when the activation is settled, for callers that wait; ``is_settled`` is set before.
        self.done: Cancellation = Cancellation()
        self.is_settled: bool = False
        self.plugin: P | None = None
        self.error: Exception | None = None
        # Handlers still to be called for the plugin, until ``take_pending_calls`` takes them.
        self.pending_calls: list[PendingHandlerCall[P]] = []
        self._leader = leader
        self._process = os.getpid()

    @property
    def from_parent_process(self) -> bool:
        """Whether the parent process was making the activation when it forked this process."""
        return self._process != os.getpid() and not self.is_settled

    @property
    def abandoned(self) -> bool:
        """Whether the activation has ended without an outcome, because its leader's call ended."""
        return self.is_settled and self.plugin is None and self.error is None

    def settle(self, plugin: P | None, error: BaseException | None) -> None:
        """Store the outcome of the activation, and wake all callers that wait for it.

        With a ``plugin`` the activation is active, with an ``Exception`` it has failed; without
        either it is abandoned, and one of the waiting callers starts another.
        """
        self.plugin = plugin
        # A copy, as the traceback of the error itself refers to frames that refer to this object.
        self.error = _copied(error) if isinstance(error, Exception) else None
        self.is_settled = True
        self.done.set()

    def wait(self, clock: Clock, ending: Ending | None = None) -> None:
        """Wait until the activation has an outcome.

        Raise ``RuntimeError`` in the leader (the thread that makes the activation), which would
        wait for itself, and ``WaitCancelledError`` if ``ending`` ends the wait first.
        """
        if not self.is_settled and self._leader == threading.get_ident():
            raise asks_for_itself(self.name)
        ending = ending or Ending()
        began = clock.now()
        either = WakeEvent()
        with self.done.calling(either.set), ending.cancellation.calling(either.set):
            clock.wait(either)
        if ending.reason and (self.abandoned or not self.is_settled):
            raise ending.error(elapsed=clock.now() - began)

    def outcome(self, clock: Clock, ending: Ending | None = None) -> P | None:
        """Wait for the outcome, and return the plugin; ``None`` if the activation was abandoned.

        If the activation failed, raise a copy of its error, so that no two threads share a
        traceback. Raise ``WaitCancelledError`` if ``ending`` ends the wait first.
        """
        self.wait(clock, ending)
        if isinstance(self.error, PluginError):
            raise _copied(self.error)
        if self.error is not None:
            raise self.error
        return self.plugin


def asks_for_itself(name: str) -> RuntimeError:
    """Return the error for code, run by the activation of ``name``, that waits for ``name``."""
    return RuntimeError(
        f"activating {quoted(name)} runs code that asks the registry for {quoted(name)}:"
        " the call would wait for itself for ever"
    )


def _copied(error: Exception) -> Exception:
    """Return a copy of a ``PluginError``, and of its cause, without tracebacks.

    Any other ``error`` is returned itself.
    """
    if not isinstance(error, PluginError):
        return error
    copied, cause = copy(error), error.__cause__
    if cause is not None:
        try:
            cause = copy(cause)
        except Exception:  # a class whose arguments are not those of its text
            cause = cause.with_traceback(None)
    copied.__cause__ = cause
    return copied


class Activations(Generic[P]):
    """The activations of one registry by name, and its handlers: all that the lock guards.

    Threads may share it. No method waits, does I/O or calls user code, except ``report``.
    """

    def __init__(self, observers: Observers | None = None) -> None:
        self._lock = ProcessLock()
        self._observers = observers or Observers()
        # The events that are not reported yet, by the plugin's name.
        self._events: dict[str, deque[Callable[[], None]]] = {}
        # The names whose events a thread is reporting, and the process of that thread.
        self._reporting: dict[str, int] = {}
        # By the name that the caller passed.
        self._by_name: dict[str, Activation[P]] = {}
        # By the plugin's own name if it is managed, else by the name of the activation.
        self._plugins: dict[str, P] = {}
        self._handlers: dict[str, list[Callable[[str, Any], object]]] = {}
        self._closed = False

    def active(self, name: str) -> P | None:
        """Return the plugin ``name`` if it is active, else ``None``."""
        with self._lock():
            activation = self._by_name.get(name)
            return None if activation is None else activation.plugin

    def known(self, plugin: Plugin) -> P | None:
        """Return the active plugin with the name, address and manifest of ``plugin``, or ``None``.

        ``plugin`` is a managed plugin that was looked up by any of its names. Its ``name`` is the
        one that its engine gives it, whichever was looked up.
        """
        with self._lock():
            known = self._plugins.get(plugin.name)
        return known if known is not None and _is_same(known, plugin) else None

    def count(self) -> int:
        """Return the number of active plugins."""
        with self._lock():
            return len(self._plugins)

    def check_open(self) -> None:
        """Raise ``RuntimeError`` if the registry is closed."""
        with self._lock():
            if self._closed:
                raise RuntimeError(CLOSED)

    def claim(self, name: str, leader: int | None) -> tuple[Activation[P], bool]:
        """Return the activation of ``name``, and whether it is new.

        If it is new, the caller is its leader: it must look the plugin up, make the handshake, and
        then call ``settle``.

        ``leader`` is the id of the caller's thread, or ``None`` if any of several threads may make
        the activation. Raise ``RuntimeError`` if the registry is closed.
        """
        with self._lock():
            if self._closed:
                raise RuntimeError(CLOSED)
            known = self._by_name.get(name)
            if known is not None and not known.from_parent_process:
                return known, False
            activation = self._by_name[name] = Activation(name, leader)
            return activation, True

    def settle(
        self,
        activation: Activation[P],
        plugin: P | None,
        error: BaseException | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Store the outcome of a running activation; do nothing if it already has one.

        ``plugin`` is the active plugin, ``None`` after a failure with ``error``. Without either,
        the activation is abandoned. The activation took ``seconds``; the caller then calls
        ``report``.
        """
        with self._lock():
            self._settle(activation, plugin, error, seconds)

    def abandon(self, activations: Iterable[Activation[P]]) -> list[PendingHandlerCall[P]]:
        """Abandon those of ``activations`` that are running; return the handler calls to make.

        These are the pending calls of all ``activations``, also of those that became active. The
        caller must make them, as they are returned only once.
        """
        left: list[PendingHandlerCall[P]] = []
        with self._lock():
            for activation in activations:
                self._settle(activation, None, None, 0.0)
                left += activation.pending_calls
                activation.pending_calls = []
        return left

    def _settle(
        self,
        activation: Activation[P],
        plugin: P | None,
        error: BaseException | None,
        seconds: float,
    ) -> None:
        # Called with the lock held.
        if activation.is_settled:
            return
        if self._closed:
            plugin, error = None, None
        if plugin is not None:
            plugin = self._shared(activation, plugin, seconds)
        elif self._by_name.get(activation.name) is activation:
            del self._by_name[activation.name]
        activation.settle(plugin, error)
        if activation.error is not None:
            self._add(activation.name, notify_failed, activation.name, error, seconds)

    def share(self, name: str, plugin: P, seconds: float) -> Activation[P]:
        """Return the activation of ``name``: one that exists already, else a new one.

        A new one has ``plugin``, or the same managed plugin if it is active under another name.
        For asyncio, whose event loops share the active plugins, and may activate the same plugin at
        the same time. The activation took ``seconds``; the caller then calls ``report``. Raise
        ``RuntimeError`` if the registry is closed.
        """
        with self._lock():
            if self._closed:
                raise RuntimeError(CLOSED)
            activation = self._by_name.get(name)
            if activation is None:
                activation = self._by_name[name] = Activation(name, None)
                activation.settle(self._shared(activation, plugin, seconds), None)
            return activation

    def _shared(self, activation: Activation[P], plugin: P, seconds: float) -> P:
        # Called with the lock held. A new plugin's handlers are still to be called.
        name = activation.name if plugin.managed is None else plugin.name
        known = self._plugins.get(name)
        if known is not None and plugin.managed is not None and _is_same(known, plugin):
            return known
        if self._handlers:
            activation.pending_calls = self._pending_calls(plugin)
        # A plugin that was invalidated during its activation is not stored: only the callers that
        # wait for it get it.
        is_kept = self._by_name.get(activation.name) is activation
        if is_kept and known is not None:  # the managed plugin was installed again
            self._forget(known, but=activation)
            self._add(known.name, notify_dropped, known)
        self._add(plugin.name, notify_activated, plugin, seconds)
        if is_kept:
            self._plugins[name] = plugin
        else:
            self._add(plugin.name, notify_dropped, plugin)
        return plugin

    def _pending_calls(self, plugin: P) -> list[PendingHandlerCall[P]]:
        # In the order of the manifest; the names of a managed plugin's subsystems ignore case.
        first = {name.lower(): n for n, name in reversed([*enumerate(plugin.manifest.implements)])}
        interfaces = filter(plugin.implements, self._handlers)
        return [
            (handler, plugin)
            for interface in sorted(interfaces, key=lambda each: first[each.lower()])
            for handler in self._handlers[interface]
        ]

    def _forget(self, plugin: P, but: Activation[P] | None = None) -> None:
        # Called with the lock held. Drops the activations of all the plugin's names.
        names = [n for n, a in self._by_name.items() if a.plugin is plugin and a is not but]
        for name in names:
            del self._by_name[name]

    def take_pending_calls(self, activation: Activation[P]) -> list[PendingHandlerCall[P]]:
        """Return the handler calls that the caller must make after an activation.

        They are returned only once: a later call for the same activation returns an empty list.
        """
        with self._lock():
            pending_calls, activation.pending_calls = activation.pending_calls, []
            return pending_calls

    def add_handler(
        self, interface: str, handler: Callable[[str, Any], object]
    ) -> list[PendingHandlerCall[P]]:
        """Add ``handler``; return the calls of the handler that the caller must now make.

        There is one for each active plugin that implements ``interface``.
        """
        with self._lock():
            self._handlers.setdefault(interface, []).append(handler)
            plugins = list(self._plugins.values())
            return [(handler, p) for p in plugins if p.implements(interface)]

    def drop(self, name: str) -> P | None:
        """Forget a plugin by any of its names; return it if it was active, else ``None``.

        Threads that wait for its activation still get its plugin or its error. The caller then
        calls ``report``.
        """
        with self._lock():
            activation = self._by_name.pop(name, None)
            plugin = self._plugins.get(name)
            if activation is not None and activation.plugin is not None:
                plugin = activation.plugin
            if plugin is not None:
                self._forget(plugin)
                for key in {name, plugin.name}:
                    if self._plugins.get(key) is plugin:
                        del self._plugins[key]
                self._add(plugin.name, notify_dropped, plugin)
        return plugin

    def recheck(self, stale: Plugin) -> None:
        """Make the next ``get`` look up the managed plugin ``stale`` again: its socket is missing.

        The engine may have replaced the plugin. Until then the plugin and its client are kept, as
        it may still be the same. If ``stale`` is no longer active, do nothing.
        """
        with self._lock():
            plugin = self._plugins.get(stale.name)
            if plugin is not None and _is_same(plugin, stale):
                self._forget(plugin)

    def close(self) -> list[P]:
        """Forget all plugins; return those that were active, whose clients the caller closes.

        After this, ``claim`` and ``share`` raise ``RuntimeError``. The caller then calls
        ``report``.
        """
        with self._lock():
            self._closed = True
            plugins = list(self._plugins.values())
            self._plugins.clear()
            self._by_name.clear()
            for plugin in plugins:
                self._add(plugin.name, notify_dropped, plugin)
        return plugins

    def fail(self, name: str, error: BaseException, seconds: float) -> None:
        """Add the event that ``name`` could not be activated; the caller then calls ``report``."""
        with self._lock():
            self._add(name, notify_failed, name, error, seconds)

    def _add(self, name: str, notify: Callable[..., None], *of: Any) -> None:
        # Called with the lock held.
        if self._observers:
            event = partial(notify, self._observers, *of)
            self._events.setdefault(name, deque()).append(event)

    def report(self, *names: str) -> None:
        """Report the events of the plugins ``names`` to the observers, without holding the lock.

        If another thread is reporting events of a plugin, it reports these too. A
        ``KeyboardInterrupt`` of an observer is raised after the last event.
        """
        call_all(call for name in names for call in self._reports(name))

    def _reports(self, name: str) -> Iterator[Callable[[], None]]:
        with self._lock():
            if self._reporting.get(name) == os.getpid():
                return
            self._reporting[name] = os.getpid()
        while (event := self._next_event(name)) is not None:
            yield event

    def _next_event(self, name: str) -> Callable[[], None] | None:
        with self._lock():
            events = self._events.get(name)
            if events:
                return events.popleft()
            self._events.pop(name, None)
            self._reporting.pop(name, None)
            return None


def _is_same(known: Plugin, other: Plugin) -> bool:
    # A plugin with another id has another address. An upgrade keeps the id, but may change the
    # manifest.
    return (known.addr, known.manifest, known.managed) == (
        other.addr,
        other.manifest,
        other.managed,
    )
