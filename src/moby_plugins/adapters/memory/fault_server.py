"""A plugin over a real socket, with all the faults of one in memory."""

import contextlib
import ctypes
import errno
import logging
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, parse_headers
from io import BytesIO
from itertools import count
from typing import BinaryIO, NoReturn, Self

from attrs import define, evolve, frozen

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.memory.calls import Call, Calls
from moby_plugins.adapters.memory.replies import (
    Fault,
    Replies,
    Reply,
    UnexpectedCallError,
    assert_replies_used,
    reply_to,
    respond,
    status,
)
from moby_plugins.adapters.server.listeners import Listener, listen_tcp, listen_unix
from moby_plugins.domain.address import Address, ServerTLS, TLSOptions
from moby_plugins.domain.errors import SettingsError, TransportError
from moby_plugins.domain.http import CHUNK_BYTES, NoAnswerError, Request, Response
from moby_plugins.failures import log_failure
from moby_plugins.ports import Clock, Connect, Transport

# Seconds in which a thread must notice that its connection was shut down.
PATIENCE = 5.0


class Connections:
    """Gives each connection that ``listener`` accepts to ``serve``, and closes it afterwards.

    With a ``context`` they are under TLS, and shake hands when they are first
    read. An ``OSError`` out of ``serve`` is the end of that connection and no
    more. ``start`` and ``close`` may come from different threads.
    """

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[socket.socket], object],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._context = context
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._closing = False
        self._accepting = threading.Thread(target=self._accept, name="accepting", daemon=True)

    def start(self) -> None:
        """Accept connections, in a thread; once."""
        self._accepting.start()

    def close(self) -> None:
        """Stop listening, shut all connections down, and wait for their threads."""
        with self._lock:
            self._closing = True
            threads = list(self._open)
            for sock in self._open.values():
                _shut_down(sock)
        _shut_down(self._listener)
        for thread in (self._accepting, *threads):
            if thread.is_alive():
                thread.join(PATIENCE)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:  # it had nothing to take a connection with
                continue
            except OSError:
                return
            if self._context is not None:
                sock = self._context.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            with self._lock:
                if self._closing:
                    sock.close()
                    return
                thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
                self._open[thread] = sock
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                self._serve(sock)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]
                sock.close()


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # where the other end was quicker
        # The plain one: that of a TLS socket also forgets its keys, which a thread may be using.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


SOCKET_MODE = 0o600
NOBODY = 65534


@frozen
class SocketPlace:
    """A UNIX socket's path. Its methods raise as ``listen_unix`` does."""

    path: str

    def listen(self) -> Listener:
        """A socket that can be dialled."""
        return listen_unix(self.path, SOCKET_MODE, None)

    def dead_end(self, number: int) -> Listener:
        """One that cannot: dialling it gives the ``OSError`` of that number."""
        if number == errno.ENOENT:
            return Listener(socket.socket(socket.AF_UNIX), Address.of_socket(self.path).text)
        # Whether it may be connected to is asked before whether anybody listens.
        listener = listen_unix(self.path, 0 if number == errno.EACCES else SOCKET_MODE, None)
        listener.socket.close()
        return listener

    def beside(self, number: int) -> "SocketPlace":
        """Another path, for such a dead end; no look-up finds it."""
        return SocketPlace(f"{self.path}-{number}")


@frozen
class PortPlace:
    """A free port of ``host``, for addresses of ``scheme``."""

    host: str
    scheme: str

    def listen(self) -> Listener:
        """A socket that can be dialled; raises as ``listen_tcp`` does."""
        return listen_tcp(f"{self.host}:0", self.scheme)

    def dead_end(self, number: int) -> Listener:
        """A port that refuses, and is nobody else's; ``SettingsError`` for another number."""
        if number != errno.ECONNREFUSED:
            raise SettingsError(f"only a UNIX socket can fail with: {os.strerror(number)}")
        sock = socket.socket(socket.AF_INET)
        sock.bind((self.host, 0))
        return Listener(sock, f"{self.scheme}://{self.host}:{sock.getsockname()[1]}")

    def beside(self, _: int) -> "PortPlace":
        """The same: each port is another."""
        return self


@contextmanager
def as_nobody() -> Iterator[None]:
    """What root may open, this thread may not open meanwhile: to root no socket is denied.

    Raises ``SettingsError`` for root on a system where one thread cannot be somebody else.
    """
    if os.geteuid() != 0:
        yield
        return
    setfsuid = getattr(ctypes.CDLL(None), "setfsuid", None)
    if setfsuid is None:
        raise SettingsError("to root no socket is denied; run the test as somebody else")
    setfsuid(NOBODY)
    try:
        yield
    finally:
        setfsuid(0)


# Tells the server which announced attempt a request is; taken off before anyone sees it.
HEADER = "X-Moby-Plugins-Turn"


@define(eq=False)
class Turn:
    """One attempt: the reply to it, and what came of it that no answer can tell."""

    reply: Reply
    address: str
    attempt: int = 1
    announced: bool = True
    arrived: bool = False
    # The number of an OSError where the plugin is not to be reached.
    errno: int = 0
    error: BaseException | None = None


class Turns:
    """Which reply is whose. Threads may share it.

    A reply is taken by the thread that calls, so that it is told at once what no reply was
    given for; and a request that the host sends twice over gets the same reply twice.
    """

    def __init__(self, plugin: Replies, clock: Clock) -> None:
        self.calls = Calls()
        self._plugin = plugin
        self._clock = clock
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._announced: dict[str, Turn] = {}

    def announce(self, request: Request, address: str) -> tuple[str, Turn]:
        """A number and a turn for a request that is about to be sent, until ``over``.

        Raises ``UnexpectedCallError``.
        """
        turn = Turn(reply_to(request, self._plugin), address, request.attempt)
        if isinstance(turn.reply, Fault) and turn.reply.errno:
            turn.errno = turn.reply.errno
            # A body that is made as it is read stays whole for the next attempt.
            unread = request if isinstance(request.body, bytes) else evolve(request, body=b"")
            self._record(turn, unread)
        with self._lock:
            number = str(next(self._numbers))
            self._announced[number] = turn
        return number, turn

    def over(self, number: str) -> None:
        """The host has its answer, or its error."""
        with self._lock:
            del self._announced[number]

    def arrived(self, request: Request, address: str) -> tuple[Request, Turn]:
        """The turn of a request that came, and the request as its host meant it."""
        headers = dict(request.headers)
        with self._lock:
            turn = self._announced.get(headers.pop(HEADER, ""))
        if turn is None:
            turn = Turn(self._unannounced(request), address, announced=False)
        request = evolve(request, headers=headers, attempt=turn.attempt)
        if not turn.arrived:
            turn.arrived = True
            self._record(turn, request)
        return request, turn

    def assert_used_up(self) -> None:
        """Raise ``AssertionError`` for replies that nobody asked for."""
        __tracebackhide__ = True
        assert_replies_used(self._plugin, self.calls.methods)

    def _unannounced(self, request: Request) -> Reply:
        try:
            return reply_to(request, self._plugin)
        except UnexpectedCallError as error:
            return status(500, str(error))

    def _record(self, turn: Turn, request: Request) -> None:
        self.calls.record(
            Call(request.method, request.read(), turn.attempt, self._clock.now(), turn.address)
        )


MAX_LINE = 1 << 16
# What other servers say to whoever dials them.
NONSENSE = b"220 mail.example.org ESMTP ready\r\n"

# Seconds that poll() can count; a longer pause is as good as one without an end.
_LONGEST = 1e6
# Headers that say where a body ends: that is for whoever writes it to say.
_FRAMING = {"content-length", "transfer-encoding"}


class HungUpError(Exception):
    """The exchange is over, and its connection with it."""


@frozen(eq=False)
class SocketExchange:
    """A call that came over ``sock``; what ends it raises ``HungUpError``."""

    request: Request
    sock: socket.socket
    turn: Turn

    def unreachable(self, number: int) -> NoReturn:
        """Hang up, and let the host know why if it announced the call."""
        # Too late to refuse the connection: such a host dials once more, in vain.
        self.turn.errno = number
        raise HungUpError

    def pause(self, seconds: float, *, answered: bool) -> None:  # noqa: ARG002  the host's business
        """Wait, but not beyond the host's own patience."""
        # A host that waits for an answer sends nothing: what comes is its farewell.
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if poll.poll(None if seconds > _LONGEST else seconds * 1000):
            raise HungUpError

    def hang_up(self) -> NoReturn:
        """Close the connection."""
        raise HungUpError

    def talk_nonsense(self) -> NoReturn:
        """Greet the host as a mail server does."""
        self.sock.sendall(NONSENSE)
        raise HungUpError

    def cut_off(self) -> NoReturn:
        """Close the connection: the last chunk, which says that a body is whole, is not sent."""
        raise HungUpError


def read_requests(sock: socket.socket) -> Iterator[Request]:
    """The requests of one connection, each read whole; ends when the host hangs up or errs."""
    with sock.makefile("rb") as file:
        while line := file.readline(MAX_LINE):
            try:
                headers = parse_headers(file)
                request = _request(line, headers, file)
            except (ValueError, HTTPException):
                return
            yield request
            if headers.get("Connection", "").lower() == "close":
                return


def _request(line: bytes, headers: HTTPMessage, file: BinaryIO) -> Request:
    _, _, rest = line.decode("latin-1").partition(" ")
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        body = b"".join(_chunks(file))
    else:
        body = _exactly(file, int(headers.get("Content-Length", "0")))
    return Request(rest.partition(" ")[0], body, dict(headers.items()))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while size := int(file.readline(MAX_LINE).partition(b";")[0], 16):
        yield _exactly(file, size)
        file.readline(MAX_LINE)
    while file.readline(MAX_LINE).strip():
        pass


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("the request's body is cut off")
    return data


def response_in(exchange: SocketExchange) -> Response:
    """What the turn's reply comes to; raises ``HungUpError`` where that is no answer."""
    turn = exchange.turn
    try:
        return respond(turn.reply, exchange)
    except HungUpError:
        raise
    except NoAnswerError as error:
        raise HungUpError from error
    except BaseException as error:
        if not turn.announced:
            return respond(status(500, str(error) or type(error).__name__), exchange)
        turn.error = error
        raise HungUpError from error


def send_response(sock: socket.socket, response: Response) -> None:
    """Send an answer as it is made, and close its body; what making it raises passes."""
    body = response.body
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    lines += [f"{k}: {v}" for k, v in response.headers.items() if k.lower() not in _FRAMING]
    whole = body.getvalue() if isinstance(body, BytesIO) else None
    framing = "Transfer-Encoding: chunked" if whole is None else f"Content-Length: {len(whole)}"
    head = "\r\n".join([*lines, framing, "", ""]).encode("latin-1")
    try:
        sock.sendall(head + (whole or b""))
        if whole is not None:
            return
        while chunk := body.read(CHUNK_BYTES):
            sock.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        sock.sendall(b"0\r\n\r\n")
    finally:
        body.close()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


class AnnouncingTransport:
    """Sends over ``transport`` what it has announced to ``turns``; its errors name ``address``.

    Where nobody is to be reached, it dials what ``dead_end`` gives for the number
    of that ``OSError``. Threads may share it. It closes ``transport``.
    """

    def __init__(
        self,
        transport: Transport,
        address: Address,
        turns: Turns,
        dead_end: Callable[[int], Transport],
    ) -> None:
        self._transport = transport
        self._address = address
        self._turns = turns
        self._dead_end = dead_end

    def send(self, request: Request, timeout: float | None) -> Response:
        """The server's answer; raises what the transport does, or what the reply says."""
        number, turn = self._turns.announce(request, self._address.text)
        try:
            if turn.errno:
                return self._dial(turn.errno, request, timeout)
            announced = evolve(request, headers={**request.headers, HEADER: number})
            return self._transport.send(announced, timeout)
        except TransportError as error:
            error.address = self._address.text
            if turn.error is not None:
                raise turn.error from None
            if turn.errno and turn.arrived:
                return self._dial(turn.errno, evolve(request, body=b"", length=None), timeout)
            raise
        finally:
            self._turns.over(number)

    def close(self) -> None:
        """Give up idle connections."""
        self._transport.close()

    def _dial(self, number: int, request: Request, timeout: float | None) -> Response:
        transport = self._dead_end(number)
        somebody: AbstractContextManager[None] = nullcontext()
        if number == errno.EACCES:
            somebody = as_nobody()
        try:
            with somebody:
                return transport.send(request, timeout)
        except TransportError as error:
            error.address = self._address.text
            raise
        finally:
            transport.close()


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
            except Exception as error:  # of a body that a test makes as it goes
                log_failure(f"the answer to {request.method} broke off", error)
                return
