"""The asynchronous transport: one plugin's connections, in as many event loops as ask for it.

A connection belongs to the loop and the process that dialled it. It keeps the promises of the
synchronous transports, over the same parser, the same checks and the same tables of errors.
"""

import asyncio
import weakref

from moby_plugins.adapters.aio.connection import AsyncConnection
from moby_plugins.adapters.aio.dialing import AsyncDial, async_dial_for
from moby_plugins.adapters.aio.links import Link
from moby_plugins.adapters.aio.pool import Call, Place
from moby_plugins.adapters.descriptors import ATTEMPTS
from moby_plugins.adapters.http.dialing import Lookups
from moby_plugins.adapters.http.errors import not_reached
from moby_plugins.adapters.http.pool import DIAL_TIMEOUT, PROCESS, IdleConnections
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import PluginError

# Seconds for other loops, in other threads, to close what makes room for a descriptor.
_ROOM_PAUSE = 0.01


def connect(
    address: Address,
    tls: TLSOptions | None,
    /,
    *,
    idle: IdleConnections | None = None,
    lookups: Lookups | None = None,
) -> "AsyncSocketTransport":
    """The asynchronous transport over sockets.

    ``idle`` and ``lookups`` are what it shares with others. Reads the TLS files, for a second at
    most. Raises ``SpecError`` for a scheme, a path or a file that cannot be used.
    """
    return AsyncSocketTransport(address, async_dial_for(address, tls, lookups), idle)


class AsyncSocketTransport:
    """Connections to the plugin at ``address``. Tasks and loops in several threads may share it.

    After a fork the child dials anew, and leaves its parent's connections alone. ``idle`` bounds
    idle connections together with those of other transports.
    """

    def __init__(
        self, address: Address, dial: AsyncDial, idle: IdleConnections | None = None
    ) -> None:
        self._address = address
        self._dial = dial
        self._shared = idle or IdleConnections()
        self._closed = False
        self._places: dict[asyncio.AbstractEventLoop, Place[AsyncConnection]] = {}
        # For a transport that is not closed, and for the end of the process.
        weakref.finalize(self, _close_all, self._places)

    def __repr__(self) -> str:
        return "asyncio"

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        """One exchange over an idle connection, or a new one: see ``AsyncTransport``.

        An idle connection that the plugin has closed is replaced before anything of
        the request is sent. What fails later is the caller's to repeat.
        """
        loop = asyncio.get_running_loop()
        place = self._places.get(loop)
        if place is None or place.process != PROCESS.number:
            place = self._new_place(loop)
        ends = None if timeout is None else loop.time() + timeout
        try:
            call = place.begin(ends)
        except OSError as error:
            raise not_reached(error, self._address) from error
        try:
            connection = place.take_at_once(call)
            if connection is None:
                connection = await self._connection(place, call, ends)
            return await connection.exchange(request, call)
        except BaseException:
            place.end(call)
            raise
        finally:
            place.give_turn(call)

    def close(self) -> None:
        """Close what is idle, and end what is in use or being dialled; in any thread."""
        self._closed = True
        _close_all(self._places)

    async def _connection(
        self, place: Place[AsyncConnection], call: Call, ends: float | None
    ) -> AsyncConnection:
        """A connection for ``call`` alone, once it has its turn."""
        try:
            await place.take_turn(call)
            return place.take() or await self._dialled(place, call, ends)
        except OSError as error:
            raise not_reached(error, self._address) from error

    async def _dialled(
        self, place: Place[AsyncConnection], call: Call, ends: float | None
    ) -> AsyncConnection:
        latest = place.loop.time() + DIAL_TIMEOUT
        link = await self._link(place, call, latest if ends is None else min(ends, latest))
        try:
            return AsyncConnection(self._address, link, place)
        except BaseException:
            link.close()
            raise

    async def _link(self, place: Place[AsyncConnection], call: Call, until: float) -> Link:
        """A connected link; where a descriptor is refused, idle connections make room first."""
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._dial(call, until)
            except (OSError, PluginError) as error:
                call.check()
                if not self._shared.descriptors.made_room(error, attempt):
                    raise
            await call.wait_until(min(place.loop.time() + _ROOM_PAUSE, until))
        return await self._dial(call, until)

    def _new_place(self, loop: asyncio.AbstractEventLoop) -> Place[AsyncConnection]:
        for other in tuple(self._places.values()):
            # Of a loop that was closed, or of the parent of a fork.
            if not other.is_here and self._places.pop(other.loop, None) is other:
                other.close()
        place = self._places[loop] = Place(loop, self._shared)
        if self._closed:  # looked at afterwards, as ``close`` does both the other way round
            place.close()
        return place


def _close_all(places: dict[asyncio.AbstractEventLoop, Place[AsyncConnection]]) -> None:
    for place in tuple(places.values()):
        place.close()
