"""The plugins of one host, for programs on asyncio: scan, lookup, get, get_all, handle.

How a plugin is activated, and who waits for whom, is told in ``leading.py``.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self, TypeVar, overload

from moby_plugins.app.activation import Activations
from moby_plugins.app.aio.lead import AsyncActivePlugin, AsyncHandler
from moby_plugins.app.aio.leading import AsyncLeaders
from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.observing import Observers, tell_dropped
from moby_plugins.app.registry import (
    ACTIVATION_TIMEOUT,
    OnFailure,
    check_handler,
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
from moby_plugins.domain.observing import Observer
from moby_plugins.domain.plugin import Plugin, check_any_name
from moby_plugins.domain.retry import RetryPolicy, policy_given, seconds, size
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import Discovery, callable_or_none, filled

if TYPE_CHECKING:
    from moby_plugins.app.aio.subsystem import AsyncSubsystem

S = TypeVar("S", bound="AsyncSubsystem")


class AsyncRegistry:
    """Finds plugins, activates each once, and shares it with all that ask. For asyncio.

    Tasks share it, and event loops may, at the same time or one after the other: what is active is
    shared by all, and each loop activates what it asks for first. ``new_local_registry`` makes one
    from settings. Who made it closes it: that closes the clients of its plugins, and ends all
    waits. Times are seconds, on the running event loop.

    A task that is cancelled while it waits leaves the others be; the last that leaves ends the
    activation. ``asyncio.timeout`` bounds a wait, and raises ``TimeoutError``.

    Args:
        discovery: Finds plugins by name. One that waits for more than files is asked in a thread.
        connect: Makes the transport for an address.
        retry: The policy of ``get`` and of the plugins' clients.
        timeout: Seconds for each attempt of the clients' calls; ``None`` is no bound.
        activation_timeout: Seconds for each attempt at the handshake; ``None`` is no bound.
        max_response_bytes: How many bytes of a response the clients decode.
        observers: What is told of calls, retries and plugins.
        on_retry: Called before each wait for another attempt, with the error and the seconds, where
            ``get`` or a call of a client gives none.

    Raises:
        TypeError: For an argument without the methods of its port.

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
        if not callable(connect):
            raise TypeError(f"connect must be a function of an address, not {quoted(connect)}")
        self._connect = connect
        self._retry = RetryPolicy() if retry is None else policy_given(retry)
        self._activations: Activations[AsyncActivePlugin] = Activations()
        self._observers = Observers(observers)
        self._leaders = AsyncLeaders(
            self._activations,
            discovery,
            connect,
            self._retry,
            seconds(timeout),
            # No bound is none at all, and not that of the clients' calls.
            seconds(activation_timeout) or math.inf,
            size("max_response_bytes", max_response_bytes),
            self._observers,
            callable_or_none("on_retry", on_retry),
        )

    async def scan(self) -> list[str]:
        """Return the names of the plugins that can be found now; activates none.

        Returns:
            The names, sorted, each once.

        Raises:
            SpecError: For a directory that cannot be read.
            TransportError: Where an engine that is named does not answer; and ``StatusError`` or
                ``WireError`` where it does not tell.
        """
        return await self._leaders.ask(lambda discovery: discovery.scan())

    async def lookup(self, name: str) -> Plugin:
        """Find a plugin as it is described now; neither waits for it nor activates it.

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

        On the first question a task of the registry looks it up and shakes hands, waiting for a
        plugin that is not there or does not answer as ``retry`` allows; then it runs the handlers.
        Others that ask at that time share the outcome. Later the plugin is known, and nothing is
        sent.

        Args:
            name: The plugin's name.
            implements: The subsystem that it must implement: a name, or a class such as
                ``AsyncVolumeDriver`` for its typed proxy. ``None`` asks for none.
            retry: The policy for this wait, in place of the registry's.
            on_retry: Called after each attempt that failed, with its error and the seconds until
                the next; not once this call was cancelled.

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
            WaitCancelledError: When the registry is closed.
            TypeError: For a class that is no proxy, such as an author's implementation.
            RuntimeError: When the registry was closed before.
        """
        if implements is not None and not isinstance(implements, str):
            _check_proxy(implements)
            plugin = await self.get(name, implements.implements, retry=retry, on_retry=on_retry)
            return implements(plugin.client)
        try:
            active = self._activations.active(name)
        except TypeError:  # of what has no hash
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

        Those that are not active yet are activated side by side; one whose file has gone is not
        waited for. What fails is logged and left out.

        Args:
            implements: As ``get`` takes it.
            on_failure: Called with the name and the error of each plugin that is left out.

        Returns:
            The active plugins; for a class their typed proxies.

        Raises:
            SpecError: For a directory that cannot be read.
            WaitCancelledError: When the registry is closed before all are active.
        """
        if implements is not None and not isinstance(implements, str):
            _check_proxy(implements)
            plugins = await self.get_all(implements.implements, on_failure=on_failure)
            return [implements(plugin.client) for plugin in plugins]
        callable_or_none("on_failure", on_failure)
        found: dict[str, AsyncActivePlugin] = {}

        def each(name: str, plugin: AsyncActivePlugin | None, error: BaseException | None) -> None:
            if plugin is not None:
                found[name] = plugin
            elif isinstance(error, PluginError):
                leave_out(name, error, on_failure)
            elif error is not None:
                raise error

        await self._leaders.load(await self._leaders.scan(), each)
        return those_of(found, implements)

    async def handle(self, interface: str, handler: AsyncHandler) -> None:
        """Call ``handler(name, client)`` once for each plugin that implements a subsystem.

        For plugins that are active already it is called now, and this returns when it has run for
        all of them; for others in the task that activates them, after the handshake. What it
        returns is awaited, where it can be. One that raises is logged, whatever it raises, and the
        others still run; a ``KeyboardInterrupt`` passes, once they have.

        Args:
            interface: The subsystem's name.
            handler: What to call, a function or a coroutine function; it may call this registry.

        Raises:
            TypeError: For an interface that is no text, or a handler that cannot be called.
        """
        check_handler(interface, handler)
        await self._leaders.meet(self._activations.add_handler(interface, handler))

    def invalidate(self, name: str) -> None:
        """Forget a plugin, so that the next ``get`` looks it up and shakes hands again.

        Clients of it can still be used. A name that is not known is no error.

        Args:
            name: The plugin's.
        """
        self._leaders.forget(name)

    async def aclose(self) -> None:
        """Close the clients of all active plugins; ``get`` then raises ``RuntimeError``.

        Each ``get`` and ``get_all`` that waits ends at once with ``WaitCancelledError``. Handlers
        that run in tasks of the registry are cancelled, and waited for. May be called more than
        once, and by a handler.
        """
        try:
            for plugin in self._activations.close():
                plugin.client.close()
                tell_dropped(self._observers, plugin)
        finally:
            await self._leaders.end()

    def __repr__(self) -> str:
        found, reached = shown(self._discovery), shown(self._connect)
        active = self._activations.count()
        return f"<{type(self).__name__} of {found}: {active} active; {reached}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _check_proxy(kind: type[S]) -> None:
    from moby_plugins.app.aio.subsystem import AsyncSubsystem
    from moby_plugins.app.parts import check_proxy

    check_proxy(kind, AsyncSubsystem, "AsyncVolumeDriver")
