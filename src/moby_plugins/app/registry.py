"""The registry: ``scan``, ``lookup``, ``get``, ``get_all`` and ``handle`` for a host's plugins.

``activation.py`` explains the states of an activation, and what the lock guards.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, overload

from moby_plugins.app.activation import (
    CLOSED,
    Activations,
    ActivePlugin,
    Handler,
    P,
)
from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.leading import CANCELLED, Leaders, call_handlers
from moby_plugins.app.observing import Observers
from moby_plugins.app.retrying import Ending, OnRetry
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.errors import (
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginError,
    WaitCancelledError,
    in_full,
)
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import Plugin, check_any_name
from moby_plugins.domain.retry import RetryPolicy, policy_given, seconds, size
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import call_all, logger
from moby_plugins.ports import (
    Cancellation,
    Clock,
    Connect,
    Discovery,
    Selector,
    callable_or_none,
    connect_given,
    filled,
)

if TYPE_CHECKING:
    from moby_plugins.app.subsystem import Subsystem

_DOOR = AtDoor("moby_plugins", __name__)


ACTIVATION_TIMEOUT = 30.0
S = TypeVar("S", bound="Subsystem")
# Called by ``get_all`` with the name and the error of each plugin that it leaves out.
OnFailure: TypeAlias = Callable[[str, PluginError], object]


class Registry:
    """A set of plugins, each found by name and activated once. Threads may share it.

    ``new_local_registry`` makes one from settings. Such a registry closes idle connections when a
    look-up or a connection finds no free file descriptor. The caller closes the registry, which
    closes the clients of its plugins and ends all waits. Times are in seconds.

    Args:
        discovery: Finds plugins by name.
        connect: Makes the transport for an address.
        clock: The clock that all waits use.
        retry: The policy of ``get`` and of the plugins' clients.
        timeout: Seconds for each attempt of a client's call; ``None`` means no limit.
        activation_timeout: Seconds for each attempt at the handshake; ``None`` means no limit.
        max_response_bytes: The most bytes that a response to a client may have.
        selector: Makes the selector with which ``get_all`` waits for many handshakes in one thread;
            without it, worker threads make the handshakes.
        prompt_schemes: The schemes of addresses for which ``connect`` does not wait; only their
            handshakes are made in one thread.
        observers: Objects whose methods are called for calls, retries and plugins.
        on_retry: The default callback for retries, for ``get`` and for the clients: called before
            each wait for another attempt, with the error and the length of the wait in seconds.

    Raises:
        TypeError: If an argument lacks a method that its protocol in ``moby_plugins.ports`` has.

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
        prompt_schemes: Collection[str] = (),
        observers: Iterable[Observer] = (),
        on_retry: OnRetry | None = None,
    ) -> None:
        self._discovery = filled("discovery", discovery, "scan", "lookup")
        self._connect = connect_given(connect)
        self._clock = filled("clock", clock, "now", "sleep", "wait", "working")
        self._retry = RetryPolicy() if retry is None else policy_given(retry)
        self._closing = Cancellation()
        self._observers = Observers(observers)
        self._activations: Activations[ActivePlugin] = Activations(self._observers)
        self._leaders = Leaders(
            activations=self._activations,
            discovery=discovery,
            connect=connect,
            clock=clock,
            closing=self._closing,
            retry=self._retry,
            timeout=seconds(timeout),
            # ``None`` means no limit here; passed to a client, it would mean the client's time-out.
            activation_timeout=seconds(activation_timeout) or math.inf,
            max_response_bytes=size("max_response_bytes", max_response_bytes),
            selector=callable_or_none("selector", selector),
            prompt_schemes=frozenset(prompt_schemes),
            observers=self._observers,
            on_retry=callable_or_none("on_retry", on_retry),
        )

    def scan(self) -> list[str]:
        """Return the names of the plugins that can be found now, without activating any.

        Returns:
            The names, sorted, each once.

        Raises:
            SpecError: If a directory cannot be read.
            TransportError: If the configured engine does not respond; ``StatusError`` or
                ``WireError`` if it does not return its plugins.
        """
        return self._discovery.scan()

    def lookup(self, name: str) -> Plugin:
        """Find a plugin as it is described now, without waiting for it or activating it.

        Args:
            name: The plugin's name.

        Returns:
            The plugin. Its manifest is empty, unless it is a managed plugin.

        Raises:
            PluginNotFoundError: If there is no such plugin.
            InvalidPluginNameError: If ``name`` is not a valid name.
            SpecError: If the plugin's description is not valid.
            PluginDisabledError: If the plugin is disabled in its engine.
            TransportError: If the configured engine does not respond; ``StatusError`` or
                ``WireError`` if it does not return its plugins.
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

        The first caller looks the plugin up and makes the handshake, and retries both as ``retry``
        allows; then it runs the handlers. Callers that ask in the meantime wait for this activation
        and get its plugin or its error. Later calls return the active plugin and send nothing.

        A managed plugin has several names, which all give the same client. A managed plugin gets no
        handshake: its engine knows what it implements. After a call that found the plugin's socket
        missing, the next ``get`` looks the name up in the engine again.

        Args:
            name: The plugin's name.
            implements: The subsystem that the plugin must implement: its name, or its class, such
                as ``VolumeDriver``, to get a typed proxy. ``None`` requires no subsystem.
            retry: The policy for this call, instead of the registry's.
            on_retry: Called after each failed attempt, with its error and the seconds until the
                next attempt. An exception that it raises ends this call and passes to the caller.
            cancel: Ends this call at once when any thread sets it; another waiting caller then
                continues the attempts. If the transport cannot abort a request, or the discovery
                cannot abort a look-up, this call ends only after that request or look-up.

        Returns:
            The active plugin, whose ``client`` the registry closes; or, if ``implements`` is a
            class, a typed proxy.

        Raises:
            PluginNotFoundError: If the plugin is not found within the policy's budget.
            PluginDisabledError: If the plugin is disabled in its engine; not retried.
            NotImplementedByPluginError: If the plugin does not implement the subsystem.
            InvalidPluginNameError: If ``name`` is not a valid name.
            SpecError: If the plugin's description is not valid.
            TransportError: If no attempt at the handshake received a response, or the engine did
                not respond.
            StatusError: If the response to the handshake has another status than 200.
            WireError: If the response to the handshake is not valid.
            WaitCancelledError: If ``cancel`` is set, or the registry is closed.
            TypeError: If ``implements`` is a class that is not a proxy, such as a plugin's
                implementation.
            RuntimeError: If the registry was closed before the call.
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
        except TypeError:  # ``name`` is not hashable
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

        Plugins that are not active yet are activated concurrently. Unlike ``get``, this method does
        not wait for a plugin that can no longer be found. It logs and leaves out each plugin whose
        activation fails, and each that can no longer be found.

        Args:
            implements: The subsystem that a plugin must implement to be returned: its name, or its
                class, such as ``VolumeDriver``, to get typed proxies. ``None`` returns all plugins.
            on_failure: Called with the name and the error of each plugin that is left out. An
                exception that it raises ends this call and passes to the caller.

        Returns:
            The active plugins; or, if ``implements`` is a class, their typed proxies.

        Raises:
            SpecError: If a directory cannot be read.
            TransportError: If the configured engine does not respond; ``StatusError`` or
                ``WireError`` if it does not return its plugins.
            WaitCancelledError: If the registry is closed before all plugins are active.
            TypeError: If ``implements`` is a class that is not a subsystem, or that overrides a
                method of one, as a plugin's implementation does; or ``on_failure`` is not a plain
                function.
            RuntimeError: If the registry was closed before the call.
        """
        if implements is not None and not isinstance(implements, str):
            from moby_plugins.app.parts import check_proxy

            check_proxy(implements)
            plugins = self.get_all(implements.implements, on_failure=on_failure)
            return [implements(plugin.client) for plugin in plugins]
        callable_or_none("on_failure", on_failure)
        self._activations.check_open()
        with ExitStack() as stack:
            stack.enter_context(self._clock.working())
            ending = Ending()
            stack.enter_context(self._closing.calling(partial(ending.end, CLOSED)))
            names = self._leaders.scan(ending)
            loaded = stack.enter_context(closing(self._leaders.load(names, ending)))
            active: dict[str, ActivePlugin] = {}
            for activation in loaded:
                if activation.plugin is not None:
                    active[activation.name] = activation.plugin
                elif isinstance(activation.error, PluginError):
                    leave_out(activation.name, activation.error, on_failure)
                elif activation.error is not None:
                    raise activation.error
                else:  # the registry was closed before it was active
                    raise ending.error()
            if active and self._closing.is_set():  # for example by a handler
                ending.end(CLOSED)
                raise ending.error()
        return those_of(active, implements)

    def handle(self, interface: str, handler: Handler) -> None:
        """Call ``handler(name, client)`` once for each plugin that implements a subsystem.

        For plugins that are already active, the handler is called now, in this thread; for others
        it is called after the handshake, in the thread that called ``get`` or ``get_all``. An
        exception of a handler is logged, and the remaining calls of handlers are still made; a
        ``KeyboardInterrupt`` is raised in the caller after them.

        Args:
            interface: The subsystem's name.
            handler: The function to call; it may call this registry.

        Raises:
            TypeError: If ``interface`` is not a string, or ``handler`` is not a plain function.
        """
        check_handler(interface, handler)
        callable_or_none("handler", handler)
        call_handlers(self._activations.add_handler(interface, handler), self._observers)

    def invalidate(self, name: str) -> None:
        """Forget a plugin, so that the next ``get`` repeats its look-up and handshake.

        Existing clients of the plugin still work. An unknown name is ignored.

        Args:
            name: The plugin's name.

        Raises:
            InvalidPluginNameError: If ``name`` is not a valid name.
        """
        plugin = self._activations.drop(check_any_name(name))
        if plugin is not None:
            self._activations.report(plugin.name)

    def close(self) -> None:
        """Close all clients of active plugins; ``get`` and ``get_all`` then raise ``RuntimeError``.

        Each waiting ``get`` and ``get_all`` ends at once with ``WaitCancelledError``; one that runs
        a handler, after the handler. May be called more than once, by any thread. If closing a
        client raises, the others are closed all the same; then the first exception is raised, and
        others are logged.
        """
        try:
            self._closing.set()
        finally:
            close_all(self._activations)

    def __repr__(self) -> str:
        discovery, connect = shown(self._discovery), shown(self._connect)
        active = self._activations.count()
        return f"<{type(self).__name__} of {discovery}: {active} active; {connect}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def close_all(activations: Activations[Any]) -> None:
    """Close the client of each plugin, and report the plugin as dropped.

    If any of this raises, the rest is still done; then the first exception is raised.
    """
    call_all(
        call
        for plugin in activations.close()
        for call in (plugin.client.close, partial(activations.report, plugin.name))
    )


def check_handler(interface: object, handler: object) -> None:
    """Raise ``TypeError`` unless ``interface`` is a string, and ``handler`` can be called."""
    if not isinstance(interface, str):
        raise TypeError(f"interface must be a subsystem's name, not {quoted(interface)}")
    if not callable(handler):
        raise TypeError(f"handler must be a function of a name and a client, not {quoted(handler)}")


def leave_out(name: str, error: PluginError, on_failure: OnFailure | None) -> None:
    """Log that ``get_all`` leaves out the plugin ``name``, and call ``on_failure`` if given."""
    logger.warning("left out plugin %s: %s", quoted(name), in_full(error))
    if on_failure is not None:
        on_failure(name, error)


def those_of(plugins: Mapping[str, P], implements: str | None) -> list[P]:
    """Return the plugins in ``plugins`` that implement a subsystem, each once, sorted by name."""
    # A managed plugin may have been found under several names.
    active = {id(plugin): plugin for _, plugin in sorted(plugins.items())}.values()
    return [plugin for plugin in active if implements is None or plugin.implements(implements)]


def _check_cancel(cancel: Cancellation, name: str) -> None:
    if not isinstance(cancel, Cancellation):
        raise TypeError(f"cancel takes a Cancellation, not {type(cancel).__name__}")
    if cancel.is_set():
        raise WaitCancelledError(CANCELLED, name)
