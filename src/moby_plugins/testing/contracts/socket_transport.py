"""The contract of transports, for one that carries HTTP over sockets."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.ports import Connect, Transport
from moby_plugins.testing import FaultServer
from moby_plugins.testing.contracts.transport import TransportContract
from moby_plugins.testing.contracts.ways import PLUGINS, PluginThat, Way

# Makes a server, not started, whose plugin behaves like this.
Serve: TypeAlias = Callable[[Way], FaultServer]


class SocketTransportContract(TransportContract):
    """Subclass it, and give a fixture ``connect``: what makes the transport under test.

    It is held to a plugin on TCP, unless a fixture ``serve`` makes the servers elsewhere;
    then ``REFUSED`` is that place's. A fixture ``tls`` may give the options that the
    transport is made with.
    """

    REFUSED = "connection refused: nobody listens there"

    @pytest.fixture
    def tls(self) -> TLSOptions | None:
        """The options that the transport is made with."""
        return None

    @pytest.fixture
    def serve(self) -> Serve:
        """What makes the servers."""
        return lambda way: FaultServer.tcp(PLUGINS[way])

    @pytest.fixture
    def plugin_that(
        self, connect: Connect, serve: Serve, tls: TLSOptions | None
    ) -> Iterator[PluginThat]:
        """Transports to plugins behind real sockets, all closed at the end."""
        with contextlib.ExitStack() as stack:

            def start(way: Way) -> Transport:
                server = stack.enter_context(serve(way))
                return stack.enter_context(contextlib.closing(connect(Address(server.addr), tls)))

            yield start
