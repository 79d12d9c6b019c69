"""A registry in memory, to which a test adds plugins."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from attrs import field, frozen

from moby_plugins.adapters.memory.clock import FakeClock
from moby_plugins.adapters.memory.replies import Replies, Reply, Script, missing_socket
from moby_plugins.adapters.memory.transport import (
    MemoryDiscovery,
    MemoryPlugin,
    MemoryTransport,
)
from moby_plugins.app.registry import Registry
from moby_plugins.app.serving import ACTIVATE, PluginApp
from moby_plugins.app.subsystem import Subsystem
from moby_plugins.app.subsystems.authz import AuthZPlugin
from moby_plugins.app.subsystems.secret import SecretProvider
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.http import Request, Response
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.ports import Cancellation, Clock, Transport

T = TypeVar("T")
M = TypeVar("M", bound=MemoryPlugin)
# The kinds of plugins in memory.
Part: TypeAlias = Subsystem | Replies

# Subsystems whose name in a manifest differs from that in methods.
_IMPLEMENTS = {kind.interface: kind.implements for kind in (AuthZPlugin, SecretProvider)}


class MemoryRegistry(Registry):
    """A ``Registry`` of plugins that a test adds; no file or connection is opened.

    The creator closes it. Threads may share it; functions that ``clock.at`` calls may change it.

    Args:
        clock: The clock; a new ``FakeClock`` unless given.
        retry: The retry policy of ``get`` and of the clients.
        observers: Observers of the registry's calls and plugins.

    Attributes:
        clock: The clock that measures the registry's waits, which take no real time.
        discovery: The discovery, which records its scans and look-ups.

    Examples:
        ```python
        from moby_plugins.testing import MemoryRegistry

        with MemoryRegistry() as registry:
            registry.clock.at(3, lambda: registry.add("shelf", {"VolumeDriver.List": {}}))
            assert registry.get("shelf", "VolumeDriver").name == "shelf"  # waits until it is there
            assert registry.clock.now() == 3
        ```
    """

    def __init__(
        self,
        *,
        clock: FakeClock | None = None,
        retry: RetryPolicy | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self.clock: FakeClock = FakeClock() if clock is None else clock
        self.discovery: MemoryDiscovery = MemoryDiscovery()
        self._addrs: dict[str, str] = {}
        self._transports: dict[str, MemoryTransport] = {}
        super().__init__(
            discovery=self.discovery,
            connect=self._connect_in_memory,
            clock=self.clock,
            retry=retry,
            observers=observers,
        )

    def __repr__(self) -> str:
        return f"<MemoryRegistry of {self.discovery!r}: {self._activations.count()} active>"

    def add(self, name: str, plugin: Part, addr: str = "") -> MemoryTransport:
        """Add a plugin, or replace the one with this name.

        Args:
            name: The name of the plugin.
            plugin: An implementation of a subsystem, or what ``MemoryTransport`` takes, such as a
                table from method to reply. A table without ``Plugin.Activate`` implements the
                subsystems whose methods it has.
            addr: The plugin's address; ``memory://NAME`` unless given.

        Returns:
            A transport to the plugin, whose ``calls`` lists every attempt to call the plugin.

        Raises:
            InvalidPluginNameError: For an invalid name.
            SpecError: For an invalid address.
            TypeError: For any other kind of plugin.
        """
        added = Plugin.local(name, addr or "memory://" + quote(name, errors="surrogateescape"))
        transport = MemoryTransport(
            _as_replies(with_handshake(plugin)), clock=self.clock, addr=added.addr
        )
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

    def _connect_in_memory(self, address: Address, _: TLSOptions | None, /) -> Transport:
        return _TransportByAddress(address, self._transports)


class StrictTransports(Generic[M]):
    """A list of transports in memory: ``assert_used_up`` checks that all replies were used."""

    def __init__(self) -> None:
        self._strict: list[M] = []

    def kept(self, transport: M) -> M:
        """Add a transport for ``assert_used_up`` to check, and return it."""
        self._strict.append(transport)
        return transport

    def assert_used_up(self) -> None:
        """Raise ``AssertionError`` for unused replies; the pytest fixtures call this after a test.

        Raises:
            AssertionError: If a reply is unused; the message names each unused reply of the first
                transport that has any.
        """
        __tracebackhide__ = True
        for transport in self._strict:
            transport.assert_used_up()


class MemoryTransports(StrictTransports[MemoryTransport]):
    """A function that makes ``MemoryTransport`` values: ``make({method: reply})``.

    Args:
        clock: The clock of the time-outs of all these transports.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def __repr__(self) -> str:
        return f"MemoryTransports({self._clock!r})"

    def __call__(self, plugin: Part, addr: str = "memory://plugin") -> MemoryTransport:
        """Return a transport.

        Args:
            plugin: A function from ``Request`` to ``Response``, a table from method to reply, a
                script or a fault, as ``MemoryTransport`` takes them; or an implementation of a
                subsystem.
            addr: The address that errors name.

        Returns:
            The transport.
        """
        return MemoryTransport(_as_replies(plugin), clock=self._clock, addr=addr)

    def strict(
        self, plugin: Mapping[str, Reply] | Script, addr: str = "memory://plugin"
    ) -> MemoryTransport:
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
    _transports: Mapping[str, MemoryTransport]
    _ended: Cancellation = field(factory=Cancellation, init=False)

    def __repr__(self) -> str:
        return "memory"

    def send(self, request: Request, timeout: float | None) -> Response:
        there = self._transports.get(self._address.text) or MemoryTransport(missing_socket())
        return there.connected(self._address, self._ended).send(request, timeout)

    def close(self) -> None:
        self._ended.set()


def _as_replies(plugin: Part) -> Replies:
    return PluginApp(plugin) if isinstance(plugin, Subsystem) else plugin


def with_handshake(plugin: T) -> T | dict[str, Any]:
    """Return ``plugin``; if it is a table, add the reply to the handshake unless it has one."""
    if not isinstance(plugin, Mapping) or ACTIVATE in plugin:
        return plugin
    interfaces = dict.fromkeys(method.partition(".")[0] for method in plugin)
    implements = [_IMPLEMENTS.get(interface, interface) for interface in interfaces]
    return {ACTIVATE: {"Implements": implements}, **plugin}
