"""The plugins of one host: scan, lookup, get, get_all, handle.

How an activation lives, and what the lock guards, is told in ``activation.py``.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar, overload

from moby_plugins.app.activation import (
    CLOSED,
    Activations,
    ActivePlugin,
    Handler,
    P,
)
from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.leading import CANCELLED, Leaders, call_handlers
from moby_plugins.app.observing import Observers, tell_dropped
from moby_plugins.app.retrying import Ending, OnRetry
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.errors import (
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginError,
    WaitCancelledError,
    in_full,
)
from moby_plugins.domain.observing import Observer
from moby_plugins.domain.plugin import Plugin, check_any_name
from moby_plugins.domain.retry import RetryPolicy, policy_given, seconds, size
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import logger
from moby_plugins.ports import (
    Cancellation,
    Clock,
    Connect,
    Discovery,
    Selector,
    callable_or_none,
    filled,
)

if TYPE_CHECKING:
    from moby_plugins.app.subsystem import Subsystem

_DOOR = AtDoor("moby_plugins", __name__)


ACTIVATION_TIMEOUT = 30.0
S = TypeVar("S", bound="Subsystem")
# Called with the name and the error of a plugin that ``get_all`` leaves out.
OnFailure: TypeAlias = Callable[[str, PluginError], object]


class Registry:
    """Finds plugins, activates each once, and shares it with all that ask. Threads may share it.

    ``new_local_registry`` makes one from settings, whose look-ups too go on where descriptors run
    out: idle connections then make room. Who made it closes it: that closes the clients
    of its plugins, and ends all waits. Times are seconds.

    Args:
        discovery: Finds plugins by name.
        connect: Makes the transport for an address.
        clock: What waits are on.
        retry: The policy of ``get`` and of the plugins' clients.
        timeout: Seconds for each attempt of the clients' calls; ``None`` is no bound.
        activation_timeout: Seconds for each attempt at the handshake; ``None`` is no bound.
        max_response_bytes: How many bytes of a response the clients decode.
        selector: Makes what waits for many handshakes in one thread, for ``get_all``; without it
            each has a thread.
        observers: What is told of calls, retries and plugins.
        on_retry: Called before each wait for another attempt, with the error and the seconds, where
            ``get`` or a call of a client gives none.

    Raises:
        TypeError: For an argument without the methods of its port.

    Examples:
        ```python
        from moby_plugins.subsystems import Volume, VolumeDriver
        from moby_plugins.testing import MemoryRegistry  # a Registry in memory

        with MemoryRegistry() as registry:
            registry.add("shelf", {"VolumeDriver.List": {"Volumes": [{"Name": "books"}]}})
            assert registry.get("shelf", VolumeDriver).list() == (Volume("books"),)
            assert [plugin.name for plugin in registry.get_all("VolumeDriver")] == ["shelf"]
        ```
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
        selector: Callable[[], Selector] | None = None,
        observers: Iterable[Observer] = (),
        on_retry: OnRetry | None = None,
    ) -> None:
        self._discovery = filled("discovery", discovery, "scan", "lookup")
        if not callable(connect):
            raise TypeError(f"connect must be a function of an address, not {quoted(connect)}")
        self._connect = connect
        self._clock = filled("clock", clock, "now", "sleep", "wait", "working")
        self._retry = RetryPolicy() if retry is None else policy_given(retry)
        self._activations: Activations[ActivePlugin] = Activations()
        self._closing = Cancellation()
        self._observers = Observers(observers)
        self._leaders = Leaders(
            activations=self._activations,
            discovery=discovery,
            connect=connect,
            clock=clock,
            closing=self._closing,
            retry=self._retry,
            timeout=seconds(timeout),
            # No bound is none at all, and not that of the clients' calls.
            activation_timeout=seconds(activation_timeout) or math.inf,
            max_response_bytes=size("max_response_bytes", max_response_bytes),
            selector=callable_or_none("selector", selector),
            observers=self._observers,
            on_retry=callable_or_none("on_retry", on_retry),
        )

    def scan(self) -> list[str]:
        """Return the names of the plugins that can be found now; activates none.

        Returns:
            The names, sorted, each once.

        Raises:
            SpecError: For a directory that cannot be read.
            TransportError: Where an engine that is named does not answer; and ``StatusError`` or
                ``WireError`` where it does not tell.
        """
        return self._discovery.scan()

    def lookup(self, name: str) -> Plugin:
        """Find a plugin as it is described now; neither waits nor activates.

        Args:
            name: Its name.

        Returns:
            The plugin, without a manifest yet.

        Raises:
            PluginNotFoundError: Where there is none.
            InvalidPluginNameError: For what cannot be a name.
            SpecError: Where its description cannot be used.
            PluginDisabledError: Where its engine has it disabled.
            TransportError: Where an engine that is named does not answer; and ``StatusError`` or
                ``WireError`` where it does not tell.
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
        cancel: Cancellation | None = None,
    ) -> ActivePlugin: ...

    @overload
    def get(
        self,
        name: str,
        implements: type[S],
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
        cancel: Cancellation | None = None,
    ) -> S: ...

    def get(
        self,
        name: str,
        implements: str | type[S] | None = None,
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
        cancel: Cancellation | None = None,
    ) -> ActivePlugin | S:
        """Return the active plugin ``name``, activating it on first use.

        The first to ask looks it up and shakes hands, waiting for a plugin that is not there or
        does not answer as ``retry`` allows; then runs the handlers. Others that ask at that time
        share the outcome. Later the plugin is known, and nothing is sent.

        Args:
            name: The plugin's name.
            implements: The subsystem that it must implement: a name, or a class such as
                ``VolumeDriver`` for its typed proxy. ``None`` asks for none.
            retry: The policy for this wait, in place of the registry's.
            on_retry: Called after each attempt that failed, with its error and the seconds until
                the next. What it raises ends this call, and passes to the caller.
            cancel: Ends this call at once when it is set, by any thread, whatever it waits for;
                another caller that waits takes the attempts over. A transport that cannot end
                what it sends, and a discovery that cannot end a look-up, are waited for.

        Returns:
            The active plugin, whose ``client`` the registry closes; for a class its typed proxy.

        A managed plugin has several names: all give the one client. It is not asked what it
        implements, and it is looked up again after a call that found its socket gone.

        Raises:
            PluginNotFoundError: Where there is none within the policy's budget.
            PluginDisabledError: At once, where its engine has it disabled.
            NotImplementedByPluginError: Where it does not implement the subsystem.
            InvalidPluginNameError: For what cannot be a name.
            SpecError: Where its description cannot be used.
            TransportError: When no attempt at the handshake was answered, or by an engine.
            StatusError: For a handshake answered with another status than 200.
            WireError: For a handshake that cannot be read.
            WaitCancelledError: When ``cancel`` is set, or the registry closed.
            TypeError: For a class that is no proxy, such as an author's implementation.
            RuntimeError: When the registry was closed before.
        """
        if cancel is not None:
            _check_cancel(cancel, name)
        if implements is not None and not isinstance(implements, str):
            from moby_plugins.app.parts import check_proxy

            check_proxy(implements)
            plugin = self.get(
                name, implements.implements, retry=retry, on_retry=on_retry, cancel=cancel
            )
            return implements(plugin.client)
        try:
            active = self._activations.active(name)
        except TypeError:  # of what has no hash
            raise InvalidPluginNameError(name) from None
        if active is None:
            policy = self._retry if retry is None else policy_given(retry)
            if on_retry is not None:
                callable_or_none("on_retry", on_retry)
            active = self._leaders.activate(check_any_name(name), policy, on_retry, cancel)
        if implements is not None and not active.implements(implements):
            raise NotImplementedByPluginError(name, implements, active.manifest.implements)
        return active

    @overload
    def get_all(
        self,
        implements: str | None = None,
        *,
        on_failure: OnFailure | None = None,
    ) -> list[ActivePlugin]: ...

    @overload
    def get_all(
        self,
        implements: type[S],
        *,
        on_failure: OnFailure | None = None,
    ) -> list[S]: ...

    def get_all(
        self,
        implements: str | type[S] | None = None,
        *,
        on_failure: OnFailure | None = None,
    ) -> list[ActivePlugin] | list[S]:
        """Return each plugin that can be found and implements the subsystem, sorted by name.

        Those that are not active yet are activated side by side; one whose file has gone is not
        waited for. What fails is logged and left out.

        Args:
            implements: As ``get`` takes it.
            on_failure: Called with the name and the error of each plugin that is left out. What it
                raises ends this call, and passes to the caller.

        Returns:
            The active plugins; for a class their typed proxies.

        Raises:
            SpecError: For a directory that cannot be read.
            WaitCancelledError: When the registry is closed before all are active.
        """
        if implements is not None and not isinstance(implements, str):
            from moby_plugins.app.parts import check_proxy

            check_proxy(implements)
            plugins = self.get_all(implements.implements, on_failure=on_failure)
            return [implements(plugin.client) for plugin in plugins]
        callable_or_none("on_failure", on_failure)
        with ExitStack() as stack:
            stack.enter_context(self._clock.working())
            ending = Ending()
            stack.enter_context(self._closing.calling(partial(ending.end, CLOSED)))
            names = self._leaders.scan(ending)
            loaded = stack.enter_context(closing(self._leaders.load(names, ending)))
            found: dict[str, ActivePlugin] = {}
            for activation in loaded:
                if activation.plugin is not None:
                    found[activation.name] = activation.plugin
                elif isinstance(activation.error, PluginError):
                    leave_out(activation.name, activation.error, on_failure)
                elif activation.error is not None:
                    raise activation.error
                else:  # the registry was closed before it was active
                    raise ending.error()
        return those_of(found, implements)

    def handle(self, interface: str, handler: Handler) -> None:
        """Call ``handler(name, client)`` once for each plugin that implements a subsystem.

        For plugins that are active already it is called now, in this thread; for others by the
        thread that activates them, after the handshake. One that raises is logged, whatever it
        raises, and the others still run; a ``KeyboardInterrupt`` passes to the caller, once they
        have.

        Args:
            interface: The subsystem's name.
            handler: What to call; it may call this registry.

        Raises:
            TypeError: For an interface that is no text, or a handler that cannot be called.
        """
        check_handler(interface, handler)
        call_handlers(self._activations.add_handler(interface, handler), self._observers)

    def invalidate(self, name: str) -> None:
        """Forget a plugin, so that the next ``get`` looks it up and shakes hands again.

        Clients of it can still be used. A name that is not known is no error.

        Args:
            name: The plugin's.

        Raises:
            InvalidPluginNameError: For what cannot be a name.
        """
        tell_dropped(self._observers, self._activations.drop(check_any_name(name)))

    def close(self) -> None:
        """Close the clients of all active plugins; ``get`` then raises ``RuntimeError``.

        Each ``get`` and ``get_all`` that waits ends at once with ``WaitCancelledError``. May be
        called more than once, by any thread.
        """
        self._closing.set()
        for plugin in self._activations.close():
            plugin.client.close()
            tell_dropped(self._observers, plugin)

    def __repr__(self) -> str:
        found, reached = shown(self._discovery), shown(self._connect)
        active = self._activations.count()
        return f"<{type(self).__name__} of {found}: {active} active; {reached}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_handler(interface: object, handler: object) -> None:
    """Raise ``TypeError`` for what ``handle`` cannot take."""
    if not isinstance(interface, str):
        raise TypeError(f"interface must be a subsystem's name, not {quoted(interface)}")
    if not callable(handler):
        raise TypeError(f"handler must be a function of a name and a client, not {quoted(handler)}")


def leave_out(name: str, error: PluginError, on_failure: OnFailure | None) -> None:
    """Say that ``get_all`` leaves out the plugin ``name``, which failed with ``error``."""
    logger.warning("left out plugin %s: %s", quoted(name), in_full(error))
    if on_failure is not None:
        on_failure(name, error)


def those_of(found: Mapping[str, P], implements: str | None) -> list[P]:
    """The plugins found by their names that implement a subsystem, each once, by name."""
    # A managed plugin may have been found by several names.
    active = {id(plugin): plugin for _, plugin in sorted(found.items())}.values()
    return [plugin for plugin in active if implements is None or plugin.implements(implements)]


def _check_cancel(cancel: Cancellation, name: str) -> None:
    if not isinstance(cancel, Cancellation):
        raise TypeError(f"cancel takes a Cancellation, not {type(cancel).__name__}")
    if cancel.is_set():
        raise WaitCancelledError(CANCELLED, name)
