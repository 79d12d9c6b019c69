"""A registry of plugins in memory, for tests of tasks: ``TasksHost``, on a loop of any kind."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

from moby_plugins.aio import AsyncRegistry, AsyncTransport
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.testing import AsyncMemoryTransport, FakeTimeLoop, MemoryDiscovery
from tests.unit.app.in_memory import table_of

ACTIVE = {"Implements": ["A"]}


def debugged() -> FakeTimeLoop:
    """A loop in debug mode."""
    loop = FakeTimeLoop()
    loop.set_debug(True)
    return loop


def eager() -> FakeTimeLoop:
    """A loop whose tasks begin at once."""
    loop = FakeTimeLoop()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    return loop


# The kinds of loops that the rules hold on.
LOOPS: dict[str, Callable[[], FakeTimeLoop]] = {"plain": FakeTimeLoop, "debug": debugged}
if sys.version_info >= (3, 12):
    LOOPS["eager"] = eager
# Those for tests of hundreds of tasks: debug mode extracts the stack for each task and callback,
# which takes many times as long as the test.
QUICK_LOOPS = [kind for kind in LOOPS if kind != "debug"]


class TasksHost:
    """A registry, the discovery and the transports of its plugins, and who asked for what."""

    def __init__(self, plugins: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self.discovery = MemoryDiscovery()
        self.plugins: dict[str, AsyncMemoryTransport] = {}
        # The names of plugins whose transports were made, and were closed.
        self.made: list[str] = []
        self.closed: list[str] = []
        for name, reply in (plugins or {}).items():
            self.add(name, reply)
        settings = {"discovery": self.discovery, "connect": self.connect, **settings}
        self.registry = AsyncRegistry(**settings)

    def add(self, name: str, reply: Any) -> None:
        """Make a plugin appear; a list is what it implements."""
        self.plugins[name] = AsyncMemoryTransport(table_of(reply), addr=f"memory://{name}")
        self.discovery.add(name)

    def connect(self, address: Address, _: TLSOptions | None, /) -> AsyncTransport:
        """Reach one of the plugins."""
        name = address.path
        self.made.append(name)
        return _Line(self.plugins[name].connect(address), lambda: self.closed.append(name))


class _Line:
    def __init__(self, transport: AsyncTransport, on_close: Callable[[], object]) -> None:
        self.send = transport.send
        self._transport = transport
        self._on_close = on_close

    def close(self) -> None:
        self._on_close()
        self._transport.close()


async def turns(count: int = 3) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def others() -> list[str]:
    """The names of all tasks but this."""
    current = asyncio.current_task()
    return sorted(task.get_name() for task in asyncio.all_tasks() if task is not current)
