"""A transport over connections that are kept for the next call, whichever engine speaks there.

An engine is a class of connections: ``urllib3.py``, ``httptools.py``.
"""

import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from moby_plugins.adapters.descriptors import Descriptors, is_refusal
from moby_plugins.adapters.http.dialing import Dial, EndingDial, Socket, StartingDial
from moby_plugins.adapters.http.errors import not_reached
from moby_plugins.adapters.http.exchanges import Connection, PendingExchange
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Request, Response

# Seconds for one dial, as the engine has it (protocol.md B0), where no shorter bound is given.
DIAL_TIMEOUT = 10.0
# Kept by one transport for the next calls; what comes back beyond them is closed.
IDLE_CONNECTIONS = 16
# Kept by all transports of a registry together.
MAX_IDLE_CONNECTIONS = 128
# Of the body of a request that is begun: each socket has room for so much.
MOST_BEGUN_BYTES = 8 << 10


class Process:
    """This process: ``os.getpid()`` is a system call, and a call takes few."""

    def __init__(self) -> None:
        self.number: int = os.getpid()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.number = os.getpid()


# One, as the process is one: what a fork calls stays registered for good.
PROCESS = Process()


class Kept(Protocol):
    """A connection that is kept for another call; any thread may close it."""

    def is_readable(self) -> bool:
        """Whether something came that was not asked for: its end, or more than a response."""
        ...

    def close(self) -> None:
        """Hang up; may be called more than once."""
        ...


K = TypeVar("K", bound=Kept)
# A connection, and the process that dialled it: a fork leaves both ends of a pool with it.
Idle: TypeAlias = tuple[int, Connection]


class IdleConnections:
    """The idle connections of all transports that share this: at most ``most``.

    The one that was used least recently is closed first; all are, where ``descriptors`` run
    out. Who takes a connection out of here has it alone: each step on a ``dict`` is atomic,
    so there is no lock, which a fork could leave locked.
    """

    def __init__(
        self, most: int = MAX_IDLE_CONNECTIONS, descriptors: Descriptors | None = None
    ) -> None:
        self._most = most
        self.descriptors: Descriptors = descriptors or Descriptors()
        self.descriptors.add(self)
        # In the order in which they came, each with the pool that lists it.
        self._pools: dict[Kept, deque[Any]] = {}

    def add(self, idle: tuple[int, K], pool: deque[tuple[int, K]]) -> None:
        """List ``idle`` in ``pool``, and close what is over the bound."""
        # First here: what is listed there and not here counts as taken.
        self._pools[idle[1]] = pool
        pool.append(idle)
        while len(self._pools) > self._most:
            self._close_oldest()

    def take(self, pool: deque[tuple[int, K]]) -> tuple[int, K] | None:
        """The connection that came last to ``pool``, for the caller alone."""
        while True:
            try:
                idle = pool.pop()
            except IndexError:
                return None
            if self._pools.pop(idle[1], None) is not None:
                return idle

    def discard(self, connection: Kept) -> bool:
        """List ``connection`` no longer; true where it was listed: then the caller has it alone."""
        pool = self._pools.pop(connection, None)
        if pool is None:
            return False
        # A pool has few, so this looks at few. In a child the number differs from its parent's.
        for idle in tuple(pool):
            if idle[1] is connection:
                with suppress(ValueError):  # taken out by its transport since
                    pool.remove(idle)
        return True

    def shed(self) -> bool:
        """Close all, for others to have their descriptors; false where there are none."""
        has_some = bool(self._pools)
        while self._pools:
            self._close_oldest()
        return has_some

    def _close_oldest(self) -> None:
        try:
            oldest = next(iter(self._pools))
        except (StopIteration, RuntimeError):  # another thread was quicker
            return
        if self.discard(oldest):
            oldest.close()


class PooledTransport:
    """Connections to the plugin at ``address``. Threads may share it.

    After a fork the child dials anew, and leaves its parent's connections alone.
    ``dial`` gives a connected socket, and ``engine``, a class, makes a connection of it.
    ``idle`` bounds idle connections together with those of other transports.
    """

    def __init__(
        self,
        address: Address,
        dial: Dial,
        engine: Callable[[Address, Socket], Connection],
        idle: IdleConnections | None = None,
    ) -> None:
        self._address = address
        self._dial = dial
        self.engine = engine
        self._closed = False
        self._shared = idle or IdleConnections()
        self._idle: deque[Idle] = deque()
        # For a transport that is not closed, and for the end of the process.
        weakref.finalize(self, _close_all, self._shared, self._idle)

    def send(self, request: Request, timeout: float | None) -> Response:
        """One exchange over an idle connection, or a new one.

        An idle connection that the plugin has closed is replaced before anything of
        the request is sent. What fails later is the caller's to repeat.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        process = PROCESS.number
        connection = self._take(process) or self._dialled(ends)
        whole = connection.send(request, ends)
        return connection.receive(partial(self._give_back, process), whole=whole)

    def begin(self, request: Request, timeout: float | None) -> PendingExchange | None:
        """Send ``request`` over a new connection, as far as that needs no wait.

        ``None`` where that would wait: for a name, under TLS, for a place in the plugin's queue,
        with a large body; and where a descriptor is refused.
        """
        fits = isinstance(request.body, bytes) and len(request.body) <= MOST_BEGUN_BYTES
        if not fits or not issubclass(type(self._dial), StartingDial):
            return None
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            started = cast("StartingDial", self._dial).start()
        except OSError as error:
            if is_refusal(error):
                return None
            raise not_reached(error, self._address) from error
        if started is None:
            return None
        sock, is_connected = started
        give_back = partial(self._give_back, PROCESS.number)
        connection = self.engine(self._address, sock)
        translate = partial(not_reached, address=self._address)
        pending = PendingExchange(sock, connection, request, ends, give_back, translate=translate)
        if is_connected:
            pending.send()
        return pending

    def close(self) -> None:
        """Close what is idle, and end what is in use or being dialled: ``TransportError``.

        Where ``dial`` cannot be ended, what is in use closes when it comes back.
        """
        self._closed = True
        if isinstance(self._dial, EndingDial):
            self._dial.end()
        _close_all(self._shared, self._idle)

    def __repr__(self) -> str:
        # As settings call it: each engine has a module of that name.
        return self.engine.__module__.rpartition(".")[2]

    def _dialled(self, ends: float | None) -> Connection:
        try:
            sock = self._shared.descriptors.tried(partial(self._dial, dial_time(ends)))
        except OSError as error:
            raise not_reached(error, self._address) from error
        # The bound on the dial is not that of what is sent next.
        sock.settimeout(None)
        return self.engine(self._address, sock)

    def _take(self, process: int) -> Connection | None:
        while (idle := self._shared.take(self._idle)) is not None:
            if not replaceable(idle, process):
                return idle[1]
            idle[1].close()
        return None

    def _give_back(self, process: int, connection: Connection, /, *, reusable: bool) -> None:
        if not reusable or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
            return
        self._shared.add((process, connection), self._idle)
        # Looked at afterwards, as ``close`` sets it first: so one of the two closes the connection.
        if self._closed:
            _close_all(self._shared, self._idle)


def _close_all(shared: IdleConnections, pool: deque[Idle]) -> None:
    while (idle := shared.take(pool)) is not None:
        idle[1].close()


def replaceable(idle: tuple[int, Kept], process: int) -> bool:
    """Whether another connection takes the place of one that was idle, before it is used.

    It does where the plugin has hung up or sent what was not asked for, and where the connection
    belongs to another process than this one. Once something was sent, nothing is replaced.
    """
    dialled_by, connection = idle
    return dialled_by != process or connection.is_readable()


def dial_time(ends: float | None) -> float:
    """Seconds that a dial may take; raises ``TimeoutError`` where ``ends`` has passed."""
    left = time_left(ends)
    return DIAL_TIMEOUT if left is None else min(left, DIAL_TIMEOUT)


def time_left(ends: float | None) -> float | None:
    """Seconds until ``ends``, ``None`` for no end; raises ``TimeoutError`` where it has passed."""
    if ends is None:
        return None
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
