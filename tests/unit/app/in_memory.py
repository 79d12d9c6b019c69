"""A client, and a whole host, whose world is in memory and tells what crossed its borders."""

from collections.abc import Mapping
from typing import Any

from attrs import define

from moby_plugins.app.client import Client
from moby_plugins.app.registry import Registry
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.ports import Transport
from moby_plugins.testing import FakeClock, MemoryDiscovery, MemoryTransport, Request, Response

TCP = "tcp://host:1"


class Line:
    """A transport that notes what it is given, and how often it was closed."""

    def __init__(self, transport: Transport) -> None:
        self.requests: list[Request] = []
        self.timeouts: list[float | None] = []
        self.closed = 0
        self._transport = transport

    def send(self, request: Request, timeout: float | None) -> Response:
        self.requests.append(request)
        self.timeouts.append(timeout)
        return self._transport.send(request, timeout)

    def close(self) -> None:
        self.closed += 1
        self._transport.close()


def client_of(reply: Any, clock: FakeClock, **settings: Any) -> tuple[Client, Line]:
    """A client of plugin ``p`` at ``TCP`` that replies so to ``M.x``, and its line."""
    line = Line(MemoryTransport({"M.x": reply}, clock=clock, addr=TCP))
    return Client(line, Address(TCP), clock=clock, name="p", **settings), line


class MemoryHost:
    """A registry of plugins in memory: each a manifest, a reply to the handshake, or a table.

    ``crossings`` lists what crossed the borders, in order: ``scan``, ``look up NAME``
    and ``send NAME METHOD``.
    """

    def __init__(self, plugins: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.crossings: list[str] = []
        self.lines: list[Line] = []
        self.discovery = NotingDiscovery(self.crossings)
        self._plugins: dict[str, MemoryTransport] = {}
        for name, reply in (plugins or {}).items():
            self.add(name, reply)
        settings = {"discovery": self.discovery, "connect": self.connect, **settings}
        self.registry = Registry(clock=self.clock, **settings)

    def add(self, name: str, reply: Any) -> None:
        """Make a plugin appear; a list is what it implements."""
        table = table_of(reply)
        self._plugins[name] = MemoryTransport(table, clock=self.clock, addr=f"memory://{name}")
        self.discovery.add(name)

    def connect(self, address: Address, _: TLSOptions | None, /) -> Transport:
        """A line to one of the plugins."""
        name = address.path
        line = _NotingLine(self._plugins[name], f"send {name}", self.crossings)
        self.lines.append(line)
        return line

    def closed(self) -> list[int]:
        """How often each line was closed, in the order in which they were made."""
        return [line.closed for line in self.lines]


def table_of(reply: Any) -> dict[str, Any]:
    """The replies of a plugin: a table, a reply to the handshake, or what it implements."""
    manifest = {"Implements": reply} if isinstance(reply, list) else reply
    is_table = isinstance(manifest, dict) and "Plugin.Activate" in manifest
    return {**(manifest if is_table else {"Plugin.Activate": manifest}), "M.x": "hello"}


class NotingDiscovery(MemoryDiscovery):
    """A discovery that notes what it is asked."""

    def __init__(self, crossings: list[str]) -> None:
        super().__init__()
        self._crossings = crossings

    def scan(self) -> list[str]:
        self._crossings.append("scan")
        return super().scan()

    def lookup(self, name: str) -> Any:
        self._crossings.append(f"look up {name}")
        return super().lookup(name)


class _NotingLine(Line):
    def __init__(self, transport: Transport, label: str, crossings: list[str]) -> None:
        super().__init__(transport)
        self._label = label
        self._crossings = crossings

    def send(self, request: Request, timeout: float | None) -> Response:
        self._crossings.append(f"{self._label} {request.method}")
        return super().send(request, timeout)


@define(eq=False)
class Pending:
    """A response that is there, or of which only a parser can tell."""

    is_whole: bool = True
    ends: float | None = None
    closed: int = 0

    def fileno(self) -> int:
        return 0

    def events(self) -> int:
        return 0

    def advance(self, _: int) -> bool:
        return True

    def finish(self) -> Response:
        return Response(200, b"")

    def close(self) -> None:
        self.closed += 1
