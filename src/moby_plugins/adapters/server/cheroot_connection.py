"""A connection to a served plugin, from which the threads of ``Workers`` read requests.

Heads are read strictly, so that a proxy and this server always agree where a request ends.
cheroot by itself accepts a space before the colon, lets a folded line replace the value before
it, takes the last of two lengths, accepts as a length everything that ``int()`` accepts, and
ignores a length beside chunks. It also reads a body, or a chunk of any size, into memory at once;
``RequestBody`` reads only as much as requested. cheroot's reader is slow, being written in Python,
and its writer sends the head of a response separately, which wakes the host twice.
"""

import contextlib
import errno
import io
import logging
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
    CHUNK_SIZE,
    CODING_IN_1_0,
    MAX_CHUNK_LINE,
    NO_REQUEST_LINE,
    REQUEST_LINE,
    REQUEST_TARGET,
    Lines,
    Trailers,
    read_headers,
)
from moby_plugins.domain.text import shown
from moby_plugins.failures import log_line
from moby_plugins.ports import RunningCall

# Bytes of an unread body that are skipped; a longer body closes the connection.
MAX_UNREAD_BYTES = 256 << 20
# Milliseconds that a thread waits for the next request after a response.
LINGER = 2
HUNG_UP = "the host hung up"


class RequestBody:
    """A request's body, read from the connection on demand.

    A body that is cut off or badly chunked raises ``OSError``, and ends the connection.
    """

    def __init__(self, req: Any) -> None:
        self._req = req
        self._stream = req.conn.rfile
        self._chunked = bool(req.chunked_read)
        # The Content-Length, 0 without one; ``None`` for chunks.
        self.length: int | None = (
            None if self._chunked else int(req.inheaders.get(b"Content-Length", 0))
        )
        self._left = self.length or 0
        self._chunks_seen = 0

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, ``b""`` at the end of the body."""
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
        """Read to the end of the body; close the connection if that fails or it is too large."""
        skipped = 0
        try:
            while data := self.read(CHUNK_BYTES):
                skipped += len(data)
                if skipped > MAX_UNREAD_BYTES:
                    raise OSError("the unread rest of the body is too large")
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
        trailers = Trailers()
        try:
            while not trailers.ended_by(self._stream.readline(MAX_CHUNK_LINE)):
                pass
        except ValueError as error:
            raise OSError("its trailers are cut off or too long") from error


class _Raw(socket.SocketIO):
    """The socket's raw stream; while ``quiet`` is set, it acts as if nothing was received."""

    quiet = False

    def readinto(self, buffer: Any) -> int | None:
        return None if self.quiet else super().readinto(buffer)


class Reader(io.BufferedReader):
    """A buffered reader of the requests of one connection."""

    bytes_read = 0  # for cheroot's statistics, which are off

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        self._socket = _Raw(sock, "r")
        # Bytes that TLS has decrypted but not returned yet, which polling does not show.
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else lambda: 0
        super().__init__(self._socket, bufsize)

    def has_data(self) -> bool:
        """Return whether bytes of the next request are already buffered."""
        self._socket.quiet = True
        try:
            return bool(self.peek(1)) or self._pending() > 0
        finally:
            self._socket.quiet = False


class JoiningWriter(StreamWriter):
    """A writer that sends the head of a response together with the first chunk of its body."""

    held: list[bytes] | None = None

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        super().__init__(sock, "wb", bufsize)

    def joined(self) -> "_Joined":
        """Return a context that keeps all writes, and sends them as one at its end.

        If its block raises, they are not sent.
        """
        return _Joined(self)

    def write(self, val: Any, /) -> int:
        """Send ``val``, or keep it while writes are joined."""
        if self.held is None:
            super().write(val)  # type: ignore[no-untyped-call]
        else:
            self.held.append(val)
        return len(val)


class _Joined:
    # A class, because a context manager from a generator is slower than the writes it joins.
    def __init__(self, writer: JoiningWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        self._writer.held = []

    def __exit__(self, kind: object, *_: object) -> None:
        held, self._writer.held = self._writer.held, None
        if kind is None:
            self._writer.write(b"".join(held or ()))


class _RequestLines:
    """A file of request lines that are checked before cheroot strips white space from them.

    cheroot would also accept HTTP/1.-1 as a version, and answer later versions with 505.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def readline(self) -> bytes:
        line = self._lines.readline()
        # cheroot skips one empty line before a request.
        if line not in {b"", b"\r\n"} and not REQUEST_LINE.fullmatch(line):
            raise ValueError(NO_REQUEST_LINE)
        return line


class StrictRequest(HTTPRequest):
    """A cheroot request whose head is read strictly."""

    def __init__(self, server: Any, conn: Any) -> None:
        # In proxy mode cheroot accepts targets in absolute form, as every server must.
        super().__init__(server, conn, proxy_mode=True)

    def read_request_line(self) -> bool:
        """Read the request line; answer a bad one with 400 and return false."""
        lines = self.rfile
        self.rfile = _RequestLines(lines)
        try:
            if not super().read_request_line():  # type: ignore[no-untyped-call]
                return False
            # The target only matters for POST: other methods are refused anyway.
            known = bool(self.method != b"POST" or REQUEST_TARGET.match(self.uri))
        except ValueError:  # a bad line, or a target that cannot be parsed
            known = False
        finally:
            self.rfile: Any = lines
        if not known:
            self.simple_response("400 Bad Request", "Malformed Request-Line")
        return known

    def header_reader(self, lines: Any, headers: dict[bytes, bytes]) -> None:
        """Read the headers into ``headers``; cheroot answers a ``ValueError`` with 400."""
        read_headers(lines, headers)
        if b"Connection" in headers:  # cheroot knows neither a list nor another case
            options = {option.strip() for option in headers[b"Connection"].lower().split(b",")}
            if b"close" in options:
                headers[b"Connection"] = b"close"
            elif b"keep-alive" in options:
                headers[b"Connection"] = b"Keep-Alive"
        # HTTP/1.0 has no chunks, so cheroot would read past the body.
        if b"Transfer-Encoding" in headers and self.response_protocol != "HTTP/1.1":
            raise ValueError(CODING_IN_1_0)


class ServerConnectionCall(RunningCall):
    """A running call over a connection; ``watched`` is true once ``Workers.look`` has seen it."""

    watched = False

    def __init__(self, method: str) -> None:
        self.method = method


class ServerConnection(HTTPConnection):
    """A connection whose TLS handshake is done in the thread that serves it.

    ``call`` is the call that this thread is answering. If the peer hangs up during a call,
    ``hang_up`` closes the connection from another thread; if the connection's own thread is reading
    or writing, that thread closes the connection. ``hung_up_since`` is the time of ``hang_up``.
    """

    RequestHandlerClass = StrictRequest
    call: ServerConnectionCall | None = None
    hung_up_since: float | None = None
    _waits_since: float | None = None
    _closed = False
    _shake_hands: Callable[[], None] | None = None

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = MakeFile) -> None:
        super().__init__(server, sock, makefile)
        # Caches of cheroot that refer to the connection: only the collector would free it.
        del self.resolve_peer_creds, self.get_peer_creds
        # A peer that has only shut down its sending counts as hung up on TCP, but not on a UNIX
        # socket. Only Linux reports this, as POLLRDHUP.
        is_unix = sock.family == getattr(socket, "AF_UNIX", None)
        self.hang_up_events: int = 0 if is_unix else getattr(select, "POLLRDHUP", 0)
        # Guards the decision which thread closes the socket.
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
        """The monotonic time since which the connection waits for its peer to send or to read.

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

    def begin(self, method: str) -> ServerConnectionCall:
        """Begin a call of ``method`` and return it; it is this connection's call until ``end``.

        Until then, ``hang_up``, which other threads may call, marks the call as hung up.
        """
        self.call = ServerConnectionCall(method)
        return self.call

    def end(self) -> None:
        """End the call; from now on, only this thread closes the connection."""
        with self._lock:
            self.call = None

    def hang_up(self) -> None:
        """Mark the running call as hung up, and close the connection.

        Does nothing between two calls: the connection's own thread notices a hang-up by reading.
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

    def look(self) -> None:
        """Mark the running call as hung up if the peer has hung up.

        The connection stays open, so that a response can still be sent.
        """
        with self._lock:
            if self.call is None or self.call.has_hung_up:
                return
            poll = select.poll()
            poll.register(self.socket, self.hang_up_events)
            if poll.poll(0):
                self.call.hang_up()

    def communicate(self) -> Any:
        """Serve requests that follow each other quickly; return whether to keep the connection."""
        self.waits_since = time.monotonic()
        try:
            if self._shake_hands is not None:
                self._shake_hands()
                self._shake_hands = None
            while super().communicate():  # type: ignore[no-untyped-call]
                self.waits_since = time.monotonic()
                if not self._has_next_request():
                    return True
        except OSError as error:
            log_line(logging.INFO, "a connection was lost: %s", shown(error))
        finally:
            self.waits_since = None
        return False

    def _has_next_request(self) -> bool:
        # Passing the connection to another thread takes longer than most hosts wait between calls.
        if self.server.requests.qsize or not self.server.ready:
            return False
        is_readable = self.rfile.has_data() or self._next_request.poll(LINGER)
        return bool(is_readable) and self.server.ready

    def close(self) -> None:
        """Close the socket; may be called twice."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            super().close()
        if not self.linger:
            # Flushing here raises if the peer did not read everything; else the collector warns.
            with contextlib.suppress(OSError):
                self.wfile.close()
        self.server.closed(self)

    def cut(self) -> None:
        """Cut the connection off: end waiting for the peer, and mark a running call as cut off."""
        with self._lock:
            if self.call is not None:
                self.call.cut_off()
            self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # the connection has already ended
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class TLS(Adapter):
    """An adapter for cheroot whose sockets do the TLS handshake on their first read."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        """Return the listening socket unchanged."""
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """Return an accepted socket under TLS, and an empty WSGI environment."""
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        """Return an empty WSGI environment, which is not used."""
        return {}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        """Return the socket as a file."""
        return MakeFile(sock, mode, CHUNK_BYTES if bufsize < 0 else bufsize)
