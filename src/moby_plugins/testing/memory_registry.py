"""A whole host in memory: a registry to which a test adds plugins."""

from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import quote

from attrs import field, frozen

from moby_plugins.adapters.memory.clock import FakeClock
from moby_plugins.adapters.memory.replies import Replies, Reply, Script, missing_socket
from moby_plugins.adapters.memory.transport import MemoryDiscovery, MemoryTransport
from moby_plugins.app.registry import Registry
from moby_plugins.app.serving import ACTIVATE, PluginApp
from moby_plugins.app.subsystem import Subsystem
from moby_plugins.app.subsystems.authz import AuthZPlugin
from moby_plugins.app.subsystems.secret import SecretProvider
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.http import Request, Response
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.ports import Cancellation, Clock, Transport

# What plays a plugin's part in memory.
Part: TypeAlias = Subsystem | Replies

# The subsystems that a manifest names otherwise than a method does.
_IMPLEMENTS = {kind.interface: kind.implements for kind in (AuthZPlugin, SecretProvider)}


class MemoryRegistry(Registry):
    """A ``Registry`` whose plugins are those that a test adds; nothing is opened or dialled.

    ``clock`` is one of its own unless given, ``discovery`` counts the scans and
    look-ups. Whoever made it closes it. Threads may share it, scripted events may change it.
    """

    def __init__(self, *, clock: FakeClock | None = None, retry: RetryPolicy | None = None) -> None:
        self.clock: FakeClock = clock or FakeClock()
        self.discovery: MemoryDiscovery = MemoryDiscovery()
        self._addrs: dict[str, str] = {}
        self._transports: dict[str, MemoryTransport] = {}
        super().__init__(
            discovery=self.discovery, connect=self._line_to, clock=self.clock, retry=retry
        )

    def __repr__(self) -> str:
        return f"<MemoryRegistry of {self.discovery!r}: {self._activations.count()} active>"

    def add(self, name: str, plugin: Part, addr: str = "") -> MemoryTransport:
        """Make a plugin appear, or start it anew: ``plugin`` answers from now on.

        It is an implementation of a subsystem, a ``PluginApp`` or another function, or what
        ``MemoryTransport`` takes: a table, a script, a fault. A table without
        ``Plugin.Activate`` implements the subsystems whose methods it names. ``addr`` is
        ``memory://NAME`` unless given. What is returned has the ``calls``. Raises
        ``InvalidPluginNameError`` and ``SpecError``.
        """
        added = Plugin.local(name, addr or "memory://" + quote(name, errors="surrogateescape"))
        transport = MemoryTransport(_introduced(plugin), clock=self.clock, addr=added.addr)
        self._addrs[name] = added.addr
        self._transports[added.addr] = transport
        self.discovery.add(added)
        return transport

    def remove(self, name: str) -> None:
        """Make a plugin disappear, for those too who hold its client; none there is no error."""
        self.discovery.remove(name)
        self._transports.pop(self._addrs.pop(name, ""), None)

    def _line_to(self, address: Address, _: TLSOptions | None, /) -> Transport:
        return _Line(address, self._transports)


class MemoryTransports:
    """Makes ``MemoryTransport`` values on one clock: ``make({method: reply})``.

    ``strict`` makes one whose replies must all be used up by ``assert_used_up``, which
    the pytest fixture calls at the end of the test.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._strict: list[MemoryTransport] = []

    def __call__(self, plugin: Part, addr: str = "memory://plugin") -> MemoryTransport:
        """A transport for what ``MemoryTransport`` takes, or an implementation of a subsystem."""
        return MemoryTransport(_played(plugin), clock=self._clock, addr=addr)

    def strict(
        self, plugin: Mapping[str, Reply] | Script, addr: str = "memory://plugin"
    ) -> MemoryTransport:
        """The same for a table or a script of which nothing may be left over."""
        transport = self(plugin, addr)
        self._strict.append(transport)
        return transport

    def assert_used_up(self) -> None:
        """Raise ``AssertionError`` for a strict one that has replies left."""
        __tracebackhide__ = True
        for transport in self._strict:
            transport.assert_used_up()


@frozen(repr=False)
class _Line:
    """A transport to whatever is at an address when a call is sent."""

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


def _played(plugin: Part) -> Replies:
    return PluginApp(plugin) if isinstance(plugin, Subsystem) else plugin


def _introduced(plugin: Part) -> Replies:
    """The plugin, with an answer to the handshake where it is a table that has none."""
    if not isinstance(plugin, Mapping) or ACTIVATE in plugin:
        return _played(plugin)
    interfaces = dict.fromkeys(method.partition(".")[0] for method in plugin)
    implements = [_IMPLEMENTS.get(interface, interface) for interface in interfaces]
    return {ACTIVATE: {"Implements": implements}, **plugin}
