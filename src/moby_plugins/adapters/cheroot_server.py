"""The HTTP server underneath a served plugin: cheroot, behind a socket that is given to it.

cheroot reads what is left of a body into memory at once, reads a whole chunk of
any size, shakes hands under TLS in the thread that accepts, and waits for ever
when it stops. ``RequestBody``, ``_Connection`` and ``CherootServer.stop`` bound these.
"""

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIApplication

from cheroot import wsgi
from cheroot.makefile import MakeFile
from cheroot.server import HTTPConnection
from cheroot.ssl import Adapter

from moby_plugins.adapters.request_body import RequestBody
from moby_plugins.domain.exchange import CHUNK_BYTES, USER_AGENT

logger = logging.getLogger("moby_plugins")

BACKLOG = 128
MIN_THREADS, MAX_THREADS = 8, 256
MAX_HEADER_BYTES = 64 << 10
IDLE_TIMEOUT = 60.0
# Seconds that calls have to notice that their connection was cut off.
CUT = 0.5
# Seconds between looks at whether to stop, at most.
TICK = 0.1


class CherootServer:
    """Serves ``application`` on ``sock``, which is bound and becomes the server's own.

    Under TLS where a ``context`` is given. A call or a stream has a thread of
    its own, up to ``MAX_THREADS``. A peer may be silent for ``idle`` seconds within
    a request or between two; an answer is read as slowly as it likes. To be
    started and stopped once.
    """

    def __init__(
        self,
        sock: socket.socket,
        application: WSGIApplication,
        context: ssl.SSLContext | None = None,
        *,
        idle: float = IDLE_TIMEOUT,
    ) -> None:
        self._sock = sock
        self._server = _Server(sock, application, context, idle)
        self._started = threading.Event()
        self._failure: OSError | None = None
        # Threads that are daemons make daemons: a call that hangs does not hold the process.
        self._thread = threading.Thread(target=self._serve, name="plugin server", daemon=True)

    def start(self) -> None:
        """Serve in threads; returns once connections are taken. Raises ``OSError``."""
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._sock.close()
            raise self._failure

    def stop(self, drain: float) -> None:
        """Take no more connections, give running calls ``drain`` seconds, then cut them off."""
        stopper = threading.Thread(target=self._server.stop, daemon=True)
        stopper.start()
        stopper.join(drain)
        if stopper.is_alive():
            self._server.cut()
            stopper.join(CUT)
        if stopper.is_alive():
            logger.warning("a call goes on although its connection was cut off")
        self._thread.join(CUT)

    def _serve(self) -> None:
        try:
            self._server.prepare()
        except OSError as error:
            self._failure = error
            return
        finally:
            self._started.set()
        self._server.serve()


class _Server(wsgi.Server):
    """cheroot's server on a socket of ours, with threads as they are needed."""

    expiration_interval = TICK
    max_request_header_size = MAX_HEADER_BYTES
    keep_alive_conn_limit = MAX_THREADS

    def __init__(
        self,
        sock: socket.socket,
        application: WSGIApplication,
        context: ssl.SSLContext | None,
        idle: float,
    ) -> None:
        name = sock.getsockname()
        super().__init__(
            name[:2] if isinstance(name, tuple) else name,
            application,
            numthreads=MIN_THREADS,
            max=MAX_THREADS,
            server_name=USER_AGENT,
            request_queue_size=BACKLOG,
        )
        self.timeout: Any = idle  # the stubs want whole seconds
        # Without a limit of its own it waits for its threads, and does no harm meanwhile.
        self.shutdown_timeout: Any = None
        self.gateway = _Gateway
        self.ConnectionClass = _Connection
        self.ssl_adapter = None if context is None else _TLS(context)
        self._given = sock
        self._lock = threading.Lock()
        self._busy: set[_Connection] = set()
        self._threads = MIN_THREADS

    def bind_unix_socket(self, _: Any) -> socket.socket:
        """The socket that was given, which is bound."""
        self.socket = self._given
        return self._given

    def bind(self, *_: Any) -> socket.socket:
        """The same for TCP."""
        self.socket = self._given
        return self._given

    def process_conn(self, conn: "_Connection") -> None:
        """Have a thread serve ``conn``: a new one where all are busy, for streams may not end."""
        with self._lock:
            self._busy.add(conn)
            if self._threads < min(len(self._busy), MAX_THREADS):
                with contextlib.suppress(RuntimeError):  # where there is no more thread to be had
                    self.requests.grow(1)
                    self._threads += 1
        super().process_conn(conn)

    def done(self, conn: "_Connection") -> None:
        """``conn`` needs no thread for now."""
        with self._lock:
            self._busy.discard(conn)

    def cut(self) -> None:
        """Break the connections of running calls off: their next write or read fails."""
        with self._lock:
            for conn in self._busy:
                with contextlib.suppress(OSError):  # where it has ended by itself
                    socket.socket.shutdown(conn.socket, socket.SHUT_RDWR)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: Any = None) -> None:
        """What cheroot has to say, in our log."""
        logger.log(level, "%s", msg, exc_info=traceback)


class _Connection(HTTPConnection):
    """A connection whose TLS handshake is its own thread's business."""

    _shake_hands: Callable[[], None] | None = None

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = MakeFile) -> None:
        super().__init__(server, sock, makefile)
        if isinstance(sock, ssl.SSLSocket):
            self._shake_hands = sock.do_handshake

    def communicate(self) -> Any:
        """Serve one request; true where the connection can be kept."""
        try:
            if self._shake_hands is not None:
                self._shake_hands()
                self._shake_hands = None
            return super().communicate()  # type: ignore[no-untyped-call]
        except OSError as error:
            logger.info("a connection was lost: %s", error)
            return False
        finally:
            self.server.done(self)


class _Gateway(wsgi.Gateway_10):
    """One request and its answer."""

    def __init__(self, req: Any) -> None:
        self._input = req.rfile = RequestBody(req)
        super().__init__(req)

    def respond(self) -> None:
        """Answer, then read what nobody read of the request, for the next one stands behind it."""
        super().respond()
        if not self.req.close_connection:
            self._input.skip_rest()

    def write(self, chunk: bytes) -> None:
        """Send a part of the answer, for as long as it takes: who follows a log may pause."""
        sock = self.req.conn.socket
        sock.settimeout(None)
        super().write(chunk)
        sock.settimeout(self.req.server.timeout)


class _TLS(Adapter):
    """Sockets under ``context`` that shake hands when they are first read."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        """The listening socket stays as it is."""
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """An accepted socket, and what to add to the environ."""
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        """What every request's environ says."""
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        """The socket as a file."""
        return MakeFile(sock, mode, CHUNK_BYTES if bufsize < 0 else bufsize)
