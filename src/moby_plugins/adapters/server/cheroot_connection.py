"""A connection to a served plugin, as cheroot's threads serve it: one request after the other."""

import contextlib
import logging
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from cheroot.makefile import MakeFile
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl import Adapter

from moby_plugins.adapters.server.cheroot_files import JoiningWriter, Reader
from moby_plugins.adapters.server.request_headers import read_headers
from moby_plugins.domain.http import CHUNK_BYTES

logger = logging.getLogger("moby_plugins")

# Milliseconds that a thread stays with a connection whose request it has answered.
LINGER = 2

# cheroot would take "1.-1" and "1.0_1" for numbers too.
_PROTOCOLS = {b"HTTP/1.0", b"HTTP/1.1"}


class StrictRequest(HTTPRequest):
    """A request whose head is read strictly."""

    def read_request_line(self) -> bool:
        """Read the line; false for one that was refused, with 400 where cheroot takes it."""
        try:
            if not super().read_request_line():  # type: ignore[no-untyped-call]
                return False
            known = self.request_protocol in _PROTOCOLS
        except ValueError:  # an address that cannot be taken apart
            known = False
        if not known:
            self.simple_response("400 Bad Request", "Malformed Request-Line")
        return known

    def header_reader(self, lines: Any, headers: dict[bytes, bytes]) -> None:
        """Read the headers; what raises ``ValueError`` is answered with 400."""
        read_headers(lines, headers)
        # cheroot would read past the body: chunks are younger than HTTP/1.0.
        if b"Transfer-Encoding" in headers and self.response_protocol != "HTTP/1.1":
            raise ValueError("Transfer-Encoding in HTTP/1.0")


class Connection(HTTPConnection):
    """A connection whose TLS handshake is its own thread's business.

    ``waits_since`` tells, on the monotonic clock, since when its thread has been
    waiting for the peer to send or to read something; ``None`` while a call runs.
    """

    RequestHandlerClass = StrictRequest
    waits_since: float | None = None
    _shake_hands: Callable[[], None] | None = None

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = MakeFile) -> None:
        super().__init__(server, sock, makefile)
        self.rfile = Reader(sock, self.rbufsize)
        self.wfile = JoiningWriter(sock, self.wbufsize)
        self._next_request = select.poll()
        self._next_request.register(sock, select.POLLIN)
        if isinstance(sock, ssl.SSLSocket):
            self._shake_hands = sock.do_handshake
        server.opened(self)

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
            logger.info("a connection was lost: %s", error)
        finally:
            self.waits_since = None
            self.server.done(self)
        return False

    def _goes_on(self) -> bool:
        # To hand the connection to another thread takes longer than most hosts need to call again.
        if self.server.requests.qsize or not self.server.ready:
            return False
        came = self.rfile.has_data() or self._next_request.poll(LINGER)
        return bool(came) and self.server.ready

    def close(self) -> None:
        """Close the socket; may be called twice."""
        super().close()
        if not self.linger:
            # What the peer did not take is lost: said here, or else by the garbage collector.
            with contextlib.suppress(OSError):
                self.wfile.close()
        self.server.closed(self)

    def cut(self) -> None:
        """Break it off: whoever waits for the peer waits no longer."""
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
