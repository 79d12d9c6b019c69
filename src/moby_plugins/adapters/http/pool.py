"""A transport over connections that are kept for the next call, whichever engine speaks there.

An engine is a class of connections: ``urllib3.py``, ``httptools.py``.
"""

import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

from moby_plugins.adapters.http.dialing import Dial, Socket
from moby_plugins.adapters.http.errors import not_reached
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Request, Response

# Seconds for one dial, as the engine has it (protocol.md B0), where no shorter bound is given.
DIAL_TIMEOUT = 10.0
# Kept for the next calls; what comes back beyond them is closed.
IDLE_CONNECTIONS = 16


class GiveBack(Protocol):
    """What becomes of a connection once its answer was read."""

    def __call__(self, connection: "Connection", /, *, reusable: bool) -> None:
        """Keep it for another request, or close it."""
        ...


class Connection(Protocol):
    """One connection of an engine; a thread has it alone from one answer to the next."""

    def exchange(self, request: Request, ends: float | None, give_back: GiveBack) -> Response:
        """The answer to ``request``; all of it has to come before the time ``ends``.

        Gives itself back when the body was read or closed, and closes itself where it
        raises: as ``Transport.send`` says.
        """
        ...

    def is_readable(self) -> bool:
        """Whether something came that was not asked for: its end, or more than a response."""
        ...

    def close(self) -> None:
        """Hang up; may be called more than once."""
        ...


# A connection, and the process that dialled it: a fork leaves both ends of a pool with it.
_Idle: TypeAlias = tuple[int, Connection]


class PooledTransport:
    """Connections to the plugin at ``address``. Threads may share it.

    After a fork the child dials anew, and leaves its parent's connections alone.
    ``dial`` gives a connected socket, and ``engine``, a class, makes a connection of it.
    """

    def __init__(
        self, address: Address, dial: Dial, engine: Callable[[Address, Socket], Connection]
    ) -> None:
        self._address = address
        self._dial = dial
        self.engine = engine
        self._closed = False
        # Whoever takes one out has it alone: a deque's pop and append are atomic.
        self._idle: deque[_Idle] = deque()
        # For whoever forgets to close, and for the end of the process.
        weakref.finalize(self, _close_all, self._idle)

    def send(self, request: Request, timeout: float | None) -> Response:
        """One exchange over an idle connection, or a new one.

        An idle connection that the plugin has closed is replaced before anything of
        the request is sent. What fails later is the caller's to repeat.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        process = os.getpid()
        connection = self._take(process) or self._dialled(ends)
        return connection.exchange(request, ends, partial(self._give_back, process))

    def close(self) -> None:
        """Close what is idle; what is in use closes when it comes back."""
        self._closed = True
        _close_all(self._idle)

    def _dialled(self, ends: float | None) -> Connection:
        try:
            left = time_left(ends)
            sock = self._dial(DIAL_TIMEOUT if left is None else min(left, DIAL_TIMEOUT))
        except OSError as error:
            raise not_reached(error, self._address) from error
        # The bound on the dial is not that of what is sent next.
        sock.settimeout(None)
        return self.engine(self._address, sock)

    def _take(self, process: int) -> Connection | None:
        while (idle := _pop(self._idle)) is not None:
            dialled_by, connection = idle
            if dialled_by == process and not connection.is_readable():
                return connection
            connection.close()
        return None

    def _give_back(self, process: int, connection: Connection, /, *, reusable: bool) -> None:
        if not reusable or self._is_closed() or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
            return
        self._idle.append((process, connection))
        if self._is_closed():  # since the last look, by another thread
            self.close()

    def _is_closed(self) -> bool:
        # A method, because mypy takes an attribute for what it was.
        return self._closed


def _pop(idle: deque[_Idle]) -> _Idle | None:
    # The latest first: it is the likeliest to live.
    try:
        return idle.pop()
    except IndexError:
        return None


def _close_all(idle: deque[_Idle]) -> None:
    while (last := _pop(idle)) is not None:
        last[1].close()


def time_left(ends: float | None) -> float | None:
    """Seconds until ``ends``, ``None`` for no end; raises ``TimeoutError`` where it has passed."""
    if ends is None:
        return None
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
