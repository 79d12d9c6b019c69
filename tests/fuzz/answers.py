"""A response that is already in a socket, read by a client with each HTTP library."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from moby_plugins import Client, PluginError, RetryPolicy
from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.http.deadline_socket import DeadlineSocket
from moby_plugins.adapters.http.dialing import Socket
from moby_plugins.adapters.http.exchanges import Connection
from moby_plugins.adapters.http.httptools import HttptoolsConnection
from moby_plugins.adapters.http.pool import PooledTransport
from moby_plugins.adapters.http.urllib3 import Urllib3Connection
from moby_plugins.domain.address import Address

ADDRESS = Address("unix:///shelf.sock")
# What a pair of sockets takes although no end reads.
MAX_BYTES = 32 << 10
# Seconds; nothing here has anything to wait for.
TIME_OUT = 5.0

Engine = Callable[[Address, Socket], Connection]
ENGINES: tuple[Engine, ...] = (Urllib3Connection, HttptoolsConnection)


def ask(engine: Engine, data: bytes) -> tuple[Any, PluginError | None]:
    """Return the result and the error of a call whose response is ``data`` and then the end."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(data[:MAX_BYTES])
        theirs.shutdown(socket.SHUT_WR)

        def dialer(_: float | None) -> DeadlineSocket:
            return DeadlineSocket(ours.family, ours.type, fileno=ours.detach())

        transport = PooledTransport(ADDRESS, dialer, engine)
        client = Client(transport, ADDRESS, clock=SystemClock(), retry=RetryPolicy.never())
        with contextlib.closing(client):
            try:
                return client.call("M.x", {}, timeout=TIME_OUT), None
            except PluginError as error:
                return None, error
