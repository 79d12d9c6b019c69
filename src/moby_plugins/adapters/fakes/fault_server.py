"""A plugin over a real socket, with all the faults of one in memory."""

import logging
import os
import socket
import ssl
import threading
from typing import Self

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.fakes.calls import Calls
from moby_plugins.adapters.fakes.connections import Connections
from moby_plugins.adapters.fakes.dead_ends import PortPlace, SocketPlace
from moby_plugins.adapters.fakes.fault_exchange import (
    HungUpError,
    SocketExchange,
    read_requests,
    response_in,
    send_response,
)
from moby_plugins.adapters.fakes.fault_transport import AnnouncingTransport
from moby_plugins.adapters.fakes.fault_turns import Turns
from moby_plugins.adapters.fakes.faults import Fault
from moby_plugins.adapters.fakes.replies import Replies
from moby_plugins.adapters.server.listeners import Listener
from moby_plugins.domain.address import Address, ServerTLS, TLSOptions
from moby_plugins.ports import Clock, Connect, Transport

logger = logging.getLogger("moby_plugins")


class FaultServer:
    """Serves over a real socket whatever ``MemoryTransport`` answers in memory.

    ``plugin`` is what that takes. Made by ``unix`` and ``tcp``; a context manager
    that calls ``start`` and ``stop``, which may follow each other again. ``calls``
    lists every attempt, with the time on ``clock``. Hanging and dripping take real
    time, and end when the host hangs up. Threads may share it.

    A host made with ``connect`` announces each call before it dials. Only so can
    one call find nobody there and the next be answered, can what a reply raises
    come out of the call, and are attempts counted. Any host may call ``addr``
    itself; to that one a fault that comes too late hangs up, and an exception is
    an answer 500.
    """

    def __init__(
        self,
        plugin: Replies,
        place: SocketPlace | PortPlace,
        *,
        tls: ServerTLS | None = None,
        clock: Clock | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._turns = Turns(plugin, clock or SystemClock())
        # Where all calls fail before they come, the plugin is not to be reached from the start.
        self._errno = plugin.errno if isinstance(plugin, Fault) else 0
        self._place = place
        self._tls = tls
        self._over = connect
        self._lock = threading.Lock()
        self._listeners: dict[int, Listener] = {}
        self._connections: Connections | None = None

    @classmethod
    def unix(
        cls,
        plugin: Replies,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        connect: Connect | None = None,
    ) -> Self:
        """One on a UNIX socket at ``path``; real transports are made by ``connect``, or urllib3."""
        return cls(plugin, SocketPlace(os.fspath(path)), clock=clock, connect=connect)

    @classmethod
    def tcp(
        cls,
        plugin: Replies,
        host: str = "127.0.0.1",
        *,
        tls: ServerTLS | None = None,
        clock: Clock | None = None,
        connect: Connect | None = None,
    ) -> Self:
        """One on a free port of ``host``, under ``tls`` if given; it can refuse, not be missing."""
        place = PortPlace(host, "tcp" if tls is None else "https")
        return cls(plugin, place, tls=tls, clock=clock, connect=connect)

    @property
    def calls(self) -> Calls:
        """Every attempt as the plugin saw it; those that found nobody there too."""
        return self._turns.calls

    @property
    def addr(self) -> str:
        """The address that a host calls, once started."""
        with self._lock:
            if self._errno not in self._listeners:
                raise RuntimeError("the server has no address before it is started")
            return self._listeners[self._errno].address

    def connect(self, address: Address, tls: TLSOptions | None = None, /) -> Transport:
        """A transport to this server, whatever the ``address``: that is what errors name.

        A ``Connect`` for a registry or ``Settings``. ``tls`` is for a server under
        TLS. Whoever asked for the transport closes it.
        """
        return AnnouncingTransport(
            self._dial(self.addr, tls),
            address,
            self._turns,
            lambda number: self._dial(self._dead_end(number), tls),
        )

    def start(self) -> None:
        """Listen, and serve in threads; nothing if it does.

        Raises ``SpecError`` where it cannot listen or a TLS file cannot be used.
        """
        context = self._context()
        with self._lock:
            if self._listeners:
                return
            if self._errno:
                self._listeners[self._errno] = self._place.dead_end(self._errno)
                return
            listener = self._listeners[0] = self._place.listen()
            self._connections = Connections(listener.socket, self._serve, context)
            self._connections.start()

    def stop(self) -> None:
        """Hang up, wait for all threads, and remove what was put on disk; nothing if it did."""
        with self._lock:
            listeners, self._listeners = list(self._listeners.values()), {}
            connections, self._connections = self._connections, None
        for listener in listeners:
            listener.withdraw()
        if connections is not None:
            connections.close()
        for listener in listeners:
            listener.socket.close()

    def assert_used_up(self) -> None:
        """Raise ``AssertionError`` as ``MemoryTransport.assert_used_up`` does."""
        __tracebackhide__ = True
        self._turns.assert_used_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _context(self) -> ssl.SSLContext | None:
        from moby_plugins.adapters.http.dialing import server_context

        return None if self._tls is None else server_context(self._tls)

    def _dial(self, addr: str, tls: TLSOptions | None) -> Transport:
        from moby_plugins.adapters.http import urllib3

        return (self._over or urllib3.connect)(Address(addr), tls)

    def _dead_end(self, number: int) -> str:
        with self._lock:
            if number not in self._listeners:
                place = self._place.beside(number)
                self._listeners[number] = place.dead_end(number)
            return self._listeners[number].address

    def _serve(self, sock: socket.socket) -> None:
        for came in read_requests(sock):
            request, turn = self._turns.arrived(came, self.addr)
            try:
                send_response(sock, response_in(SocketExchange(request, sock, turn)))
            except HungUpError:
                return
            except OSError:
                raise
            except Exception:  # of a body that a test makes as it goes
                logger.exception("the answer to %s broke off", request.method)
                return
