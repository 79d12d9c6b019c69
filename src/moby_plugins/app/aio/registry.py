"""The asynchronous registry: ``scan``, ``lookup``, ``get``, ``get_all`` and ``handle``.

``leading.py`` explains how plugins are activated, and which tasks wait for which.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self, TypeVar, overload

from moby_plugins.app.activation import Activations
from moby_plugins.app.aio.lead import AsyncActivePlugin, AsyncHandler
from moby_plugins.app.aio.leading import AsyncLeaders
from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.observing import Observers
from moby_plugins.app.registry import (
    ACTIVATION_TIMEOUT,
    OnFailure,
    check_handler,
    close_all,
    leave_out,
    those_of,
)
from moby_plugins.app.retrying import OnRetry
from moby_plugins.async_ports import AsyncConnect
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.errors import (
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginError,
)
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import Plugin, check_any_name
from moby_plugins.domain.retry import RetryPolicy, policy_given, seconds, size
from moby_plugins.domain.text import shown
from moby_plugins.ports import Discovery, callable_or_none, connect_given, filled

if TYPE_CHECKING:
    from moby_plugins.app.aio.subsystem import AsyncSubsystem

S = TypeVar("S", bound="AsyncSubsystem")


class AsyncRegistry:
    """A set of plugins for asyncio, each found by name and activated once.

    Tasks may share it, and so may event loops, at the same time or in sequence: all loops share the
    active plugins. ``new_local_registry`` makes one from settings. The caller closes the registry,
    which closes the clients of its plugins and ends all waits. Times are in seconds of the running
    event loop's clock.

    Cancelling a task that waits does not affect other tasks that wait for the same plugin; when the
    last one leaves, the activation ends. To limit a wait, use ``asyncio.timeout``.

    Args:
        discovery: Finds plugins by name. A discovery whose ``is_local`` is true is called in the
            event loop's thread, since it only reads local files; any other in a worker thread, so
            that it does not block the loop.
        connect: Makes the transport for an address.
        retry: The policy of ``get`` and of the plugins' clients.
        timeout: Seconds for each attempt of a client's call; ``None`` means no limit.
        activation_timeout: Seconds for each attempt at the handshake; ``None`` means no limit.
        max_response_bytes: The most bytes that a response to a client may have.
        observers: Objects whose methods are called for calls, retries and plugins.
        on_retry: The default callback for retries, for ``get`` and for the clients: called before
            each wait for another attempt, with the error and the length of the wait in seconds.

    Raises:
        TypeError: If ``discovery``, ``connect`` or an observer lacks a method of its protocol.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import new_local_registry
        from moby_plugins.testing import AsyncMemoryTransport, MemoryDiscovery

        plugin = AsyncMemoryTransport({"Plugin.Activate": {"Implements": ["VolumeDriver"]}})


        async def main():
            found = MemoryDiscovery(["shelf"])
            async with new_local_registry(discovery=found, connect=plugin.connect) as registry:
                assert (await registry.get("shelf", "VolumeDriver")).name == "shelf"
                plugins = await registry.get_all("VolumeDriver")
                assert [plugin.name for plugin in plugins] == ["shelf"]


        asyncio.run(main())
        ```
    """

    __module__ = AtDoor("moby_plugins.aio", __name__)

    def __init__(
        self,
        *,
        discovery: Discovery,
        connect: AsyncConnect,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        activation_timeout: float | None = ACTIVATION_TIMEOUT,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        observers: Iterable[Observer] = (),
        on_retry: OnRetry | None = None,
    ) -> None:
        self._discovery = filled("discovery", discovery, "scan", "lookup")
        self._connect = connect_given(connect)
        self._retry = RetryPolicy() if retry is None else policy_given(retry)
        observers = Observers(observers)
        self._activations: Activations[AsyncActivePlugin] = Activations(observers)
        self._leaders = AsyncLeaders(
            self._activations,
            discovery,
            connect,
            self._retry,
            seconds(timeout),
            # ``None`` means no limit here; passed to a client, it would mean the client's time-out.
            seconds(activation_timeout) or math.inf,
            size("max_response_bytes", max_response_bytes),
            observers,
            callable_or_none("on_retry", on_retry),
        )

    async def scan(self) -> list[str]:
        """Return the names of the plugins that can be found now, without activating any.

        Returns:
            The names, sorted, each once.

        Raises:
            SpecError: If a directory cannot be read.
            TransportError: If the configured engine does not respond; ``StatusError`` or
                ``WireError`` if it does not return its plugins.
        """
        return await self._leaders.ask(lambda discovery: discovery.scan())

    async def lookup(self, name: str) -> Plugin:
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
        return await self._leaders.ask(lambda discovery: discovery.lookup(name))

    @overload
    async def get(
        self,
        name: str,
        implements: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> AsyncActivePlugin: ...

    @overload
    async def get(
        self,
        name: str,
        implements: type[S],
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> S: ...

    async def get(
        self,
        name: str,
        implements: str | type[S] | None = None,
        *,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> AsyncActivePlugin | S:
        """Return the active plugin ``name``, activating it on first use.

        On the first call a task of the registry looks the plugin up and makes the handshake, and
        retries both as ``retry`` allows; then it runs the handlers. Callers that ask in the
        meantime wait for this task. Later calls return the active plugin and send nothing.

        A managed plugin has several names, which all give the same client. A managed plugin gets no
        handshake: its engine knows what it implements. After a call that found the plugin's socket
        missing, the next ``get`` looks the name up in the engine again.

        Args:
            name: The plugin's name.
            implements: The subsystem that the plugin must implement: its name, or its class, such
                as ``AsyncVolumeDriver``, to get a typed proxy. ``None`` requires no subsystem.
            retry: The policy for this call, instead of the registry's.
            on_retry: Called after each failed attempt, with its error and the seconds until the
                next attempt; no longer called once this call was cancelled. An exception that it
                raises ends this call and passes to the caller.

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
            WaitCancelledError: If the registry is closed.
            TypeError: If ``implements`` is a class that is not a proxy, such as a plugin's
                implementation.
            RuntimeError: If the registry was closed before the call.
        """
        if implements is not None and not isinstance(implements, str):
            _check_proxy(implements)
            plugin = await self.get(name, implements.implements, retry=retry, on_retry=on_retry)
            return implements(plugin.client)
        try:
            active = self._activations.active(name)
        except TypeError:  # ``name`` is not hashable
            raise InvalidPluginNameError(name) from None
        if active is None:
            policy = self._retry if retry is None else policy_given(retry)
            if on_retry is not None:
                callable_or_none("on_retry", on_retry)
            active = await self._leaders.activate(check_any_name(name), policy, on_retry)
        if implements is not None and not active.implements(implements):
            raise NotImplementedByPluginError(name, implements, active.manifest.implements)
        return active

    @overload
    async def get_all(
        self,
        implements: str | None = None,
        *,
        on_failure: OnFailure | None = None,
    ) -> list[AsyncActivePlugin]: ...

    @overload
    async def get_all(
        self,
        implements: type[S],
        *,
        on_failure: OnFailure | None = None,
    ) -> list[S]: ...

    async def get_all(
        self,
        implements: str | type[S] | None = None,
        *,
        on_failure: OnFailure | None = None,
    ) -> list[AsyncActivePlugin] | list[S]:
        """Return each plugin that can be found and implements the subsystem, sorted by name.

        Plugins that are not active yet are activated concurrently. Unlike ``get``, this method does
        not wait for a plugin that can no longer be found. It logs and leaves out each plugin whose
        activation fails, and each that can no longer be found.

        Args:
            implements: The subsystem that a plugin must implement to be returned: its name, or its
                class, such as ``AsyncVolumeDriver``, to get typed proxies. ``None`` returns all
                plugins.
            on_failure: Called with the name and the error of each plugin that is left out. An
                exception that it raises ends this call and passes to the caller.

        Returns:
            The active plugins; or, if ``implements`` is a class, their typed proxies.

        Raises:
            SpecError: If a directory cannot be read.
            TransportError: If the configured engine does not respond; ``StatusError`` or
                ``WireError`` if it does not return its plugins.
            WaitCancelledError: If the registry is closed before all plugins are active.
            TypeError: If ``implements`` is a class that is not a proxy, such as a plugin's
                implementation, or ``on_failure`` is not a plain function.
            RuntimeError: If the registry was closed before the call.
        """
        if implements is not None and not isinstance(implements, str):
            _check_proxy(implements)
            plugins = await self.get_all(implements.implements, on_failure=on_failure)
            return [implements(plugin.client) for plugin in plugins]
        callable_or_none("on_failure", on_failure)
        self._activations.check_open()
        active: dict[str, AsyncActivePlugin] = {}

        def each(name: str, plugin: AsyncActivePlugin | None, error: BaseException | None) -> None:
            if plugin is not None:
                active[name] = plugin
            elif isinstance(error, PluginError):
                leave_out(name, error, on_failure)
            elif error is not None:
                raise error

        await self._leaders.load(await self._leaders.scan(), each)
        return those_of(active, implements)

    async def handle(self, interface: str, handler: AsyncHandler) -> None:
        """Call ``handler(name, client)`` once for each plugin that implements a subsystem.

        For plugins that are already active, the handler is called now, and this method returns when
        it has run for all of them; for others it is called after the handshake, in the task that
        activates the plugin. If it returns an awaitable, that is awaited. An exception of a handler
        is logged, and the remaining calls of handlers are still made; a ``KeyboardInterrupt`` is
        raised after them. If this call is cancelled, the running handler is cancelled too, and a
        task of the registry calls the handler for the remaining plugins.

        Args:
            interface: The subsystem's name.
            handler: A function or a coroutine function; it may call this registry.

        Raises:
            TypeError: If ``interface`` is not a string, or ``handler`` is not callable.
        """
        check_handler(interface, handler)
        await self._leaders.call_handlers(self._activations.add_handler(interface, handler))

    def invalidate(self, name: str) -> None:
        """Forget a plugin, so that the next ``get`` repeats its look-up and handshake.

        Existing clients of the plugin still work. An unknown name is ignored.

        Args:
            name: The plugin's name.

        Raises:
            InvalidPluginNameError: If ``name`` is not a valid name.
        """
        self._leaders.forget(check_any_name(name))

    async def aclose(self) -> None:
        """Close all clients of active plugins; ``get`` and ``get_all`` then raise ``RuntimeError``.

        Each waiting ``get`` and ``get_all`` ends at once with ``WaitCancelledError``, also if it
        waits for handlers. Handlers that run in tasks of the registry are cancelled once, and
        waited for; but not the handler that calls this method. May be called more than once. If
        closing a client raises, the others are closed all the same; then the first exception is
        raised, and others are logged.
        """
        self._leaders.close()
        try:
            close_all(self._activations)
        finally:
            await self._leaders.end()

    def __repr__(self) -> str:
        discovery, connect = shown(self._discovery), shown(self._connect)
        active = self._activations.count()
        return f"<{type(self).__name__} of {discovery}: {active} active; {connect}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _check_proxy(kind: type[S]) -> None:
    from moby_plugins.app.aio.subsystem import AsyncSubsystem
    from moby_plugins.app.parts import check_proxy

    check_proxy(kind, AsyncSubsystem, "AsyncVolumeDriver")
