"""The plugins of one host: scan, lookup, get, get_all, handle.

How an activation lives, and what the lock guards, is told in ``activation.py``.
"""

import logging
import math
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import chain
from typing import Self, TypeVar, overload

from moby_plugins.app.activation import (
    Activation,
    Activations,
    ActivePlugin,
    Handler,
    Handshake,
    Meeting,
)
from moby_plugins.app.client import MAX_RESPONSE_BYTES, Client, seconds
from moby_plugins.app.parts import check_proxy
from moby_plugins.app.retrying import OnRetry, Outcome, retry_side_by_side
from moby_plugins.app.retrying import retry as try_again
from moby_plugins.app.subsystem import Subsystem
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.errors import NotImplementedByPluginError, PluginError, in_full
from moby_plugins.domain.plugin import Plugin, check_plugin_name
from moby_plugins.domain.retry import RetryPolicy, is_retryable, is_worth_waiting_for
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import log_failure
from moby_plugins.ports import Clock, Connect, Discovery, filled

_DOOR = AtDoor("moby_plugins", __name__)

logger: logging.Logger = logging.getLogger("moby_plugins")

ACTIVATION_TIMEOUT = 30.0
S = TypeVar("S", bound=Subsystem)


class Registry:
    """Finds plugins, activates each once, and shares it with all who ask.

    ``discovery``, ``connect`` and ``clock`` are ports. ``retry`` is the policy of
    ``get`` and of the clients it makes; ``timeout`` and ``max_response_bytes``
    are those clients'; ``activation_timeout`` bounds one attempt at the
    handshake. Times are seconds. Threads may share a registry. Whoever made it
    closes it, and that closes the clients of its plugins.
    """

    __module__ = _DOOR

    def __init__(
        self,
        *,
        discovery: Discovery,
        connect: Connect,
        clock: Clock,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        activation_timeout: float | None = ACTIVATION_TIMEOUT,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self._discovery = filled("discovery", discovery, "scan", "lookup")
        if not callable(connect):
            raise TypeError(f"connect must be a function of an address, not {quoted(connect)}")
        self._connect = connect
        self._clock = filled("clock", clock, "now", "sleep", "wait", "working")
        self._retry = retry or RetryPolicy()
        self._timeout = seconds(timeout)
        # No bound is none at all, and not that of the clients' calls.
        self._activation_timeout = seconds(activation_timeout) or math.inf
        self._max_response_bytes = max_response_bytes
        self._activations = Activations()

    def scan(self) -> list[str]:
        """The names of the plugins that can be found now, sorted; activates none.

        Raises ``SpecError`` for a directory that cannot be read.
        """
        return self._discovery.scan()

    def lookup(self, name: str) -> Plugin:
        """The plugin by that name as it is found now; neither waits nor activates.

        Raises ``PluginNotFoundError``, ``InvalidPluginNameError`` or ``SpecError``.
        """
        return self._discovery.lookup(name)

    @overload
    def get(
        self,
        name: str,
        implements: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> ActivePlugin: ...

    @overload
    def get(
        self,
        name: str,
        implements: type[S],
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> S: ...

    def get(
        self,
        name: str,
        implements: str | type[S] | None = None,
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> ActivePlugin | S:
        """The plugin ``name``, active, if it implements the subsystem ``implements``, or any.

        A subsystem's class gives the typed proxy in its place: ``get("shelf",
        VolumeDriver).list()``; its ``client`` is the way on.

        The first to ask looks it up and shakes hands, waiting for a plugin that
        is not there or does not answer as ``retry`` allows (the registry's policy
        unless given); then runs the handlers. ``on_retry`` is told of each attempt
        that failed, and how many seconds later the next begins. Whoever asks meanwhile
        shares the outcome. Later a plugin is known, and nothing is sent.

        Raises ``PluginNotFoundError``, ``NotImplementedByPluginError``,
        ``SpecError``, ``InvalidPluginNameError``, and what the handshake raises:
        ``TransportError``, ``StatusError`` or ``WireError``; ``TypeError`` for a class that is
        no proxy, such as an implementation of a subsystem.
        """
        if implements is not None and not isinstance(implements, str):
            check_proxy(implements)
            plugin = self.get(name, implements.implements, retry=retry, on_retry=on_retry)
            return implements(plugin.client)
        active = self._activations.active(name)
        if active is None:
            active = self._activate(check_plugin_name(name), retry or self._retry, on_retry)
        if implements is not None and not active.implements(implements):
            raise NotImplementedByPluginError(name, implements, active.manifest.implements)
        return active

    @overload
    def get_all(
        self,
        implements: str | None = None,
        *,
        on_failure: Callable[[str, PluginError], object] | None = None,
    ) -> list[ActivePlugin]: ...

    @overload
    def get_all(
        self,
        implements: type[S],
        *,
        on_failure: Callable[[str, PluginError], object] | None = None,
    ) -> list[S]: ...

    def get_all(
        self,
        implements: str | type[S] | None = None,
        *,
        on_failure: Callable[[str, PluginError], object] | None = None,
    ) -> list[ActivePlugin] | list[S]:
        """Every plugin that can be found and implements ``implements``, or any, sorted by name.

        Those that are not active yet are activated side by side; one whose file
        has gone is not waited for. What fails is logged, told to ``on_failure``
        with its name and error, and left out. A subsystem's class gives typed proxies, as in
        ``get``.

        Raises ``SpecError`` for a directory that cannot be read.
        """
        if implements is not None and not isinstance(implements, str):
            check_proxy(implements)
            plugins = self.get_all(implements.implements, on_failure=on_failure)
            return [implements(plugin.client) for plugin in plugins]
        with self._clock.working(), closing(self._load(self._discovery.scan())) as loaded:
            found: dict[str, ActivePlugin] = {}
            for activation in loaded:
                if activation.plugin is not None:
                    found[activation.name] = activation.plugin
                elif isinstance(activation.error, PluginError):
                    named, error = quoted(activation.name), in_full(activation.error)
                    logger.warning("left out plugin %s: %s", named, error)
                    if on_failure is not None:
                        on_failure(activation.name, activation.error)
                elif activation.error is not None:
                    raise activation.error
        active = [found[name] for name in sorted(found)]
        return [plugin for plugin in active if implements is None or plugin.implements(implements)]

    def handle(self, interface: str, handler: Handler) -> None:
        """Call ``handler(name, client)`` once for each plugin that implements ``interface``.

        For plugins that are active already it is called now, in this thread; for
        others by the thread that activates them, after the handshake. It may call
        this registry. One that raises is logged, whatever it raises, and the others still run;
        a ``KeyboardInterrupt`` passes to the caller, once they have.
        """
        _call(self._activations.add_handler(interface, handler))

    def invalidate(self, name: str) -> None:
        """Forget a plugin, so that the next ``get`` looks it up and shakes hands anew.

        Whoever holds it may go on using its client. A name that is not known is no error.
        """
        self._activations.drop(name)

    def close(self) -> None:
        """Close the clients of all active plugins; ``get`` then raises ``RuntimeError``."""
        for plugin in self._activations.close():
            plugin.client.close()

    def __repr__(self) -> str:
        found, reached = shown(self._discovery), shown(self._connect)
        active = self._activations.count()
        return f"<{type(self).__name__} of {found}: {active} active; {reached}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _activate(self, name: str, policy: RetryPolicy, on_retry: OnRetry | None) -> ActivePlugin:
        with self._clock.working():
            while True:
                activation, leading = self._activations.claim(name, threading.get_ident())
                if leading:
                    return self._lead(activation, policy, on_retry)
                plugin = activation.outcome(self._clock)
                if plugin is not None:
                    return plugin

    def _lead(
        self, activation: Activation, policy: RetryPolicy, on_retry: OnRetry | None
    ) -> ActivePlugin:
        handshake = self._handshake(activation.name)
        try:
            plugin = try_again(handshake, policy, self._clock, is_worth_waiting_for, on_retry)
        except BaseException as error:
            self._settle(activation, handshake, None, error)
            raise
        self._settle(activation, handshake, plugin)
        self._meet(activation)
        if activation.error is not None:
            raise activation.error
        return plugin

    def _settle(
        self,
        activation: Activation,
        handshake: Handshake,
        plugin: ActivePlugin | None,
        error: BaseException | None = None,
    ) -> None:
        self._activations.settle(activation, plugin, error)
        if activation.plugin is None:
            try:
                handshake.give_up()
            except BaseException as raised:  # by a transport: the outcome is settled already
                what = f"closing the client of plugin {quoted(activation.name)} failed"
                log_failure(what, raised)

    def _meet(self, activation: Activation) -> None:
        _call(self._activations.take_meetings(activation))

    def _handshake(self, name: str) -> Handshake:
        return Handshake(name, self._discovery, self._new_client, self._activation_timeout)

    def _new_client(self, plugin: Plugin) -> Client:
        return Client(
            self._connect(plugin.address, plugin.tls_config),
            plugin.address,
            clock=self._clock,
            retry=self._retry,
            timeout=self._timeout,
            max_response_bytes=self._max_response_bytes,
            name=plugin.name,
        )

    def _load(self, names: Iterable[str]) -> Generator[Activation]:
        """An activation of each name, settled; handlers run on the way, in this thread."""
        ours: list[Activation] = []
        theirs: list[Activation] = []
        try:
            for name in names:
                activation, leading = self._activations.claim(name, None)
                (ours if leading else theirs).append(activation)
            with closing(self._lead_side_by_side(ours)) as led:
                yield from led
        finally:
            # Changes nothing, unless this was cut short: then others may take the lead,
            # and what became active unnoticed still meets its handlers.
            for activation in ours:
                self._activations.settle(activation, None)
            left = chain.from_iterable(map(self._activations.take_meetings, ours))
            _call(left)
        for activation in theirs:
            activation.wait(self._clock)
        yield from (activation for activation in theirs if not activation.abandoned)
        if abandoned := [activation.name for activation in theirs if activation.abandoned]:
            yield from self._load(abandoned)

    def _lead_side_by_side(self, ours: list[Activation]) -> Generator[Activation]:
        handshakes = [self._handshake(activation.name) for activation in ours]

        def settle(outcome: Outcome[ActivePlugin]) -> tuple[Activation, BaseException | None]:
            activation, handshake = ours[outcome.index], handshakes[outcome.index]
            self._settle(activation, handshake, outcome.value, outcome.error)
            return activation, outcome.error

        # Handlers run here while the crew goes on, so that one may wait for what the crew loads.
        crew = retry_side_by_side(handshakes, self._retry, self._clock, is_retryable, settle)
        with closing(crew):
            for activation, error in crew:
                if error is not None and not isinstance(error, Exception):
                    raise error
                self._meet(activation)
                yield activation


def _call(meetings: Iterable[Meeting]) -> None:
    interrupt: KeyboardInterrupt | None = None
    for handler, plugin in meetings:
        try:
            handler(plugin.name, plugin.client)
        except KeyboardInterrupt as error:  # the caller's own, once all plugins were met
            interrupt = error
        except BaseException as error:
            what = f"the handler {shown(handler)} failed for plugin {quoted(plugin.name)}"
            log_failure(what, error)
    if interrupt is not None:
        raise interrupt
