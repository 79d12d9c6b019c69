"""Fixtures of asynchronous tests over sockets: each kind of event loop and of address."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from attrs import frozen

from moby_plugins import TLSOptions
from moby_plugins.adapters.aio.transport import AsyncSocketTransport, connect
from moby_plugins.domain.address import Address
from moby_plugins.testing.contracts import Run
from tests.dummy_plugin import Behaviour, DummyPlugin
from tests.integration.certificates import Certificates
from tests.integration.loops import LOOPS, LoopFactory, loop_factory


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> LoopFactory:
    """What makes event loops, of each kind in turn."""
    return loop_factory(request.param)


@pytest.fixture
def run(new_loop: LoopFactory) -> Run:
    """What runs a coroutine in a new loop of that kind, as ``asyncio.run`` does."""

    def run_in_it(coroutine: object) -> object:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(coroutine)  # type: ignore[arg-type]  # it is one

    return run_in_it


@frozen
class Reached:
    """A plugin, and a transport to it."""

    plugin: DummyPlugin
    options: TLSOptions | None
    transport: AsyncSocketTransport

    def renewed(self) -> AsyncSocketTransport:
        """Another transport to it, for the caller to close."""
        return connect(Address(self.plugin.addr), self.options)


Reach: TypeAlias = Callable[[Behaviour], AbstractContextManager[Reached]]


def reach_over(kind: str, directory: Path) -> Reach:
    """What makes a plugin on a socket of this kind, and a transport to it."""

    @contextmanager
    def reach(behaviour: Behaviour) -> Iterator[Reached]:
        options = None
        if kind == "unix":
            plugin = DummyPlugin.on_unix(directory / "p.sock", behaviour)
        elif kind == "tcp":
            plugin = DummyPlugin.on_tcp(behaviour)
        else:
            certificates = Certificates(directory)
            plugin = DummyPlugin.on_tcp(behaviour, certificates.server())
            options = TLSOptions(certificates.ca_file)
        with plugin:
            transport = connect(Address(plugin.addr), options)
            try:
                yield Reached(plugin, options, transport)
            finally:
                transport.close()

    return reach


@pytest.fixture(params=["unix", "tcp", "tls"])
def reach(request: pytest.FixtureRequest, short_path: Path) -> Reach:
    """The ways to a plugin, each in turn."""
    return reach_over(request.param, short_path)


@pytest.fixture
def reach_unix(short_path: Path) -> Reach:
    """The way over a UNIX socket."""
    return reach_over("unix", short_path)
