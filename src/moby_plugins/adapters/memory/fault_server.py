"""A plugin over a real socket, with all the faults of one in memory."""

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
from moby_plugins.adapters.http.dialing import server_context
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
from moby_plugins.failures import log_failure
from moby_plugins.platforms import check_platform
from moby_plugins.ports import Clock, Connect, Transport, filled

# Seconds in which a thread must notice that its connection was shut down.
PATIENCE = 5.0
Serve: TypeAlias = Callable[[socket.socket], object]


class Connections:
    """The connections that ``listener`` accepts: each is given to ``serve``, then closed.

    Each has a thread, and so has the listener. An ``OSError`` out of ``serve`` is
    the end of that connection and no more. ``start`` and ``close`` may come from
    different threads.
    """

    def __init__(self, listener: socket.socket, serve: Serve) -> None:
        self._listener = listener
        self._serve = serve
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._closing = False

    def start(self) -> None:
        """Accept connections, in a thread; once."""
        self._begin(self._accept, self._listener)

    def close(self) -> None:
        """Stop listening, shut all connections down, and wait for their threads."""
        with self._lock:
            self._closing = True
            threads = list(self._open)
            for sock in self._open.values():
                with suppress(OSError):  # where the other end was quicker
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            with suppress(TimeoutError):  # it had nothing to take a connection with
                self._begin(self._serve, listener.accept()[0])

    def _begin(self, serve: Serve, sock: socket.socket) -> None:
        def run() -> None:
            try:
                with suppress(OSError):
                    serve(sock)
            finally:
                # Locked, so that ``close`` shuts down no descriptor that is in use again.
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


# Opens a socket for hosts to dial: given 0 it listens, given the number of an ``OSError`` dialling
# it fails with that. The text tells it from the server's own, for which it is empty.
Place: TypeAlias = Callable[[str, int], Listener]


def _at_path(path: str, suffix: str, number: int) -> Listener:
    check_platform("serving on a UNIX socket")
    path += suffix
    mode = 0 if number == errno.EACCES else 0o600
    if number == errno.ENOENT:
        return Listener(socket.socket(socket.AF_UNIX), Address.of_socket(path).text)
    listener = listen_unix(path, mode, None)
    if number:
        # Mode 0 denies all the same: the kernel looks at it before it looks for a listener.
        listener.socket.close()
    return listener


def _at_port(host: str, scheme: str, _: str, number: int) -> Listener:
    if number == 0:
        return listen_tcp(f"{host}:0", scheme)
    if number != errno.ECONNREFUSED:
        raise SettingsError(f"only a UNIX socket can fail with: {os.strerror(number)}")
    # Bound, so that no other process listens there.
    sock = socket.socket(socket.AF_INET)
    sock.bind((host, 0))
    return Listener(sock, f"{scheme}://{host}:{sock.getsockname()[1]}")


# The id of a user without any rights.
NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Take root's file rights from this thread for a while: to root no socket is denied.

    Raises ``SettingsError`` for root on a system where a thread has no rights of its own.
    """
    with ExitStack() as rights:
        if os.geteuid() == 0:
            setfsuid = getattr(ctypes.CDLL(None), "setfsuid", None)
            if setfsuid is None:
                raise SettingsError("to root no socket is denied; run the test as somebody else")
            setfsuid(NOBODY)
            rights.callback(setfsuid, 0)
        yield


# Bytes of a line that a request may have.
MAX_LINE = 1 << 16


def requests_in(file: BinaryIO) -> Iterator[Request]:
    """Read requests, each whole; end where the host does, or sends what is not HTTP."""
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
    # Where a chunk is cut off, the next size is empty: a ValueError.
    while size := int(file.readline(MAX_LINE).partition(b";")[0], 16):
        yield file.read(size + len(b"\r\n"))[:size]
    parse_headers(file)  # the trailers


def send_response(sock: socket.socket, response: Response) -> None:
    """Send a response as its body is read, and close the body; what reading it raises passes."""
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
    """One attempt of a call: the reply to it, and what came of it that no response can tell."""

    reply: Reply
    address: str
    attempt: int = 1
    arrived: bool = False
    # The number of an OSError where the plugin cannot be reached.
    errno: int = 0
    error: BaseException | None = None


@frozen(eq=False)
class _SocketExchange:
    """A call that came over ``sock``; at ``NoAnswerError`` the server closes that."""

    request: Request
    sock: socket.socket
    turn: _Turn

    def unreachable(self, number: int) -> NoReturn:
        # It is too late to refuse the connection: a host that announced the call dials again.
        self.turn.errno = number
        self.hang_up()

    def pause(self, seconds: float, *, answered: bool) -> None:  # noqa: ARG002  the host's business
        # A host that waits for a response sends nothing: what there is to read is its hanging up.
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        # poll() cannot count to a longer pause, which is as good as one without an end.
        if poll.poll(min(seconds, 1e6) * 1000):
            self.hang_up()

    def hang_up(self) -> NoReturn:
        raise NoAnswerError("the plugin hangs up")

    # A body in chunks has no end without the last one, which is not sent.
    cut_off = hang_up

    def talk_nonsense(self) -> NoReturn:
        self.sock.sendall(b"220 mail.example.org ESMTP ready\r\n")
        self.hang_up()


@frozen(eq=False)
class _HostTransport:
    """What ``FaultServer.connect`` makes: ``announce`` announces what it sends."""

    announce: Callable[["_HostTransport", Request, float | None], Response]
    transport: Transport
    address: str
    tls: TLSOptions | None

    def send(self, request: Request, timeout: float | None) -> Response:
        return self.announce(self, request, timeout)

    def close(self) -> None:
        self.transport.close()


# Tells the server which announced attempt a request is; taken off before the plugin sees it.
HEADER = "X-Moby-Plugins-Turn"


class FaultServer:
    """A server that does over a real socket what ``MemoryTransport`` does in memory.

    Made by ``unix`` and ``tcp``. A context manager that calls ``start`` and ``stop``, which may
    follow each other again. Hanging and dripping take real time, and end when the host hangs up.
    Threads may share it.

    A host made with ``connect`` announces each call before it dials. Only so can one call fail to
    connect and the next get a response, can what a reply raises come out of the call, and are
    attempts counted. Any host may call ``addr`` itself; to that one a fault that comes too late
    hangs up, and an exception is a response 500.

    Attributes:
        calls: Every attempt, also those that could not connect, with the time on the clock.

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
        place: Place,
        *,
        tls: ServerTLS | None = None,
        clock: Clock | None = None,
        connect: Connect | None = None,
    ) -> None:
        self.calls: Calls = Calls()
        self._plugin = checked_replies(plugin)
        self._place = place
        self._tls = tls
        self._clock = (
            SystemClock()
            if clock is None
            else filled("clock", clock, "now", "sleep", "wait", "working")
        )
        self._over = connect
        # Where every call is to fail to connect, hosts that announce nothing fail as well.
        self._errno = plugin.errno if isinstance(plugin, Fault) else 0
        self._lock = threading.Lock()
        self._running: tuple[Listener, Connections] | None = None
        # Threads share these without a lock: each thing done with them is atomic.
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
        """Make one on a UNIX socket, not started yet.

        Args:
            plugin: What ``MemoryTransport`` takes.
            path: The socket's.
            clock: What times of ``calls`` are on; the machine's unless given.
            connect: Makes the real transports; those over urllib3 unless given.
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
        """Make one on a free TCP port, not started yet; such a port can only refuse connections.

        Args:
            plugin: What ``MemoryTransport`` takes.
            host: The address to listen at.
            tls: How to speak TLS; without it, plain text.
            clock: What times of ``calls`` are on; the machine's unless given.
            connect: Makes the real transports; those over urllib3 unless given.
        """
        place = partial(_at_port, host, "tcp" if tls is None else "https")
        return cls(plugin, place, tls=tls, clock=clock, connect=connect)

    def __repr__(self) -> str:
        running = self._running
        where = "not started" if running is None else f"at {running[0].address}"
        return f"<FaultServer {where}: {len(self.calls)} calls>"

    @property
    def addr(self) -> str:
        """The address that a host calls, once started."""
        running = self._running
        if running is None:
            raise RuntimeError("the server has no address before it is started")
        return running[0].address

    def connect(self, address: Address, tls: TLSOptions | None = None, /) -> Transport:
        """Make a transport to this server: a ``Connect``, for a registry or ``Settings``.

        Args:
            address: What errors name, wherever the server is.
            tls: For a server under TLS.

        Returns:
            The transport, for the caller to close.
        """
        transport = self._transport(self.addr, tls)
        return _HostTransport(self._announce, transport, address.text, tls)

    def start(self) -> None:
        """Listen, and serve in threads; nothing if it does.

        Raises:
            SpecError: Where it cannot listen, or a TLS file cannot be used.
        """
        check_platform("FaultServer")
        context = None if self._tls is None else server_context(self._tls)
        with self._lock:
            if self._running is None:
                listener = self._place("", self._errno)
                serve = partial(self._serve, listener.address, context)
                connections = Connections(listener.socket, serve)
                self._running = listener, connections
                if not self._errno:
                    connections.start()

    def stop(self) -> None:
        """Hang up, wait for all threads, and remove what was put on disk; nothing if it did."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            listener, connections = running
            listener.withdraw()
            connections.close()
            listener.socket.close()

    def assert_used_up(self) -> None:
        """Check that no reply is left, as ``MemoryTransport.assert_used_up`` does."""
        __tracebackhide__ = True
        assert_replies_used(self._plugin, self.calls.methods)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _transport(self, addr: str, tls: TLSOptions | None) -> Transport:
        from moby_plugins.adapters.http import urllib3

        return (self._over or urllib3.connect)(Address(addr), tls)

    def _announce(self, host: _HostTransport, request: Request, timeout: float | None) -> Response:
        # Taken in the thread that calls, so that a call without a reply fails there.
        turn = _Turn(reply_to(request.method, self._plugin), host.address, request.attempt)
        if isinstance(turn.reply, Fault) and turn.reply.errno:
            turn.errno = turn.reply.errno
            # A body that is made as it is read stays whole for the next attempt.
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
            # Beside the server's own place, where other threads' calls go on.
            dead_end = self._place(f"-{next(self._numbers)}", number)
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
        # A copy, because TLS takes its socket over, and ``Connections`` shuts this one down.
        own = sock.dup()
        if context is not None:
            own = context.wrap_socket(own, server_side=True)
        with own, own.makefile("rb") as file:
            for request in requests_in(file):
                self._respond(address, own, request)

    def _respond(self, address: str, sock: socket.socket, came: Request) -> None:
        headers = dict(came.headers)
        announced = self._announced.get(headers.pop(HEADER, ""))
        turn = announced or _Turn(lambda it: reply_to(it.method, self._plugin), address)
        request = evolve(came, headers=headers, attempt=turn.attempt)
        # A transport sends it twice where an idle connection had gone.
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
        except BaseException as error:  # of a body that a test makes as it goes
            log_failure(f"the answer to {request.method} broke off", error)
            exchange.hang_up()

    def _record(self, turn: _Turn, request: Request) -> None:
        self.calls.record(
            Call(request.method, request.read(), turn.attempt, self._clock.now(), turn.address)
        )
