"""The HTTP server behind a served plugin: cheroot, on a socket that is given to it.

Each request passes through a ``Gateway`` to the app. By itself cheroot shakes hands under TLS in
the thread that accepts, and waits without end when it stops: ``Connection`` and
``CherootServer.stop`` bound both.
"""

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from cheroot import server

from moby_plugins.adapters.server.answering import answer, read_request
from moby_plugins.adapters.server.cheroot_connection import TLS, Connection, RequestBody
from moby_plugins.domain.errors import status_line
from moby_plugins.domain.http import USER_AGENT, App, Request
from moby_plugins.domain.text import sentence
from moby_plugins.failures import log_failed_call

logger = logging.getLogger("moby_plugins")
BACKLOG = 128
MIN_THREADS, MAX_THREADS = 8, 256
MAX_HEADER_BYTES = 64 << 10
IDLE_TIMEOUT = 60.0
# Seconds that calls have to notice that their connection was cut off.
CUT = 0.5
# Seconds between looks at whether to stop, at most.
TICK = 0.1


def gateway_to(app: App) -> Callable[[Any], "Gateway"]:
    """What ``CherootServer`` asks for: the gateway of each request, to ``app``."""
    return partial(Gateway, app)


class Gateway(server.Gateway):
    """One request, and the app's answer to it."""

    def __init__(self, app: App, req: Any) -> None:
        super().__init__(req)
        self._app = app
        self._input = req.rfile = RequestBody(req)

    def respond(self) -> None:
        """Answer, then read what nobody read of the request, for the next one stands behind it."""
        req = self.req
        req.conn.waits_since = None
        answered = answer(self._app, req.method.decode("latin-1"), self._request)
        try:
            req.status = status_line(answered.status).encode()
            req.outheaders += [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in answered.headers.items()
            ]
            for chunk in answered:
                self._write(chunk)
            req.ensure_headers_sent()
        finally:
            answered.close()
        if not req.close_connection:
            self._input.skip_rest()

    def _request(self) -> Request:
        req = self.req
        method = (req.path + b"?" + req.qs if req.qs else req.path).decode("latin-1")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in req.inheaders.items()
        }
        return read_request(method, headers, self._input.length, self._input)

    def _write(self, chunk: bytes) -> None:
        # For as long as it takes: who follows a log may pause.
        req, conn = self.req, self.req.conn
        conn.socket.settimeout(None)
        conn.waits_since = time.monotonic()
        with conn.wfile.joined():
            req.ensure_headers_sent()
            req.write(chunk)
        conn.waits_since = None
        conn.socket.settimeout(req.server.timeout)


class CherootServer:
    """Serves on ``sock``, which is bound and becomes the server's own, what ``gateway`` leads to.

    Under TLS where a ``context`` is given. A call or a stream has a thread of
    its own, up to ``MAX_THREADS``. A peer may be silent for ``idle`` seconds within
    a request or between two; an answer is read as slowly as it likes. Where all
    threads are taken, whoever has kept one waiting for longest makes room; calls
    that run are let run. To be started and stopped once.
    """

    def __init__(
        self,
        sock: socket.socket,
        gateway: Callable[[Any], server.Gateway],
        context: ssl.SSLContext | None = None,
        *,
        idle: float = IDLE_TIMEOUT,
    ) -> None:
        self._sock = sock
        self._server = _Server(sock, gateway, context, idle)
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


class _Server(server.HTTPServer):
    """cheroot's server on a socket of ours, with threads as they are needed."""

    expiration_interval = TICK
    max_request_header_size = MAX_HEADER_BYTES
    keep_alive_conn_limit = MAX_THREADS

    def __init__(
        self,
        sock: socket.socket,
        gateway: Callable[[Any], server.Gateway],
        context: ssl.SSLContext | None,
        idle: float,
    ) -> None:
        name = sock.getsockname()
        super().__init__(
            name[:2] if isinstance(name, tuple) else name,
            gateway,
            minthreads=MIN_THREADS,
            maxthreads=MAX_THREADS,
            server_name=USER_AGENT,
        )
        self.request_queue_size = BACKLOG
        self.timeout: Any = idle  # the stubs want whole seconds
        # Without a limit of its own it waits for its threads, and does no harm meanwhile.
        self.shutdown_timeout: Any = None
        self.ConnectionClass = Connection
        self.ssl_adapter = None if context is None else TLS(context)
        self._given = sock
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._busy: set[Connection] = set()
        self._threads = MIN_THREADS

    def bind_unix_socket(self, _: Any) -> socket.socket:
        """The socket that was given, which is bound."""
        self.socket = self._given
        return self._given

    def bind(self, *_: Any) -> socket.socket:
        """The same for TCP."""
        self.socket = self._given
        return self._given

    def process_conn(self, conn: "Connection") -> None:
        """Have a thread serve ``conn``: a new one where all are busy, for streams may not end."""
        with self._lock:
            self._busy.add(conn)
            if len(self._busy) > MAX_THREADS:
                self._make_room()
            if self._threads < min(len(self._busy), MAX_THREADS):
                with contextlib.suppress(RuntimeError):  # where there is no more thread to be had
                    self.requests.grow(1)
                    self._threads += 1
        super().process_conn(conn)

    def stop(self) -> None:
        """Stop as cheroot does, and close what it forgets: who came back to a stopping server."""
        super().stop()
        with self._lock:
            left = list(self._open)
        for conn in left:
            conn.close()

    def opened(self, conn: "Connection") -> None:
        """``conn`` was accepted, and is open until ``closed``."""
        with self._lock:
            self._open.add(conn)

    def closed(self, conn: "Connection") -> None:
        """``conn`` holds nothing any more."""
        with self._lock:
            self._open.discard(conn)

    def done(self, conn: "Connection") -> None:
        """``conn`` needs no thread for now."""
        with self._lock:
            self._busy.discard(conn)

    def cut(self) -> None:
        """Break the connections of running calls off: their next write or read fails."""
        with self._lock:
            for conn in self._busy:
                conn.cut()

    def _make_room(self) -> None:
        # A crowd of peers that are silent, slow or deaf must not keep others out.
        waits = {conn: conn.waits_since for conn in self._busy}
        slow = [(since, id(conn), conn) for conn, since in waits.items() if since is not None]
        if slow:
            conn = min(slow)[-1]
            self._busy.discard(conn)
            conn.cut()
            logger.info("a slow connection was cut off, for all threads are taken")

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: Any = None) -> None:
        """Log what cheroot reports; with ``traceback`` it does so while it handles an error."""
        error = sys.exception() if traceback else None
        if error is not None and level >= logging.ERROR:
            log_failed_call("serving a connection failed", error)
        else:
            logger.log(level, "%s", sentence(msg))
