"""A test's plugin on a real socket, with the same replies and faults as in memory."""

import ctypes
import errno
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from http.client import HTTPException, parse_headers
from io import BytesIO
from itertools import count
from typing import BinaryIO, NoReturn, Self, TypeAlias

from attrs import define, evolve, frozen

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.http.tls import server_context
from moby_plugins.adapters.memory.calls import Call, Calls
from moby_plugins.adapters.memory.replies import (
    Fault,
    Replies,
    Reply,
    assert_replies_used,
    checked_replies,
    reply_to,
    respond,
    status,
)
from moby_plugins.adapters.server.listeners import Listener, listen_tcp, listen_unix
from moby_plugins.domain.address import Address, ServerTLS, TLSOptions
from moby_plugins.domain.errors import SettingsError, TransportError, error_text, status_line
from moby_plugins.domain.http import CHUNK_BYTES, NoAnswerError, Request, Response
from moby_plugins.failures import call_all, log_failure
from moby_plugins.platforms import check_platform
from moby_plugins.ports import Clock, Connect, Transport, filled

# Seconds for a thread to notice that its connection was shut down.
PATIENCE = 5.0
Serve: TypeAlias = Callable[[socket.socket], object]


class AcceptedConnections:
    """The connections that ``listener`` accepts: each is passed to ``serve``, then closed.

    The listener and each connection have their own thread. An ``OSError`` of ``serve`` ends only
    the connection that it was called for. ``start`` and ``close`` may be called from different
    threads.
    """

    def __init__(self, listener: socket.socket, serve: Serve) -> None:
        self._listener = listener
        self._serve = serve
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._closing = False

    def start(self) -> None:
        """Start to accept connections, in a thread; call this once."""
        self._begin(self._accept, self._listener)

    def close(self) -> None:
        """Stop listening, shut all connections down, and wait for their threads."""
        with self._lock:
            self._closing = True
            threads = list(self._open)
            for sock in self._open.values():
                with suppress(OSError):  # the other end has already closed it
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            with suppress(TimeoutError):  # no descriptor was left for a connection
                self._begin(self._serve, listener.accept()[0])

    def _begin(self, serve: Serve, sock: socket.socket) -> None:
        def run() -> None:
            try:
                with suppress(OSError):
                    serve(sock)
            finally:
                # Locked, so that ``close`` does not shut down a reused descriptor.
                with self._lock:
                    del self._open[thread]
                    sock.close()

        thread = threading.Thread(target=run, daemon=True)
        with self._lock:
            if self._closing:
                sock.close()
            else:
                thread.start()
                self._open[thread] = sock


# Opens a socket for hosts to dial. The text is a suffix for its path, empty for the server's own
# socket. With the number 0 the socket listens; with an errno, dialling it fails with that.
OpenListener: TypeAlias = Callable[[str, int], Listener]


def _at_path(path: str, suffix: str, number: int) -> Listener:
    check_platform("serving on a UNIX socket")
    path += suffix
    mode = 0 if number == errno.EACCES else 0o600
    if number == errno.ENOENT:
        return Listener(socket.socket(socket.AF_UNIX), Address.of_socket(path).text)
    listener = listen_unix(path, mode, None)
    if number:
        # A mode of 0 still denies: the kernel checks it before it looks for a listener.
        listener.socket.close()
    return listener


def _at_port(host: str, scheme: str, _: str, number: int) -> Listener:
    if number == 0:
        return listen_tcp(f"{host}:0", scheme)
    if number != errno.ECONNREFUSED:
        raise SettingsError(
            f"FaultServer.tcp() cannot make a connection fail with: {os.strerror(number)};"
            " FaultServer.unix() can"
        )
    # Bound, so that no other process can listen there.
    sock = socket.socket(socket.AF_INET)
    sock.bind((host, 0))
    return Listener(sock, f"{scheme}://{host}:{sock.getsockname()[1]}")


# The id of a user without rights.
NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drop root's rights over files, in this thread inside the block: root can open any socket.

    Does nothing for other users. Raises ``SettingsError`` for root on a system where rights
    cannot be dropped per thread.
    """
    with ExitStack() as rights:
        if os.geteuid() == 0:
            setfsuid = getattr(ctypes.CDLL(None), "setfsuid", None)
            if setfsuid is None:
                raise SettingsError(
                    "root can open any socket, and this system cannot drop its rights in a thread:"
                    " run the test as another user"
                )
            setfsuid(NOBODY)
            rights.callback(setfsuid, 0)
        yield


# The most bytes of a line of a request.
MAX_LINE = 1 << 16


def requests_in(file: BinaryIO) -> Iterator[Request]:
    """Yield requests with their bodies, until the host hangs up or sends anything but HTTP."""
    with suppress(ValueError, HTTPException):
        while True:
            _, method, _ = file.readline(MAX_LINE).decode("latin-1").split()
            headers = parse_headers(file)
            if "chunked" in headers.get("Transfer-Encoding", "").lower():
                body = b"".join(_chunks(file))
            else:
                size = int(headers.get("Content-Length", "0"))
                body = file.read(size)
                if len(body) < size:
                    return
            yield Request(method, body, dict(headers.items()))
            if headers.get("Connection", "").lower() == "close":
                return


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    # If a chunk is cut off, the next size is empty, which raises ValueError.
    while size := int(file.readline(MAX_LINE).partition(b";")[0], 16):
        yield file.read(size + len(b"\r\n"))[:size]
    parse_headers(file)  # the trailers


def send_response(sock: socket.socket, response: Response) -> None:
    """Send a response, and close its body; exceptions of reading the body pass."""
    whole = response.body.getvalue() if isinstance(response.body, BytesIO) else None
    lines = [f"HTTP/1.1 {status_line(response.status)}"]
    for name, value in response.headers.items():
        if name.lower() not in {"content-length", "transfer-encoding"}:  # they are set below
            lines.append(f"{name}: {value}")
    lines.append("Transfer-Encoding: chunked" if whole is None else f"Content-Length: {len(whole)}")
    with closing(response.body) as body:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (whole or b""))
        if whole is None:
            while chunk := body.read(CHUNK_BYTES):
                sock.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            sock.sendall(b"0\r\n\r\n")


@define(eq=False)
class _Turn:
    """One attempt of a call, which ``_HostTransport`` announces to the server before it dials.

    For an attempt of another host, it is made when the request arrives. It has the reply, and
    ``errno`` or ``error`` if the host must see them instead of a response.
    """

    reply: Reply
    address: str
    attempt: int = 1
    arrived: bool = False
    # The errno if the plugin cannot be reached, else 0.
    errno: int = 0
    error: BaseException | None = None


@frozen(eq=False)
class _SocketExchange:
    """A call received over ``sock``, which the server closes on ``NoAnswerError``."""

    request: Request
    sock: socket.socket
    turn: _Turn

    def unreachable(self, number: int) -> NoReturn:
        # It is too late to refuse this connection: a host that announced the call dials again.
        self.turn.errno = number
        self.hang_up()

    def pause(self, seconds: float, *, answered: bool) -> None:  # noqa: ARG002  for memory alone
        # A host that waits for a response sends nothing, so being readable means that it hung up.
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        # poll() does not support longer pauses, which no test waits for anyway.
        if poll.poll(min(seconds, 1e6) * 1000):
            self.hang_up()

    def hang_up(self) -> NoReturn:
        raise NoAnswerError("the plugin hangs up")

    # Without its last chunk, a chunked body is incomplete.
    cut_off = hang_up

    def talk_nonsense(self) -> NoReturn:
        self.sock.sendall(b"220 mail.example.org ESMTP ready\r\n")
        self.hang_up()


@frozen(eq=False)
class _HostTransport:
    """The transport of ``FaultServer.connect``; ``announce`` announces a request and sends it."""

    announce: Callable[["_HostTransport", Request, float | None], Response]
    transport: Transport
    address: str
    tls: TLSOptions | None

    def send(self, request: Request, timeout: float | None) -> Response:
        return self.announce(self, request, timeout)

    def close(self) -> None:
        self.transport.close()


# A header with the id of an announced attempt, removed before the plugin gets the request.
HEADER = "X-Moby-Plugins-Turn"


class FaultServer:
    """A test's plugin on a real socket, with the same replies and faults as ``MemoryTransport``.

    Create it with ``unix`` or ``tcp``. It is a context manager that calls ``start`` and ``stop``,
    and may be started again. Faults that hang or drip take real time, and end when the host hangs
    up. Threads may share it.

    A host made with ``connect`` announces each call before it dials. This allows one call to fail
    to connect and the next to get a response, a reply's exception to be raised by the call, and
    attempts to be counted. Other hosts may call ``addr`` directly; for them, a fault of the
    connection becomes a hang-up, and an exception a response with status 500.

    Attributes:
        calls: Every attempt, also failed connections, with its time on the clock.

    Examples:
        ```python
        from moby_plugins import new_client
        from moby_plugins.testing import FaultServer, drops, script

        with FaultServer.tcp({"Shelf.List": script(drops(), ["books"])}) as server:
            with new_client(server.addr) as client:
                assert client.call("Shelf.List") == ["books"]  # tried again after a second
        ```
    """

    def __init__(
        self,
        plugin: Replies,
        open_listener: OpenListener,
        *,
        tls: ServerTLS | None = None,
        clock: Clock | None = None,
        connect: Connect | None = None,
    ) -> None:
        self.calls: Calls = Calls()
        self._plugin = checked_replies(plugin)
        self._open_listener = open_listener
        self._tls = tls
        self._clock = (
            SystemClock()
            if clock is None
            else filled("clock", clock, "now", "sleep", "wait", "working")
        )
        self._connect = connect
        # If every call has to fail to connect, hosts that announce nothing must fail as well.
        self._errno = plugin.errno if isinstance(plugin, Fault) else 0
        self._lock = threading.Lock()
        self._running: tuple[Listener, AcceptedConnections] | None = None
        # Shared by threads without a lock, because each operation on them is atomic.
        self._numbers = count(1)
        self._announced: dict[str, _Turn] = {}

    @classmethod
    def unix(
        cls,
        plugin: Replies,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        connect: Connect | None = None,
    ) -> Self:
        """Create a server on a UNIX socket; it is not started yet.

        Args:
            plugin: A function from ``Request`` to ``Response``, a table from method to reply, a
                script or a fault, as ``MemoryTransport`` takes them.
            path: The path of the socket.
            clock: The clock of the times of ``calls``; the machine's unless given.
            connect: Makes the transports over which hosts of the method ``connect`` call the
                server; by default those of urllib3.

        Raises:
            TypeError: For any other kind of plugin.
        """
        return cls(plugin, partial(_at_path, os.fspath(path)), clock=clock, connect=connect)

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
        """Create a server on a free TCP port; it is not started yet.

        Hosts made with ``connect`` can see only one fault of connecting, ``refused()``. The others,
        ``denied()`` and ``missing_socket()``, raise ``SettingsError`` here: use ``unix`` for them.

        Args:
            plugin: A function from ``Request`` to ``Response``, a table from method to reply, a
                script or a fault, as ``MemoryTransport`` takes them.
            host: The address to listen at.
            tls: The options for TLS; without it, plain text.
            clock: The clock of the times of ``calls``; the machine's unless given.
            connect: Makes the transports over which hosts of the method ``connect`` call the
                server; by default those of urllib3.
        """
        open_listener = partial(_at_port, host, "tcp" if tls is None else "https")
        return cls(plugin, open_listener, tls=tls, clock=clock, connect=connect)

    def __repr__(self) -> str:
        running = self._running
        where = "not started" if running is None else f"at {running[0].address}"
        return f"<FaultServer {where}: {len(self.calls)} calls>"

    @property
    def addr(self) -> str:
        """The address for hosts; raises ``RuntimeError`` before the server is started."""
        running = self._running
        if running is None:
            raise RuntimeError("the server has no address before it is started: call start() first")
        return running[0].address

    def connect(self, address: Address, tls: TLSOptions | None = None, /) -> Transport:
        """Return a transport to this server; pass this method to a registry or ``Settings``.

        Args:
            address: The address that errors name, which may differ from the server's.
            tls: The options for a server under TLS.

        Returns:
            The transport, for the caller to close.
        """
        transport = self._transport(self.addr, tls)
        return _HostTransport(self._announce, transport, address.text, tls)

    def start(self) -> None:
        """Listen, and serve in threads; do nothing if already started.

        Raises:
            SpecError: If the server cannot listen, or a TLS file cannot be used.
        """
        check_platform("FaultServer")
        context = None if self._tls is None else server_context(self._tls)
        with self._lock:
            if self._running is None:
                listener = self._open_listener("", self._errno)
                serve = partial(self._serve, listener.address, context)
                connections = AcceptedConnections(listener.socket, serve)
                self._running = listener, connections
                if not self._errno:
                    connections.start()

    def stop(self) -> None:
        """Hang up, wait for all threads, and remove the files; do nothing if not started."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            listener, connections = running
            call_all([listener.withdraw, connections.close, listener.socket.close])

    def assert_used_up(self) -> None:
        """Raise ``AssertionError`` unless all replies of the table and its scripts were used."""
        __tracebackhide__ = True
        assert_replies_used(self._plugin, self.calls.methods)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _transport(self, addr: str, tls: TLSOptions | None) -> Transport:
        from moby_plugins.adapters.http import urllib3

        return (self._connect or urllib3.connect)(Address(addr), tls)

    def _announce(self, host: _HostTransport, request: Request, timeout: float | None) -> Response:
        # The reply is taken in the calling thread, so that a call without one fails there.
        turn = _Turn(reply_to(request.method, self._plugin), host.address, request.attempt)
        if isinstance(turn.reply, Fault) and turn.reply.errno:
            turn.errno = turn.reply.errno
            # An iterable body is not sent here, so that the next attempt can send it.
            unread = request if isinstance(request.body, bytes) else evolve(request, body=b"")
            self._record(turn, unread)
        else:
            number = str(next(self._numbers))
            self._announced[number] = turn
            try:
                headers = {**request.headers, HEADER: number}
                return host.transport.send(evolve(request, headers=headers), timeout)
            except TransportError as error:
                error.address = host.address
                if turn.error is not None:
                    raise turn.error from None
                if not turn.errno:
                    raise
            finally:
                del self._announced[number]
        return self._dial_dead_end(host, request.method, turn.errno)

    def _dial_dead_end(self, host: _HostTransport, method: str, number: int) -> Response:
        with ExitStack() as opened:
            # A separate socket, so that other threads can still call the server's own.
            dead_end = self._open_listener(f"-{next(self._numbers)}", number)
            opened.callback(dead_end.socket.close)
            opened.callback(dead_end.withdraw)
            transport = opened.enter_context(closing(self._transport(dead_end.address, host.tls)))
            if number == errno.EACCES:
                opened.enter_context(as_nobody())
            try:
                return transport.send(Request(method), None)
            except TransportError as error:
                error.address = host.address
                raise

    def _serve(self, address: str, context: ssl.SSLContext | None, sock: socket.socket) -> None:
        # A duplicate, because TLS takes its socket over, but ``AcceptedConnections`` still uses
        # this one.
        own = sock.dup()
        if context is not None:
            own = context.wrap_socket(own, server_side=True)
        with own, own.makefile("rb") as file:
            for request in requests_in(file):
                self._respond(address, own, request)

    def _respond(self, address: str, sock: socket.socket, received: Request) -> None:
        headers = dict(received.headers)
        announced = self._announced.get(headers.pop(HEADER, ""))
        turn = announced or _Turn(lambda it: reply_to(it.method, self._plugin), address)
        request = evolve(received, headers=headers, attempt=turn.attempt)
        # A transport sends a request twice if its idle connection had been closed.
        if not turn.arrived:
            turn.arrived = True
            self._record(turn, request)
        exchange = _SocketExchange(request, sock, turn)
        try:
            response = respond(turn.reply, exchange)
        except NoAnswerError:
            raise
        except BaseException as error:
            if announced:
                turn.error = error
                exchange.hang_up()
            response = respond(status(500, error_text(error)), exchange)
        try:
            send_response(sock, response)
        except OSError:
            raise
        except BaseException as error:  # raised by the iterable body of a test
            log_failure(f"the response to {request.method} was interrupted", error)
            exchange.hang_up()

    def _record(self, turn: _Turn, request: Request) -> None:
        self.calls.record(
            Call(request.method, request.read(), turn.attempt, self._clock.now(), turn.address)
        )
