"""One plugin's life in a registry: found, greeted once, shared by all who ask.

States of an ``Activation``, which ``Activations`` keeps under the plugin's name:

===========  ==============================  ===========================================
state        ``done`` / ``plugin`` / error   leaves it
===========  ==============================  ===========================================
running      unset / -                       the leader settles it
active       set / the plugin                ``invalidate`` or ``close`` drops it
failed       set / - / why                   dropped at once: the next ``get`` begins anew
abandoned    set / - / -                     dropped at once: a waiter takes the lead
===========  ==============================  ===========================================

It is abandoned where its leader was interrupted or cancelled, or its ``on_retry`` raised: that is
the leader's own affair, and a waiter begins again, with its own policy and what is left of its
own budget.
The *leader* is the thread that made the activation, or for ``get_all`` one of
its crew; everybody else waits for ``done``. Lock rule: the one lock, that of
``Activations``, guards which activation a name has, the step out of "running",
and the list of handlers, so that each handler meets each activated plugin
exactly once. No I/O, no waiting and no user code under it.
Look-up and handshake are the leader's. Handlers run in the thread that called
``get`` or ``get_all``, once the state has changed: so a handler may ask for any
plugin, its own included, and always asks somebody who can still answer.
A managed plugin has several names (``shelf``, ``shelf:latest``, its id). Each has an activation;
what these find under the plugin's own name is shared, so there is one client, and each handler
meets the plugin once. Where a call finds its socket gone, the activations are dropped and the
plugin is kept: the next look-up tells whether it is still the same, or was installed again.
In the child of a fork there are no leaders: what is active stays so, and what was
running is begun anew by the first to ask.
"""

import os
import threading
from collections.abc import Callable
from copy import copy
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import field, frozen

from moby_plugins.app.accounting import ACTIVATE
from moby_plugins.app.client import Client
from moby_plugins.app.retrying import Ending
from moby_plugins.domain.errors import (
    PluginError,
    TransportError,
    WaitCancelledError,
    is_missing_socket,
)
from moby_plugins.domain.http import Request, Response
from moby_plugins.domain.plugin import Manifest, Plugin, check_protocol
from moby_plugins.domain.text import quoted
from moby_plugins.domain.typed import typed
from moby_plugins.failures import log_failure
from moby_plugins.ports import Cancellation, Clock, Discovery, PendingResponse, Transport, WakeEvent

CLOSED = "this registry is closed"
# What is active, for threads or for tasks: a plugin with its client.
P = TypeVar("P", bound=Plugin)
# Called with the name of a plugin and a client for it.
Handler: TypeAlias = Callable[[str, Client], object]


class ProcessLock:
    """Gives the lock of the calling process: ``with lock():``.

    Whoever holds a lock at a fork, in another thread, is not there to release it in
    the child. So a child has a lock of its own, which is free.
    """

    def __init__(self) -> None:
        self._by_process: dict[int, threading.Lock] = {}

    def __call__(self) -> threading.Lock:
        """The one lock of this process, for all its threads."""
        process = os.getpid()
        lock = self._by_process.get(process)
        # Of two threads that make one, both get that of the first.
        return lock or self._by_process.setdefault(process, threading.Lock())


@frozen(field_transformer=typed)
class ActivePlugin(Plugin):
    """A plugin that has shaken hands: all of ``Plugin``, and a client for it. A frozen value.

    Args:
        client: Calls it. The registry closes it; threads may share it.
    """

    client: Client = field(kw_only=True, eq=False, repr=False)


@frozen(repr=False)
class WatchedTransport:
    """A transport to a managed plugin that calls ``on_missing`` where its socket is gone."""

    _transport: Transport
    _on_missing: Callable[[], object]

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send, and tell of a socket that is gone."""
        try:
            return self._transport.send(request, timeout)
        except TransportError as error:
            if is_missing_socket(error):
                self._on_missing()
            raise

    def close(self) -> None:
        """Close."""
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


# A handler, and a plugin that it is to meet.
Meeting: TypeAlias = tuple[Callable[[str, Any], object], P]


class Activation(Generic[P]):
    """What a registry knows of one name: see the table above."""

    def __init__(self, name: str, leader: int | None) -> None:
        self.name = name
        self.done: Cancellation = Cancellation()
        self.plugin: P | None = None
        self.error: Exception | None = None
        # Those that the plugin is still to have; kept for whoever calls the handlers.
        self.meetings: list[Meeting[P]] = []
        # Whether it made its plugin active, and which other is active no longer for that.
        self.is_new: bool = False
        self.replaced: P | None = None
        self._leader = leader
        self._process = os.getpid()

    @property
    def left_behind(self) -> bool:
        """Whether it is running in another process, from which this one was forked."""
        return self._process != os.getpid() and not self.done.is_set()

    @property
    def abandoned(self) -> bool:
        """Whether the leader was interrupted or cancelled: there is neither plugin nor error."""
        return self.done.is_set() and self.plugin is None and self.error is None

    def settle(self, plugin: P | None, error: BaseException | None) -> None:
        """Leave "running". An interrupt of the leader is its own affair: that is "abandoned"."""
        self.plugin = plugin
        self.error = error if isinstance(error, Exception) else None
        self.done.set()

    def wait(self, clock: Clock, ending: Ending | None = None) -> None:
        """Wait until the leader has settled it; ``RuntimeError`` for the leader itself.

        Raises ``WaitCancelledError`` where ``ending`` ends the wait before that.
        """
        if not self.done.is_set() and self._leader == threading.get_ident():
            name = quoted(self.name)
            raise RuntimeError(f"activating {name} asks for {name}: it cannot end")
        ending = ending or Ending()
        began = clock.now()
        either = WakeEvent()
        with self.done.calling(either.set), ending.cancellation.calling(either.set):
            clock.wait(either)
        if ending.reason and (self.abandoned or not self.done.is_set()):
            raise ending.error(elapsed=clock.now() - began)

    def outcome(self, clock: Clock, ending: Ending | None = None) -> P | None:
        """Wait for the leader and share what came of it; ``None`` where it was abandoned.

        Raises a copy of the leader's error, so that no two threads share a traceback, or
        ``WaitCancelledError`` as ``wait`` does.
        """
        self.wait(clock, ending)
        if isinstance(self.error, PluginError):
            raise copy(self.error) from self.error.__cause__
        if self.error is not None:
            raise self.error
        return self.plugin


class Handshake:
    """One activation's attempts: look the plugin up, then ask it what it implements.

    What an attempt found the next one keeps, so that both draw on one budget and
    a plugin is looked up once. Its client is its own until it succeeds: ``end`` closes it.
    A managed plugin is not asked: its engine said what it implements. ``known`` gives the one
    that is active already by another of its names, if it is.
    """

    def __init__(
        self,
        name: str,
        discovery: Discovery,
        new_client: Callable[[Plugin], Client],
        timeout: float | None,
        known: Callable[[Plugin], ActivePlugin | None],
        *,
        ending: Ending,
    ) -> None:
        self._name = name
        self._discovery = discovery
        self._new_client = new_client
        self._known = known
        self._timeout = timeout
        self._ending = ending
        self._reached: tuple[Plugin, Client] | None = None
        self._pending: PendingResponse | None = None
        # Why it was ended, or "" where it succeeded: whichever was first.
        self._fate: dict[str, str] = {}

    def begin(self) -> PendingResponse | None:
        """Begin the first attempt without a wait; ``None`` where that cannot be done.

        The attempt itself then ends it, or makes one. Raises as it does.
        """
        self._check()
        try:
            found, client = self._find()
            if found.managed is not None:
                return None  # it is not asked
            self._pending = client.begin(client.request(ACTIVATE), self._timeout)
        except PluginError as error:
            self._check(error)
            raise
        return self._pending

    def __call__(self, attempt: int) -> ActivePlugin:
        """The plugin, active; raises what the look-up or the handshake raises.

        Once it was ended that is ``WaitCancelledError``.
        """
        pending, self._pending = self._pending, None
        try:
            return self._try(attempt, pending)
        finally:
            if pending is not None:
                pending.close()

    def _try(self, attempt: int, pending: PendingResponse | None) -> ActivePlugin:
        self._check()
        try:
            plugin = self._attempt(attempt, pending)
        except PluginError as error:
            self._check(error)
            raise
        # Its client may be closed already, by ``end`` in another thread.
        self._fate.setdefault(self._name, "")
        self._check()
        return plugin

    def end(self, reason: str) -> None:
        """End the attempt that is under way, and all to come, unless one has succeeded.

        May be called by any thread, and by a signal handler.
        """
        if self._fate.setdefault(self._name, reason):
            try:
                self.give_up()
            except BaseException as raised:  # by a transport: the others are still to be ended
                log_failure(f"closing the client of plugin {quoted(self._name)} failed", raised)

    def _check(self, cause: PluginError | None = None) -> None:
        reason = self._fate.get(self._name, "")
        if cause is not None:
            # What ends a look-up may do so before it ends this.
            reason = reason or self._ending.reason
        if reason:
            raise WaitCancelledError(reason, self._name) from cause

    def _find(self) -> tuple[Plugin, Client]:
        if self._reached is None:
            found = self._discovery.lookup(self._name)
            known = None if found.managed is None else self._known(check_protocol(found))
            # One that is active already is shared, and so is its client.
            self._reached = (known, known.client) if known else (found, self._new_client(found))
            self._check()  # since the look-up began, and before there was a client to close
        return self._reached

    def _attempt(self, attempt: int, pending: PendingResponse | None) -> ActivePlugin:
        found, client = self._find()
        if isinstance(found, ActivePlugin):
            return found
        manifest = found.manifest
        if found.managed is None:
            request = client.request(ACTIVATE, attempt=attempt)
            manifest = client.attempt(request, Manifest, self._timeout, pending)
        return ActivePlugin(
            found.name,
            found.addr,
            found.tls_config,
            manifest,
            managed=found.managed,
            client=client,
        )

    def give_up(self) -> None:
        """Close the client of an activation that failed."""
        reached, self._reached = self._reached, None
        if reached is not None and not isinstance(reached[0], ActivePlugin):
            reached[1].close()


class Activations(Generic[P]):
    """The activations of one registry by name, and the handlers that plugins are to meet.

    This is all that the lock guards; nothing here waits or calls anybody.
    """

    def __init__(self) -> None:
        self._lock = ProcessLock()
        # By the name that was asked for.
        self._by_name: dict[str, Activation[P]] = {}
        # By the name that was found, for managed plugins; by that of the activation for others.
        self._plugins: dict[str, P] = {}
        self._handlers: dict[str, list[Callable[[str, Any], object]]] = {}
        self._closed = False

    def active(self, name: str) -> P | None:
        """The plugin by that name, if it is active."""
        with self._lock():
            activation = self._by_name.get(name)
            return None if activation is None else activation.plugin

    def known(self, found: Plugin) -> P | None:
        """The managed plugin that a look-up ``found``, if it is active and still the same."""
        with self._lock():
            known = self._plugins.get(found.name)
        return known if known is not None and _is_same(known, found) else None

    def count(self) -> int:
        """How many plugins are active."""
        with self._lock():
            return len(self._plugins)

    def claim(self, name: str, leader: int | None) -> tuple[Activation[P], bool]:
        """The activation of ``name``, and whether it is new: then the caller has the lead.

        ``leader`` is the thread that leads, where it is one. Raises
        ``RuntimeError`` once closed.
        """
        with self._lock():
            if self._closed:
                raise RuntimeError(CLOSED)
            known = self._by_name.get(name)
            if known is not None and not known.left_behind:
                return known, False
            activation = self._by_name[name] = Activation(name, leader)
            return activation, True

    def settle(
        self,
        activation: Activation[P],
        plugin: P | None,
        error: BaseException | None = None,
    ) -> bool:
        """Take an activation out of "running"; a second time changes nothing, and is false."""
        with self._lock():
            if activation.done.is_set():
                return False
            if self._closed:
                plugin, error = None, None
            if plugin is not None:
                plugin = self._shared(activation, plugin)
            elif self._by_name.get(activation.name) is activation:
                del self._by_name[activation.name]
            activation.settle(plugin, error)
            return True

    def share(self, name: str, plugin: P) -> Activation[P]:
        """The activation of ``name``: that of ``plugin``, or of one that was active before.

        For tasks, whose loops each have their own leaders, and share what is active. Raises
        ``RuntimeError`` once closed.
        """
        with self._lock():
            if self._closed:
                raise RuntimeError(CLOSED)
            activation = self._by_name.get(name)
            if activation is None:
                activation = self._by_name[name] = Activation(name, None)
                activation.settle(self._shared(activation, plugin), None)
            return activation

    def _shared(self, activation: Activation[P], plugin: P) -> P:
        # Under the lock. What is new here is still to meet its handlers.
        name = activation.name if plugin.managed is None else plugin.name
        known = self._plugins.get(name)
        if known is not None and plugin.managed is not None and _is_same(known, plugin):
            return known
        activation.is_new = True
        if self._handlers:
            activation.meetings = self._meetings(plugin)
        # One that was forgotten while it was running is its callers' alone.
        if self._by_name.get(activation.name) is activation:
            if known is not None:  # it was installed again
                self._forget(known, but=activation)
                activation.replaced = known
            self._plugins[name] = plugin
        return plugin

    def _meetings(self, plugin: P) -> list[Meeting[P]]:
        # In the order of the manifest; for a managed plugin capitals do not count.
        first = {name.lower(): n for n, name in reversed([*enumerate(plugin.manifest.implements)])}
        interfaces = filter(plugin.implements, self._handlers)
        return [
            (handler, plugin)
            for interface in sorted(interfaces, key=lambda each: first[each.lower()])
            for handler in self._handlers[interface]
        ]

    def _forget(self, plugin: P, but: Activation[P] | None = None) -> None:
        # Under the lock: the activations of all its names.
        names = [n for n, a in self._by_name.items() if a.plugin is plugin and a is not but]
        for name in names:
            del self._by_name[name]

    def take_meetings(self, activation: Activation[P]) -> list[Meeting[P]]:
        """The handlers that an activated plugin is to meet, for the caller to call; once."""
        with self._lock():
            meetings, activation.meetings = activation.meetings, []
            return meetings

    def add_handler(
        self, interface: str, handler: Callable[[str, Any], object]
    ) -> list[Meeting[P]]:
        """Keep ``handler``; returns its meetings with the plugins that are active already."""
        with self._lock():
            self._handlers.setdefault(interface, []).append(handler)
            plugins = list(self._plugins.values())
            return [(handler, p) for p in plugins if p.implements(interface)]

    def drop(self, name: str) -> P | None:
        """Forget a plugin by any of its names; returns the one that was active.

        Threads that wait for its activation still get the outcome.
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
        return plugin

    def doubt(self, found: Plugin) -> None:
        """Have a managed plugin looked up again by the next to ask: it may be another by now."""
        with self._lock():
            plugin = self._plugins.get(found.name)
            if plugin is not None and _is_same(plugin, found):
                self._forget(plugin)

    def close(self) -> list[P]:
        """Forget all, and take no more; returns the plugins that were active."""
        with self._lock():
            self._closed = True
            plugins = list(self._plugins.values())
            self._plugins.clear()
            self._by_name.clear()
        return plugins


def _is_same(known: Plugin, found: Plugin) -> bool:
    # Another id is another address; an upgrade keeps the id, and may change what it implements.
    return (known.addr, known.manifest, known.managed) == (
        found.addr,
        found.manifest,
        found.managed,
    )
