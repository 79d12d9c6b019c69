"""Every transport over real sockets keeps the contract of all transports."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from moby_plugins import TLSOptions
from moby_plugins.adapters.http import httptools, urllib3
from moby_plugins.adapters.http.requests import RequestsConnect
from moby_plugins.domain.address import Address, ServerTLS
from moby_plugins.ports import Connect, Transport
from moby_plugins.testing import FaultServer
from moby_plugins.testing.contracts import (
    BEHAVIOURS,
    Behaviour,
    PluginThat,
    Serve,
    SocketTransportContract,
    TransportContract,
)
from tests.integration.certificates import Certificates

STALE = "stale socket: it exists, but no process listens on it"


class TestUrllib3OverTCP(SocketTransportContract):
    @pytest.fixture
    def connect(self) -> Connect:
        return urllib3.connect


class TestUrllib3OverUnixSocket(TestUrllib3OverTCP):
    REFUSED = STALE

    @pytest.fixture
    def serve(self, short_path: Path) -> Serve:
        return lambda behaviour: FaultServer.unix(BEHAVIOURS[behaviour], short_path / "p.sock")


class TestUrllib3OverTLS(TestUrllib3OverTCP):
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


class TestHttptoolsOverTCP(TestUrllib3OverTCP):
    @pytest.fixture
    def connect(self) -> Connect:
        return httptools.connect


class TestHttptoolsOverUnixSocket(TestUrllib3OverUnixSocket, TestHttptoolsOverTCP):
    pass


class TestHttptoolsOverTLS(TestUrllib3OverTLS, TestHttptoolsOverTCP):
    pass


class TestRequestsOverTCP(SocketTransportContract):
    @pytest.fixture
    def connect(self) -> Iterator[Connect]:
        with requests.Session() as session:
            yield RequestsConnect(session)


class TestFaultServersOwn(TransportContract):
    """The transport of a fault server, which announces each request to it."""

    REFUSED = STALE

    @pytest.fixture
    def plugin_that(self, short_path: Path) -> Iterator[PluginThat]:
        """Servers of which only single calls fail, and their transports, closed at the end."""
        with contextlib.ExitStack() as stack:

            def start(behaviour: Behaviour) -> Transport:
                table = dict.fromkeys(("M.x", "VolumeDriver.Get"), BEHAVIOURS[behaviour])
                server = stack.enter_context(FaultServer.unix(table, short_path / "p.sock"))
                transport = server.connect(Address("memory://plugin"))
                return stack.enter_context(contextlib.closing(transport))

            yield start
