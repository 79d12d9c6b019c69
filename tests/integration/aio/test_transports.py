"""The asynchronous transport over real sockets keeps both contracts, in each kind of loop."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins import TLSOptions
from moby_plugins.adapters.aio.transport import connect as connect_in_a_loop
from moby_plugins.async_ports import AsyncConnect
from moby_plugins.domain.address import ServerTLS
from moby_plugins.ports import Connect
from moby_plugins.testing import FaultServer
from moby_plugins.testing.contracts import (
    BEHAVIOURS,
    AsyncSocketTransportContract,
    BridgedConnect,
    LoopThread,
    Run,
    Serve,
    SocketTransportContract,
)
from tests.integration.certificates import Certificates
from tests.integration.loops import LOOPS, loop_factory

STALE = "stale socket: it exists, but no process listens on it"


class InEachLoop(AsyncSocketTransportContract):
    @pytest.fixture(params=LOOPS)
    def run(self, request: pytest.FixtureRequest) -> Run:
        factory = loop_factory(request.param)

        def run_in_it(coroutine: object) -> object:
            with asyncio.Runner(loop_factory=factory, debug=True) as runner:
                return runner.run(coroutine)  # type: ignore[arg-type]  # it is one

        return run_in_it

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
