"""The transport of a tracing proxy, which passes a hang-up at one end on to the other end.

Each call has its own connection to the plugin, which is closed after the call. During the call, a
thread checks whether the host, the proxy's client, has hung up. It then shuts the connection to the
plugin down, which wakes the thread that waits for the plugin. If the plugin hangs up, the waiting
thread notices by reading.
"""

import errno
import threading
import time
from collections.abc import Callable
from functools import partial

from attrs import field, frozen

from moby_plugins.adapters.http.dialing import Dialer, Socket
from moby_plugins.adapters.http.errors import not_reached
from moby_plugins.adapters.http.exchanges import Connection
from moby_plugins.adapters.http.pool import DIAL_TIMEOUT
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.domain.http import Body, Request, Response

# Seconds between checks whether the hosts of running calls have hung up.
TICK = 0.1


@frozen(eq=False)
class _Running:
    """A running call and its socket to the plugin; ``hung_up`` is set once the host hung up."""

    hung_up: threading.Event
    sock: Socket


@frozen
class PassingTransport:
    """A transport to the plugin at ``address``, with a connection per call. Threads may share it.

    ``hung_up`` is called in the thread that sends. It returns an event that is set once the host
    of this call has hung up: then ``send`` and the body's ``read`` raise
    ``ConnectionAbortedError``. ``dialer`` returns a connected socket, from which
    ``connection_class`` makes a connection.
    """

    _address: Address
    _dialer: Dialer
    _connection_class: Callable[[Address, Socket], Connection]
    _hung_up: Callable[[], threading.Event]
    _running: set[_Running] = field(factory=set, init=False)
    _closed: threading.Event = field(factory=threading.Event, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _watching: list[threading.Thread] = field(factory=list, init=False)

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send ``request`` over a new connection, and return the response.

        Raises ``ConnectionAbortedError`` if the host has hung up, ``TransportError`` if no status
        line is received, and ``TransportTimeoutError`` after ``timeout`` seconds; ``None`` means no
        limit.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        hung_up = self._hung_up()
        try:
            sock = self._dialer(DIAL_TIMEOUT if timeout is None else min(timeout, DIAL_TIMEOUT))
        except OSError as error:
            raise not_reached(error, self._address) from error
        sock.settimeout(None)
        call = _Running(hung_up, sock)
        self._begin(call)
        release = partial(self._end, call)
        try:
            connection = self._connection_class(self._address, sock)
            whole = connection.send(request, ends)
            response = connection.receive(release, whole=whole)
        except BaseException as error:
            self._forget(call)
            if isinstance(error, (TransportError, WireError)) and hung_up.is_set():
                raise _host_left() from error
            raise
        body = _PassingBody(response.body, hung_up)
        return Response(response.status, body, response.headers, response.new_connection)

    def close(self) -> None:
        """End the thread that checks whether hosts hung up; running calls continue."""
        self._closed.set()

    def _begin(self, call: _Running) -> None:
        with self._lock:
            self._running.add(call)
            if not self._watching:
                thread = threading.Thread(target=self._watch, name="trace hang-ups", daemon=True)
                self._watching.append(thread)
                thread.start()

    def _end(self, call: _Running, connection: Connection, /, *, reusable: bool) -> None:  # noqa: ARG002
        self._forget(call)
        connection.close()

    def _forget(self, call: _Running) -> None:
        with self._lock:
            self._running.discard(call)

    def _watch(self) -> None:
        while not self._closed.wait(TICK):
            with self._lock:
                for call in self._running:
                    if call.hung_up.is_set():
                        call.sock.abort()


def _host_left() -> ConnectionAbortedError:
    return ConnectionAbortedError(errno.ECONNABORTED, "the host hung up")


@frozen
class _PassingBody:
    """The body of the plugin's response; reads raise an error once the host has hung up."""

    _body: Body
    _hung_up: threading.Event

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes as soon as any have arrived, ``b""`` at the body's end."""
        try:
            data = self._body.read(size)
        except (TransportError, WireError) as error:
            if self._hung_up.is_set():
                raise _host_left() from error
            raise
        if not data and self._hung_up.is_set():
            raise _host_left()
        return data

    def close(self) -> None:
        """Close the connection."""
        self._body.close()
