"""The bound on idle connections that transports share, over connections without sockets."""

import errno
import threading
from typing import Any, cast

import pytest

from moby_plugins.adapters.http.dialing import Socket
from moby_plugins.adapters.http.exchanges import Release
from moby_plugins.adapters.http.pool import IdleConnections, PooledTransport
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError
from moby_plugins.domain.http import Request, Response

ADDRESS = Address("unix:///p.sock")
REQUEST = Request("M.x")


class FakeSocket:
    """A socket without a descriptor, as the result of dialling."""

    def settimeout(self, _: float | None) -> None:
        """Take any."""

    def fileno(self) -> int:
        """It never has a descriptor."""
        return -1


class Plugins:
    """Plugins that answer at once, and the connections to them."""

    def __init__(self, most: int) -> None:
        self.idle = IdleConnections(most)
        self.connections: list[FakeConnection] = []
        self.refusals: list[OSError] = []

    def dial(self, _: float | None) -> Socket:
        """A connection, or the next refusal."""
        if self.refusals:
            raise self.refusals.pop()
        return cast("Socket", FakeSocket())

    def transport(self) -> PooledTransport:
        """A transport to a plugin of its own."""

        def connection_class(_: Address, __: Socket) -> "FakeConnection":
            # Not the last of the list, which may be another thread's by then.
            connection = FakeConnection()
            self.connections.append(connection)
            return connection

        return PooledTransport(ADDRESS, self.dial, connection_class, self.idle)

    @property
    def open(self) -> list[int]:
        """Which connections are open, by number."""
        return [n for n, connection in enumerate(self.connections) if not connection.closed]


class FakeConnection:
    """A connection that answers at once, and is idle afterwards."""

    closed = False

    def send(self, _: Request, __: Any) -> bool:
        """Take it."""
        assert not self.closed
        return True

    def receive(self, release: Release, *, whole: bool) -> Response:
        """Answer."""
        assert whole
        release(self, reusable=True)
        return Response(200, b"")

    def is_readable(self) -> bool:
        """Nothing came."""
        return False

    def close(self) -> None:
        """Hang up."""
        self.closed = True


def test_the_least_recently_used_idle_connection_is_closed_first() -> None:
    """The order is that over all transports that share the bound, and not within one alone."""
    plugins = Plugins(2)
    one, two, three = (plugins.transport() for _ in range(3))

    one.send(REQUEST, None)
    two.send(REQUEST, None)
    one.send(REQUEST, None)
    three.send(REQUEST, None)

    assert plugins.open == [0, 2]
    one.send(REQUEST, None)
    two.send(REQUEST, None)
    assert plugins.open == [0, 3]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_idle_connections_are_closed_for_a_call_that_gets_no_descriptor(number: int) -> None:
    """The call then goes on; if a descriptor is refused again, that is its error."""
    plugins = Plugins(9)
    transports = [plugins.transport() for _ in range(3)]
    for transport in transports:
        transport.send(REQUEST, None)
    refusal = OSError(number, "no descriptor")

    plugins.refusals = [refusal]
    plugins.transport().send(REQUEST, None)
    assert plugins.open == [3]

    plugins.refusals = [refusal, refusal]
    with pytest.raises(TransportError):
        plugins.transport().send(REQUEST, None)
    assert plugins.open == []


def test_a_refused_connection_closes_no_idle_connections() -> None:
    """A plugin that does not listen is no reason to hang up on others."""
    plugins = Plugins(9)
    other = plugins.transport()
    other.send(REQUEST, None)
    plugins.refusals = [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]

    with pytest.raises(TransportError):
        plugins.transport().send(REQUEST, None)

    assert plugins.refusals == []
    assert plugins.open == [0]
    other.close()


def test_closing_a_transport_closes_its_own_idle_connections_alone() -> None:
    """Those of other transports stay open."""
    plugins = Plugins(9)
    one, two = plugins.transport(), plugins.transport()
    one.send(REQUEST, None)
    two.send(REQUEST, None)

    one.close()

    assert plugins.open == [1]


def test_threads_never_share_a_connection_nor_lose_one() -> None:
    """After threads have taken, returned and shed connections at once, all open ones are known."""
    plugins = Plugins(3)
    transports = [plugins.transport() for _ in range(5)]

    def work(number: int) -> None:
        for step in range(300):
            transports[(number + step) % 5].send(REQUEST, None)
            if step % 50 == number:
                plugins.idle.shed()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(plugins.open) <= 3
    for transport in transports:
        transport.close()
    assert plugins.open == []
