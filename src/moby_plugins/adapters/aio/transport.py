"""The asynchronous transport: the connections of one plugin, in any number of event loops.

A connection belongs to the loop and the process that dialled it. The transport behaves as the
synchronous ones do, with the same parser, the same checks and the same tables of errors.
"""

import asyncio
import weakref

from moby_plugins.adapters.aio.connection import AsyncConnection
from moby_plugins.adapters.aio.dialing import AsyncDialer, async_dialer_for
from moby_plugins.adapters.aio.links import Link
from moby_plugins.adapters.aio.pool import Call, LoopPool
from moby_plugins.adapters.http.dialing import Lookups
from moby_plugins.adapters.http.errors import not_reached
from moby_plugins.adapters.http.pool import (
    DIAL_TIMEOUT,
    PROCESS,
    ROOM_PAUSE,
    IdleConnections,
)
from moby_plugins.descriptors import RAISED
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.failures import call_all

# The longest time in seconds from an attempt to dial without a descriptor to the next: many calls
# may be waiting.
_LONGEST_PAUSE = 0.1


def connect(
    address: Address,
    tls: TLSOptions | None,
    /,
    *,
    idle: IdleConnections | None = None,
    lookups: Lookups | None = None,
) -> "AsyncSocketTransport":
    """Return the asynchronous transport over sockets; dial nothing yet.

    ``idle`` keeps idle connections. ``lookups`` looks up host names and reads TLS files, and caches
    no result. Both may be shared with other transports. The TLS files are read here, unless that
    takes more than a second. Raises ``SpecError`` for a scheme, a socket's path or a TLS file that
    cannot be used.
    """
    return AsyncSocketTransport(address, async_dialer_for(address, tls, lookups), idle)


class AsyncSocketTransport:
    """A transport to the plugin at ``address``, for tasks and loops in any number of threads.

    After a fork, the child dials its own connections and does not use its parent's. ``idle``
    bounds the idle connections, together with those of other transports.
    """

    def __init__(
        self, address: Address, dialer: AsyncDialer, idle: IdleConnections | None = None
    ) -> None:
        self._address = address
        self._dialer = dialer
        self._shared = idle or IdleConnections()
        self._closed = False
        self._pools: dict[asyncio.AbstractEventLoop, LoopPool[AsyncConnection]] = {}
        # Closes the connections of a transport that is garbage-collected, and at exit.
        weakref.finalize(self, _close_all, self._pools)

    def __repr__(self) -> str:
        return "asyncio"

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        """Send ``request`` over an idle connection or a new one, and return the response.

        An idle connection that the plugin has closed is replaced before any of the request is sent.
        After that nothing is retried here; the caller may retry. The caller closes the response's
        body.
        Raises ``TransportError`` if no status line is received; ``TransportTimeoutError`` if
        ``timeout`` seconds pass first (``None`` means no limit).
        """
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.process != PROCESS.number:
            pool = self._new_pool(loop)
        ends = None if timeout is None else loop.time() + timeout
        try:
            call = pool.begin(ends)
        except OSError as error:
            raise not_reached(error, self._address) from error
        try:
            connection = pool.take() if call.has_turn else None
            if connection is None:
                connection = await self._connection(pool, call)
            return await connection.exchange(request, call)
        except BaseException:
            pool.end(call)
            raise

    def close(self) -> None:
        """Close idle connections, and end running calls and dials; any thread may call this."""
        self._closed = True
        _close_all(self._pools)

    async def _connection(self, pool: LoopPool[AsyncConnection], call: Call) -> AsyncConnection:
        """Wait until ``call`` may be sent, and return an idle or a new connection.

        At most ``TURNS`` calls of a pool are sent at once. Raises ``TransportTimeoutError`` after
        the deadline of ``call``, and ``TransportError`` if the plugin cannot be reached or the
        transport is closed.
        """
        try:
            await pool.take_turn(call)
            return pool.take() or await self._dialled(pool, call)
        except (OSError, ImportError) as error:
            raise not_reached(error, self._address) from error

    async def _dialled(self, pool: LoopPool[AsyncConnection], call: Call) -> AsyncConnection:
        link = await self._link(pool, call, min(call.ends, pool.loop.time() + DIAL_TIMEOUT))
        try:
            return AsyncConnection(self._address, link, pool)
        except BaseException:
            link.close()
            raise

    async def _link(self, pool: LoopPool[AsyncConnection], call: Call, until: float) -> Link:
        """Return a connected link; if no descriptor is left, close idle connections first.

        If there are none, but calls use connections, try again until one of these is closed. Raises
        what the last attempt raised, and ``TimeoutError`` at the time ``until``.
        """
        descriptors, pause = self._shared.descriptors, ROOM_PAUSE
        attempt = 0
        while True:
            attempt += 1
            try:
                link = await self._dialer(call, until)
            except RAISED as error:
                call.check()
                if not (descriptors.made_room(error, attempt) or descriptors.will_have_room(error)):
                    raise
                if pool.loop.time() >= until:
                    raise
            else:
                descriptors.add_used(link)
                return link
            # Loops in other threads close their idle connections in this time.
            await call.wait_until(min(pool.loop.time() + pause, until))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _new_pool(self, loop: asyncio.AbstractEventLoop) -> LoopPool[AsyncConnection]:
        for other in tuple(self._pools.values()):
            # It belongs to a closed loop, or to the parent of a fork.
            if not other.is_usable and self._pools.pop(other.loop, None) is other:
                other.close()
        pool = self._pools[loop] = LoopPool(loop, self._shared)
        if self._closed:  # checked last, as ``close`` sets it first
            pool.close()
        return pool


def _close_all(pools: dict[asyncio.AbstractEventLoop, LoopPool[AsyncConnection]]) -> None:
    call_all(pool.close for pool in tuple(pools.values()))
