"""A host in memory whose registry is asked by threads, or by tasks: one table of tests for both.

``AsyncMemoryHost`` has the attributes of ``MemoryHost``. Its ``registry`` runs each question on a
``FakeTimeLoop`` to its end, and its ``clock`` is that loop.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from functools import partial
from typing import Any, Self, TypeAlias, TypeVarTuple

from attrs import field, frozen

from moby_plugins.aio import (
    AsyncClient,
    AsyncRegistry,
    AsyncRequest,
    AsyncResponse,
    AsyncStream,
    AsyncTransport,
)
from moby_plugins.app.activation import ActivePlugin
from moby_plugins.app.aio.lead import AsyncActivePlugin
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.testing import AsyncMemoryTransport, FakeClock, FakeTimeLoop
from tests.unit.app.in_memory import TCP, MemoryHost, NotingDiscovery, table_of
from tests.unit.app.in_memory import client_of as client_of_threads

Ts = TypeVarTuple("Ts")


@frozen
class Ask:
    """A question of one of several askers: for a plugin, or with ``name`` None for all."""

    name: str | None = "p"
    implements: str | None = "A"
    after: float = 0.0
    options: Mapping[str, Any] = field(factory=dict)


@frozen
class Answer:
    """What one of them got, and when."""

    value: Any
    error: BaseException | None
    moment: float


class ThreadsHost(MemoryHost):
    """A host whose registry is asked by threads."""

    plugin_class: type = ActivePlugin

    def call(self, plugin: ActivePlugin, method: str) -> Any:
        """Call a plugin."""
        return plugin.client.call(method)

    def close(self) -> None:
        """Close the registry."""
        self.registry.close()

    def ask(self, *asks: Ask) -> list[Answer]:
        """Ask at once, each in a thread of its own."""

        def asker(ask: Ask) -> Callable[[], tuple[Any, BaseException | None, float]]:
            question: Callable[[], Any] = partial(
                self.registry.get_all, ask.implements, **ask.options
            )
            if ask.name is not None:
                question = partial(self.registry.get, ask.name, ask.implements, **ask.options)

            def answer() -> tuple[Any, BaseException | None, float]:
                self.clock.advance(ask.after)
                try:
                    return question(), None, self.clock.now()
                except BaseException as error:
                    return None, error, self.clock.now()

            return answer

        return [Answer(*future.result()) for future in self.clock.run(*map(asker, asks))]


class NotingLoop(FakeTimeLoop):
    """A loop that has ``FakeClock``'s names, and lists what was slept."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        if delay < math.inf:
            self.sleeps.append(delay)
        return super().call_later(delay, callback, *args, context=context)

    def now(self) -> float:
        """The time."""
        return self.time()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        noted = list(self.sleeps)
        self.run(asyncio.sleep(seconds))
        self.sleeps = noted


class Driven:
    """A registry whose coroutines are run to their end."""

    def __init__(self, registry: AsyncRegistry, loop: FakeTimeLoop) -> None:
        self._registry = registry
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._registry, "aclose" if name == "close" else name)

        def run(*args: Any, **named: Any) -> Any:
            made = method(*args, **named)
            return self._loop.run(made) if isinstance(made, Coroutine) else made

        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._registry.aclose())


class DrivenStream:
    """A stream whose coroutines are run to their end."""

    def __init__(
        self, opened: AbstractAsyncContextManager[AsyncStream], loop: FakeTimeLoop
    ) -> None:
        self._stream = stream = loop.run_until_complete(opened.__aenter__())
        self._loop = loop
        self.close = stream.close

    def read(self) -> bytes:
        return self._loop.run_until_complete(self._stream.read())

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DrivenClient:
    """A client whose coroutines are run to their end, with the names of ``Client``."""

    def __init__(self, client: AsyncClient, loop: FakeTimeLoop) -> None:
        self._client = client
        self._loop = loop
        self.close = client.close

    def call(self, *args: Any, **named: Any) -> Any:
        return self._loop.run_until_complete(self._client.call(*args, **named))

    def send_file(self, *args: Any, **named: Any) -> Any:
        return self._loop.run_until_complete(self._client.send_file(*args, **named))

    def stream(self, *args: Any, **named: Any) -> DrivenStream:
        return DrivenStream(self._client.stream(*args, **named), self._loop)

    def __enter__(self) -> Self:
        self._loop.run_until_complete(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._client.__aexit__())


# The time of a test, of threads or of tasks.
AnyClock: TypeAlias = FakeClock | NotingLoop


def client_of(reply: Any, clock: AnyClock, **settings: Any) -> tuple[Any, Any]:
    """A client of plugin ``p`` at ``TCP`` that replies so to ``M.x``, and its line."""
    if isinstance(clock, FakeClock):
        return client_of_threads(reply, clock, **settings)
    line = AsyncLine(AsyncMemoryTransport({"M.x": reply}, addr=TCP), "send p", [])
    client = AsyncClient(line, Address(TCP), name="p", **settings)
    return DrivenClient(client, clock), line


class AsyncMemoryHost:
    """A host whose registry is asked by tasks; see ``MemoryHost``."""

    plugin_class: type = AsyncActivePlugin

    def __init__(self, plugins: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self.clock = NotingLoop()
        self.crossings: list[str] = []
        self.lines: list[AsyncLine] = []
        self.discovery = NotingDiscovery(self.crossings)
        self._plugins: dict[str, AsyncMemoryTransport] = {}
        for name, reply in (plugins or {}).items():
            self.add(name, reply)
        settings = {"discovery": self.discovery, "connect": self.connect, **settings}
        self.tasks_registry = AsyncRegistry(**settings)
        self.registry: Any = Driven(self.tasks_registry, self.clock)

    def add(self, name: str, reply: Any) -> None:
        """Make a plugin appear; a list is what it implements."""
        self._plugins[name] = AsyncMemoryTransport(table_of(reply), addr=f"memory://{name}")
        self.discovery.add(name)

    def connect(self, address: Address, _: TLSOptions | None, /) -> AsyncTransport:
        """A line to one of the plugins."""
        plugin = self._plugins[address.path].connect(address)
        line = AsyncLine(plugin, f"send {address.path}", self.crossings)
        self.lines.append(line)
        return line

    def closed(self) -> list[int]:
        """How often each line was closed, in the order in which they were made."""
        return [line.closed for line in self.lines]

    def call(self, plugin: AsyncActivePlugin, method: str) -> Any:
        """Call a plugin."""
        return self.clock.run(plugin.client.call(method))

    def close(self) -> None:
        """Close the registry, in a task: what waits for it goes on."""
        self._closing = asyncio.ensure_future(self.tasks_registry.aclose())

    def ask(self, *asks: Ask) -> list[Answer]:
        """Ask at once, each in a task of its own."""

        async def answer(ask: Ask) -> Answer:
            if ask.after:
                await asyncio.sleep(ask.after)
            try:
                if ask.name is None:
                    value: Any = await self.tasks_registry.get_all(ask.implements, **ask.options)
                else:
                    value = await self.tasks_registry.get(ask.name, ask.implements, **ask.options)
            except BaseException as error:
                return Answer(None, error, self.clock.now())
            return Answer(value, None, self.clock.now())

        async def all_of_them() -> list[Answer]:
            return await asyncio.gather(*map(answer, asks))

        return self.clock.run(all_of_them())


class AsyncLine:
    """A transport that notes what it is given, and how often it was closed."""

    def __init__(self, transport: AsyncTransport, label: str, crossings: list[str]) -> None:
        self.requests: list[AsyncRequest] = []
        self.timeouts: list[float | None] = []
        self.closed = 0
        self._transport = transport
        self._label = label
        self._crossings = crossings

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        self._crossings.append(f"{self._label} {request.method}")
        self.requests.append(request)
        self.timeouts.append(timeout)
        return await self._transport.send(request, timeout)

    def close(self) -> None:
        self.closed += 1
        self._transport.close()


# Makes a host of either kind.
NewHost: TypeAlias = Callable[..., Any]
