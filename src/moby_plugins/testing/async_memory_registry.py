"""An asynchronous registry in memory, to which a test adds plugins."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from attrs import field, frozen

from moby_plugins.adapters.memory.async_transport import AsyncMemoryTransport, AsyncReplies
from moby_plugins.adapters.memory.replies import Reply, Script, missing_socket
from moby_plugins.adapters.memory.transport import MemoryDiscovery
from moby_plugins.app.aio.registry import AsyncRegistry
from moby_plugins.app.aio.serving import AsyncPluginApp
from moby_plugins.app.aio.subsystem import AsyncSubsystem
from moby_plugins.app.serving import PluginApp
from moby_plugins.app.subsystem import Subsystem
from moby_plugins.async_ports import AsyncTransport
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.ports import Cancellation
from moby_plugins.testing.memory_registry import StrictTransports, with_handshake

# The kinds of plugins in memory.
AsyncPart: TypeAlias = AsyncSubsystem | Subsystem | AsyncReplies


class AsyncMemoryRegistry(AsyncRegistry):
    """An ``AsyncRegistry`` of plugins that a test adds; no file or connection is opened.

    The creator closes it. The registry waits on the running event loop's time: on a
    ``FakeTimeLoop``, waiting takes no real time.

    Args:
        retry: The retry policy of ``get`` and of the clients.
        observers: Observers of the registry's calls and plugins.

    Attributes:
        discovery: The discovery, which records its scans and look-ups.

    Examples:
        ```python
        import asyncio

        from moby_plugins.testing import AsyncMemoryRegistry, FakeTimeLoop


        async def main():
            loop = asyncio.get_running_loop()
            async with AsyncMemoryRegistry() as registry:
                loop.at(3, lambda: registry.add("shelf", {"VolumeDriver.List": {}}))
                assert (await registry.get("shelf", "VolumeDriver")).name == "shelf"
                assert loop.time() == 3  # it waited until the plugin was there


        with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
            runner.run(main())
        ```
    """

    def __init__(
        self, *, retry: RetryPolicy | None = None, observers: Iterable[Observer] = ()
    ) -> None:
        self.discovery: MemoryDiscovery = MemoryDiscovery()
        self._addrs: dict[str, str] = {}
        self._transports: dict[str, AsyncMemoryTransport] = {}
        super().__init__(
            discovery=self.discovery,
            connect=self._connect_in_memory,
            retry=retry,
            observers=observers,
        )

    def __repr__(self) -> str:
        active = self._activations.count()
        return f"<AsyncMemoryRegistry of {self.discovery!r}: {active} active>"

    def add(self, name: str, plugin: AsyncPart, addr: str = "") -> AsyncMemoryTransport:
        """Add a plugin, or replace the one with this name.

        Args:
            name: The name of the plugin.
            plugin: An implementation of a subsystem, asynchronous or not, or what
                ``AsyncMemoryTransport`` takes, such as a table from method to reply. A table
                without ``Plugin.Activate`` implements the subsystems whose methods it has.
            addr: The plugin's address; ``memory://NAME`` unless given.

        Returns:
            A transport to the plugin, whose ``calls`` lists every attempt to call the plugin.

        Raises:
            InvalidPluginNameError: For an invalid name.
            SpecError: For an invalid address.
            TypeError: For any other kind of plugin.
        """
        added = Plugin.local(name, addr or "memory://" + quote(name, errors="surrogateescape"))
        transport = AsyncMemoryTransport(_as_replies(with_handshake(plugin)), addr=added.addr)
        self._addrs[name] = added.addr
        self._transports[added.addr] = transport
        self.discovery.add(added)
        return transport

    def remove(self, name: str) -> None:
        """Remove a plugin, if it exists; existing clients cannot reach it any more, either.

        Args:
            name: The name of the plugin.
        """
        self.discovery.remove(name)
        self._transports.pop(self._addrs.pop(name, ""), None)

    def _connect_in_memory(self, address: Address, _: TLSOptions | None, /) -> AsyncTransport:
        return _TransportByAddress(address, self._transports)


class AsyncMemoryTransports(StrictTransports[AsyncMemoryTransport]):
    """A function that makes ``AsyncMemoryTransport`` values: ``make({method: reply})``."""

    def __call__(self, plugin: AsyncPart, addr: str = "memory://plugin") -> AsyncMemoryTransport:
        """Return a transport.

        Args:
            plugin: A coroutine function from ``AsyncRequest`` to ``AsyncResponse``, a table from
                method to reply, a script or a fault, as ``AsyncMemoryTransport`` takes them; or an
                implementation of a subsystem, asynchronous or not.
            addr: The address that errors name.

        Returns:
            The transport.
        """
        return AsyncMemoryTransport(_as_replies(plugin), addr=addr)

    def strict(
        self, plugin: Mapping[str, Reply] | Script, addr: str = "memory://plugin"
    ) -> AsyncMemoryTransport:
        """Return a transport whose replies must all be used, or ``assert_used_up`` raises an error.

        Args:
            plugin: A table or a script.
            addr: The address that errors name.

        Returns:
            The transport.
        """
        return self.kept(self(plugin, addr))


@frozen(repr=False)
class _TransportByAddress:
    """A transport that sends each call to the plugin that then has the address."""

    _address: Address
    _transports: Mapping[str, AsyncMemoryTransport]
    _ended: Cancellation = field(factory=Cancellation, init=False)

    def __repr__(self) -> str:
        return "memory"

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        there = self._transports.get(self._address.text) or AsyncMemoryTransport(missing_socket())
        return await there.connected(self._address, self._ended).send(request, timeout)

    def close(self) -> None:
        self._ended.set()


def _as_replies(plugin: AsyncPart | dict[str, Any]) -> AsyncReplies:
    if isinstance(plugin, AsyncSubsystem):
        return AsyncPluginApp(plugin)
    return PluginApp(plugin) if isinstance(plugin, Subsystem) else plugin
