"""A transport that keeps idle connections for the next call, with either HTTP library.

The class of its connections is in ``urllib3.py`` or ``httptools.py``.
"""

import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from moby_plugins.adapters.http.deadline_socket import ClosedHereError
from moby_plugins.adapters.http.dialing import Dialer, EndingDialer, Socket, StartingDialer
from moby_plugins.adapters.http.errors import not_reached
from moby_plugins.adapters.http.exchanges import Connection, PendingExchange
from moby_plugins.descriptors import Descriptors, is_refusal
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Request, Response
from moby_plugins.failures import call_all

# Most seconds for one dial, as in the Docker Engine (protocol.md B0).
DIAL_TIMEOUT = 10.0
# The most idle connections of one transport; further ones are closed after their call.
IDLE_CONNECTIONS = 16
# The most idle connections of all transports of a registry.
MAX_IDLE_CONNECTIONS = 128
# Seconds that a dial without a descriptor waits for other calls to end, before its next attempt.
ROOM_PAUSE = 0.01
# The largest body of a request that ``begin`` takes: every socket buffer has room for it.
MOST_BEGUN_BYTES = 8 << 10


class Process:
    """The id of this process in ``number``, cached: ``os.getpid()`` makes a system call."""

    def __init__(self) -> None:
        self.number: int = os.getpid()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.number = os.getpid()


# A single instance, because callbacks of ``os.register_at_fork`` cannot be removed.
PROCESS = Process()


class Kept(Protocol):
    """An idle connection that is kept for another call; any thread may close it."""

    def is_readable(self) -> bool:
        """Return whether the connection has ended, or received data that was not requested."""
        ...

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        ...


K = TypeVar("K", bound=Kept)
# A connection, and the id of the process that dialled it: after a fork, two processes have it.
Idle: TypeAlias = tuple[int, Connection]


class IdleConnections:
    """The idle connections of all transports that share this object: at most ``most``.

    The least recently used connection is closed first. ``descriptors`` closes all of them when this
    process has no file descriptor left. A thread that takes a connection out owns it: each
    operation on a ``dict`` is atomic, so there is no lock, which a fork could leave locked.
    """

    def __init__(
        self, most: int = MAX_IDLE_CONNECTIONS, descriptors: Descriptors | None = None
    ) -> None:
        self._most = most
        self.descriptors: Descriptors = descriptors or Descriptors()
        self.descriptors.add(self)
        # Oldest first, each with the pool that lists it.
        self._pools: dict[Kept, deque[Any]] = {}

    def add(self, idle: tuple[int, K], pool: deque[tuple[int, K]]) -> None:
        """Add ``idle`` to ``pool``; close the oldest connections beyond the number ``most``."""
        # Listed here first: one that is only in ``pool`` is taken to be another thread's.
        self._pools[idle[1]] = pool
        pool.append(idle)
        while len(self._pools) > self._most:
            self._close_oldest()

    def take(self, pool: deque[tuple[int, K]]) -> tuple[int, K] | None:
        """Take the newest connection out of ``pool``, ``None`` if it is empty."""
        while pool:
            try:
                idle = pool.pop()
            except IndexError:  # another thread has taken the last one
                break
            if self._pools.pop(idle[1], None) is not None:
                return idle
        return None

    def discard(self, connection: Kept) -> bool:
        """Remove ``connection``; return true if it was listed: then the caller has to close it."""
        pool = self._pools.pop(connection, None)
        if pool is None:
            return False
        # A search, as a pool is small, and the stored process id may be that of a parent.
        for idle in tuple(pool):
            if idle[1] is connection:
                with suppress(ValueError):  # its transport has just taken it
                    pool.remove(idle)
        return True

    def shed(self) -> bool:
        """Close all idle connections to free descriptors; return false if there were none."""
        has_some = bool(self._pools)
        while self._pools:
            self._close_oldest()
        return has_some

    def _close_oldest(self) -> None:
        try:
            oldest = next(iter(self._pools))
        except (StopIteration, RuntimeError):  # another thread has changed the dict
            return
        if self.discard(oldest):
            oldest.close()


class PooledTransport:
    """A transport to the plugin at ``address`` that keeps connections. Threads may share it.

    After a fork, the child dials its own connections and does not use its parent's. ``dialer``
    returns a connected socket, from which ``connection_class`` makes a connection. ``idle`` bounds
    the idle connections, together with those of other transports.
    """

    def __init__(
        self,
        address: Address,
        dialer: Dialer,
        connection_class: Callable[[Address, Socket], Connection],
        idle: IdleConnections | None = None,
    ) -> None:
        self._address = address
        self._dialer = dialer
        self.connection_class = connection_class
        self._closed = False
        self._shared = idle or IdleConnections()
        self._idle: deque[Idle] = deque()
        # Closes the connections of a transport that is garbage-collected, and at exit.
        weakref.finalize(self, _close_all, self._shared, self._idle)

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send ``request`` over an idle connection or a new one, and return the response.

        An idle connection that the plugin has closed is replaced before any of the request is sent.
        After that nothing is retried here: the caller may. The caller closes the response's body.
        Raises ``TransportError`` if no status line is received; ``TransportTimeoutError`` if
        ``timeout`` seconds pass first (``None`` means no limit).
        """
        ends = None if timeout is None else time.monotonic() + timeout
        process = PROCESS.number
        connection = self._take(process) or self._dialled(ends)
        whole = connection.send(request, ends)
        return connection.receive(partial(self._release, process), whole=whole)

    def begin(self, request: Request, timeout: float | None) -> PendingExchange | None:
        """Start to send ``request`` over a new connection, without waiting.

        Returns ``None`` if that could block (a host name, TLS, a full accept queue, a large body)
        or if no descriptor is left. The exchange times out after ``timeout`` seconds; ``None``
        means no limit. Raises ``TransportError`` if the dial fails at once.
        """
        fits = isinstance(request.body, bytes) and len(request.body) <= MOST_BEGUN_BYTES
        dialer: Any = self._dialer
        if not fits or not issubclass(type(dialer), StartingDialer):
            return None
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            started = dialer.start()
        except OSError as error:
            if is_refusal(error):
                return None
            raise not_reached(error, self._address) from error
        if started is None:
            return None
        sock, is_connected = started
        self._shared.descriptors.add_used(sock)
        release = partial(self._release, PROCESS.number)
        connection = self.connection_class(self._address, sock)
        translate = partial(not_reached, address=self._address)
        pending = PendingExchange(sock, connection, request, ends, release, translate=translate)
        if is_connected:
            pending.send()
        return pending

    def close(self) -> None:
        """Close idle connections; calls and dials under way raise ``TransportError``.

        If ``dialer`` cannot be ended, connections in use are closed after their call instead.
        """
        self._closed = True
        dialer: Any = self._dialer
        end = [dialer.end] if issubclass(type(dialer), EndingDialer) else []
        call_all([*end, partial(_close_all, self._shared, self._idle)])

    def __repr__(self) -> str:
        # The name in the settings: each connection class is in a module of that name.
        return self.connection_class.__module__.rpartition(".")[2]

    def _dialled(self, ends: float | None) -> Connection:
        descriptors = self._shared.descriptors
        try:
            until = time.monotonic() + dial_time(ends)
            sock = descriptors.tried_while(partial(self._pause, until), partial(self._dial, until))
        except (OSError, ImportError) as error:
            raise not_reached(error, self._address) from error
        descriptors.add_used(sock)
        # The time-out of the dial does not apply to the exchange.
        sock.settimeout(None)
        return self.connection_class(self._address, sock)

    def _dial(self, until: float) -> Socket:
        return self._dialer(max(until - time.monotonic(), 1e-3))

    def _pause(self, until: float) -> bool:
        """Wait a moment for calls to end, and return true; false at the time ``until``."""
        if self._closed:
            raise ClosedHereError
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, ROOM_PAUSE))
        return True

    def _take(self, process: int) -> Connection | None:
        while (idle := self._shared.take(self._idle)) is not None:
            if not is_stale(idle, process):
                return idle[1]
            idle[1].close()
        return None

    def _release(self, process: int, connection: Connection, /, *, reusable: bool) -> None:
        if not reusable or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
            return
        self._shared.add((process, connection), self._idle)
        # Checked after listing, as ``close`` sets the flag first, so one of the two closes it.
        if self._closed:
            _close_all(self._shared, self._idle)


def _close_all(shared: IdleConnections, pool: deque[Idle]) -> None:
    call_all(idle[1].close for idle in iter(partial(shared.take, pool), None))


def is_stale(idle: tuple[int, Kept], process: int) -> bool:
    """Return whether an idle connection must be replaced before it is used.

    It must be replaced if the plugin has hung up or sent data that was not requested, or if another
    process dialled it. Once a request is being sent, no connection is replaced.
    """
    dialled_by, connection = idle
    return dialled_by != process or connection.is_readable()


def dial_time(ends: float | None) -> float:
    """Return the seconds that a dial may take; raise ``TimeoutError`` if ``ends`` has passed."""
    left = time_left(ends)
    return DIAL_TIMEOUT if left is None else min(left, DIAL_TIMEOUT)


def time_left(ends: float | None) -> float | None:
    """Return the seconds until ``ends``, ``None`` for ``None``; raise ``TimeoutError`` at 0."""
    if ends is None:
        return None
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
