"""The asynchronous transport and server pass the contract tests, in each kind of event loop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import TLSOptions
from moby_plugins.adapters.aio.transport import connect as connect_in_a_loop
from moby_plugins.aio import serve_tcp, serve_unix
from moby_plugins.async_ports import AsyncConnect, AsyncTransport
from moby_plugins.domain.address import Address, ServerTLS
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.ports import Connect
from moby_plugins.testing import FaultServer
from moby_plugins.testing.contracts import (
    BEHAVIOURS,
    AsyncAppContract,
    AsyncSocketTransportContract,
    BridgedConnect,
    LoopThread,
    Run,
    Serve,
    Served,
    SocketTransportContract,
)
from tests.integration.certificates import Certificates
from tests.integration.loops import LOOPS, loop_factory

STALE = "stale socket: it exists, but no process listens on it"


class LoopOfEachKind:
    @pytest.fixture(params=LOOPS)
    def run(self, request: pytest.FixtureRequest) -> Run:
        factory = loop_factory(request.param)

        def run_in_it(coroutine: object) -> object:
            with asyncio.Runner(loop_factory=factory, debug=True) as runner:
                return runner.run(coroutine)  # type: ignore[arg-type]  # it is one

        return run_in_it


class InEachLoop(LoopOfEachKind, AsyncSocketTransportContract):
    @pytest.fixture
    def connect(self) -> AsyncConnect:
        return connect_in_a_loop


class Bridged(SocketTransportContract):
    @pytest.fixture(params=LOOPS)
    def connect(self, request: pytest.FixtureRequest) -> Iterator[Connect]:
        with LoopThread(loop_factory(request.param)) as thread:
            yield BridgedConnect(connect_in_a_loop, thread)


class OverUnixSocket:
    REFUSED = STALE

    @pytest.fixture
    def serve(self, short_path: Path) -> Serve:
        return lambda behaviour: FaultServer.unix(BEHAVIOURS[behaviour], short_path / "p.sock")


class OverTLS:
    @pytest.fixture
    def certificates(self, tmp_path: Path) -> Certificates:
        return Certificates(tmp_path)

    @pytest.fixture
    def tls(self, certificates: Certificates) -> TLSOptions:
        return TLSOptions(ca_file=certificates.ca_file, exclusive_root_pools=True)

    @pytest.fixture
    def serve(self, certificates: Certificates) -> Serve:
        server_tls = ServerTLS(*certificates.server_files("localhost"))
        return lambda behaviour: FaultServer.tcp(BEHAVIOURS[behaviour], "localhost", tls=server_tls)


class TestOverTCP(InEachLoop): ...


class TestOverUnixSocket(OverUnixSocket, InEachLoop): ...


class TestOverTLS(OverTLS, InEachLoop): ...


class TestBridgedOverTCP(Bridged): ...


class TestBridgedOverUnixSocket(OverUnixSocket, Bridged): ...


class TestBridgedOverTLS(OverTLS, Bridged): ...


@pytest.mark.parametrize("kind", ["unix", "tcp", "https"])
class TestServedApp(LoopOfEachKind, AsyncAppContract):
    @pytest.fixture
    def served(self, kind: str, short_path: Path) -> Served:
        @asynccontextmanager
        async def serve(app: AsyncApp) -> AsyncIterator[AsyncTransport]:
            serving: Any = partial(serve_unix, app, "p", sockets_path=str(short_path))
            tls = None
            if kind != "unix":
                serving = partial(serve_tcp, app, "p", specs_path=str(short_path))
            if kind == "https":
                certificates = Certificates(short_path)
                serving.keywords["tls"] = ServerTLS(*certificates.server_files("localhost"))
                tls = TLSOptions(ca_file=certificates.ca_file, exclusive_root_pools=True)
            addr: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(serving(on_serving=addr.set_result, drain=0.1))
            address = Address((await addr).replace("127.0.0.1", "localhost"))
            with closing(connect_in_a_loop(address, tls)) as transport:
                yield transport
            task.cancel()
            await asyncio.wait([task])

        return serve
