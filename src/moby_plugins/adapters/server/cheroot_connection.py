"""A connection to a served plugin: cheroot's threads read requests from it, one after the other.

Heads are read strictly, so that no two readers see the end of a request at different places.
cheroot by itself accepts a space before the colon, lets a folded line replace the value before
it, takes the last of two lengths, accepts as a length whatever ``int()`` accepts, and ignores a
length beside chunks. It also reads a body, or a chunk of any size, into memory at once;
``RequestBody`` reads as much as it is asked for. cheroot's reader is written in Python, and its
writer sends the head of a response by itself, which wakes the host twice.
"""

import contextlib
import errno
import io
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from cheroot.makefile import MakeFile, StreamWriter
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl import Adapter

from moby_plugins.domain.http import CHUNK_BYTES
from moby_plugins.domain.http_grammar import (
    BAD_REQUEST_LINE,
    CHUNK_SIZE,
    MAX_CHUNK_LINE,
    MAX_TRAILERS,
    REQUEST_HEADER,
    REQUEST_TARGET,
    Lines,
    read_headers,
)
from moby_plugins.domain.text import shown
from moby_plugins.failures import logger
from moby_plugins.ports import RunningCall

# Of a body that nobody read; what is longer ends the connection.
MAX_UNREAD_BYTES = 256 << 20
# Milliseconds that a thread stays with a connection whose request it has answered.
LINGER = 2
HUNG_UP = "the host hung up"


class RequestBody:
    """A request's body, read from the connection as it is asked for.

    A body that is cut off or badly chunked is an ``OSError``, and ends the connection.
    """

    def __init__(self, req: Any) -> None:
        self._req = req
        self._stream = req.conn.rfile
        self._chunked = bool(req.chunked_read)
        # What is in the head, in bytes; ``None`` for chunks.
        self.length: int | None = (
            None if self._chunked else int(req.inheaders.get(b"Content-Length", 0))
        )
        self._left = self.length or 0
        self._chunks_seen = 0

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, ``b""`` at the end."""
        if not (self._chunked or self._left):
            return b""
        conn = self._req.conn
        conn.waits_since = time.monotonic()
        try:
            return self._next(size)
        except Exception:
            self._req.close_connection = True
            raise
        finally:
            conn.waits_since = None

    def skip_rest(self) -> None:
        """Read to the end, or see to it that the connection ends here."""
        skipped = 0
        try:
            while data := self.read(CHUNK_BYTES):
                skipped += len(data)
                if skipped > MAX_UNREAD_BYTES:
                    raise OSError("nobody reads such a body")
        except OSError:
            self._req.close_connection = True

    def _next(self, size: int) -> bytes:
        if self._chunked and not self._left:
            self._left = self._next_chunk_size()
        if not self._left:
            return b""
        data: bytes = self._stream.read(min(size, self._left))
        if not data:
            raise OSError("it is cut off")
        self._left -= len(data)
        return data

    def _next_chunk_size(self) -> int:
        if self._chunks_seen and self._stream.readline(3) != b"\r\n":
            raise OSError("it is badly chunked")
        self._chunks_seen += 1
        line = CHUNK_SIZE.fullmatch(self._stream.readline(MAX_CHUNK_LINE))
        if line is None:
            raise OSError("it is badly chunked")
        size = int(line[1], 16)
        if not size:
            self._chunked = False
            self._skip_trailers()
        return size

    def _skip_trailers(self) -> None:
        for _ in range(MAX_TRAILERS + 1):
            line = self._stream.readline(MAX_CHUNK_LINE)
            if line == b"\r\n":
                return
            if not REQUEST_HEADER.fullmatch(line):
                break
        raise OSError("its trailers are cut off or too long")


class _Raw(socket.SocketIO):
    """The socket; while it is ``quiet`` it is not asked, and has nothing."""

    quiet = False

    def readinto(self, buffer: Any) -> int | None:
        return None if self.quiet else super().readinto(buffer)


class Reader(io.BufferedReader):
    """Requests, one after the other, as they come."""

    bytes_read = 0  # for statistics of cheroot's that nobody turns on

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        self._socket = _Raw(sock, "r")
        # What TLS has decrypted but not given yet, of which the kernel knows nothing.
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else lambda: 0
        super().__init__(self._socket, bufsize)

    def has_data(self) -> bool:
        """Whether the next request has come already, along with one that was read."""
        self._socket.quiet = True
        try:
            return bool(self.peek(1)) or self._pending() > 0
        finally:
            self._socket.quiet = False


class JoiningWriter(StreamWriter):
    """Sends the head of an answer in one piece with what comes first of its body."""

    held: list[bytes] | None = None

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        super().__init__(sock, "wb", bufsize)

    def joined(self) -> "_Joined":
        """What is written inside leaves at its end; where that raises, nothing leaves."""
        return _Joined(self)

    def write(self, val: Any, /) -> int:
        """Send, or keep."""
        if self.held is None:
            super().write(val)  # type: ignore[no-untyped-call]
        else:
            self.held.append(val)
        return len(val)


class _Joined:
    # A class, because a generator would take longer than what it holds together.
    def __init__(self, writer: JoiningWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        self._writer.held = []

    def __exit__(self, kind: object, *_: object) -> None:
        held, self._writer.held = self._writer.held, None
        if kind is None:
            self._writer.write(b"".join(held or ()))


class _RequestLines:
    """Request lines, of which cheroot would cut off what is around them.

    It would also take HTTP/1.-1 for a version, and answer the later ones with 505.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def readline(self) -> bytes:
        line = self._lines.readline()
        if BAD_REQUEST_LINE.search(line):
            raise ValueError("a control character, space around the line, or another version")
        return line


class StrictRequest(HTTPRequest):
    """A request whose head is read strictly."""

    def __init__(self, server: Any, conn: Any) -> None:
        # As a proxy cheroot takes addresses in absolute form, which every server must.
        super().__init__(server, conn, proxy_mode=True)

    def read_request_line(self) -> bool:
        """Read the line; false for one that was refused, with 400 where cheroot takes it."""
        lines = self.rfile
        self.rfile = _RequestLines(lines)
        try:
            if not super().read_request_line():  # type: ignore[no-untyped-call]
                return False
            # Of other methods than POST the address does not matter: they are refused anyway.
            known = bool(self.method != b"POST" or REQUEST_TARGET.match(self.uri))
        except ValueError:  # what is nowhere in one, or an address that cannot be taken apart
            known = False
        finally:
            self.rfile: Any = lines
        if not known:
            self.simple_response("400 Bad Request", "Malformed Request-Line")
        return known

    def header_reader(self, lines: Any, headers: dict[bytes, bytes]) -> None:
        """Read the headers; what raises ``ValueError`` is answered with 400."""
        read_headers(lines, headers)
        # cheroot would read past the body: chunks are younger than HTTP/1.0.
        if b"Transfer-Encoding" in headers and self.response_protocol != "HTTP/1.1":
            raise ValueError("Transfer-Encoding in HTTP/1.0")


class ConnectionCall(RunningCall):
    """A call that came over a connection; ``watched`` once the server has seen it run."""

    watched = False

    def __init__(self, method: str) -> None:
        self.method = method


class Connection(HTTPConnection):
    """A connection whose TLS handshake is its own thread's business.

    ``call`` is the call that its thread answers. Where the peer hangs up during one,
    ``hang_up`` closes the connection from another thread, unless its own is just reading or
    writing: then that closes it. ``hung_up_since`` tells when that was.
    """

    RequestHandlerClass = StrictRequest
    call: ConnectionCall | None = None
    hung_up_since: float | None = None
    _waits_since: float | None = None
    _closed = False
    _shake_hands: Callable[[], None] | None = None

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = MakeFile) -> None:
        super().__init__(server, sock, makefile)
        # cheroot puts caches there that refer to the connection: it would await the collector.
        del self.resolve_peer_creds, self.get_peer_creds
        # A host that only ends its sending has hung up on TCP, but not on a UNIX socket.
        # Linux alone tells of the former.
        is_unix = sock.family == getattr(socket, "AF_UNIX", None)
        self.hang_up_events: int = 0 if is_unix else getattr(select, "POLLRDHUP", 0)
        # Held while it is decided which thread closes the socket.
        self._lock = threading.Lock()
        self.rfile: Any = Reader(sock, self.rbufsize)
        self.wfile: Any = JoiningWriter(sock, self.wbufsize)
        self._next_request = select.poll()
        self._next_request.register(sock, select.POLLIN)
        if isinstance(sock, ssl.SSLSocket):
            self._shake_hands = sock.do_handshake
        server.opened(self)

    @property
    def waits_since(self) -> float | None:
        """Since when (monotonic) its thread waits for the peer to send or to read something.

        ``None`` while code of the plugin runs. Setting a time raises ``ConnectionResetError``
        once the peer has hung up.
        """
        return self._waits_since

    @waits_since.setter
    def waits_since(self, since: float | None) -> None:
        if self.call is None:  # then no other thread closes the connection
            self._waits_since = since
            return
        with self._lock:
            self._waits_since = since
            if self.hung_up_since is None:
                return
            self._waits_since = None
            self.close()
        if since is not None:
            raise ConnectionResetError(errno.ECONNRESET, HUNG_UP)

    def begin(self, method: str) -> ConnectionCall:
        """Begin a call, in which the peer may hang up."""
        self.call = ConnectionCall(method)
        return self.call

    def end(self) -> None:
        """End the call: from now on this thread alone closes the connection."""
        with self._lock:
            self.call = None

    def hang_up(self) -> None:
        """Have the running call know that the peer hung up, and close the connection.

        Does nothing between two calls: then its thread notices by itself.
        """
        with self._lock:
            if self.call is None or self.hung_up_since is not None:
                return
            self.hung_up_since = time.monotonic()
            self.call.hang_up()
            if self._waits_since is None:
                self.close()
            else:
                self._shut_down()

    def communicate(self) -> Any:
        """Serve the requests that follow close on each other; true where it can be kept."""
        self.waits_since = time.monotonic()
        try:
            if self._shake_hands is not None:
                self._shake_hands()
                self._shake_hands = None
            while super().communicate():  # type: ignore[no-untyped-call]
                self.waits_since = time.monotonic()
                if not self._goes_on():
                    return True
        except OSError as error:
            logger.info("a connection was lost: %s", shown(error))
        finally:
            self.waits_since = None
        return False

    def _goes_on(self) -> bool:
        # To hand the connection to another thread takes longer than most hosts need to call again.
        if self.server.requests.qsize or not self.server.ready:
            return False
        came = self.rfile.has_data() or self._next_request.poll(LINGER)
        return bool(came) and self.server.ready

    def close(self) -> None:
        """Close the socket; may be called twice."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            super().close()
        if not self.linger:
            # What the peer did not take is lost: said here, or else by the garbage collector.
            with contextlib.suppress(OSError):
                self.wfile.close()
        self.server.closed(self)

    def cut(self) -> None:
        """Break it off: a wait for the peer ends, and a call that runs is told."""
        with self._lock:
            if self.call is not None:
                self.call.hang_up()
            self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # where it has ended by itself
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class TLS(Adapter):
    """Sockets under ``context`` that shake hands when they are first read."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        """The listening socket stays as it is."""
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """An accepted socket, and what a WSGI application would be told of it: nobody asks."""
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        """The socket as a file."""
        return MakeFile(sock, mode, CHUNK_BYTES if bufsize < 0 else bufsize)
