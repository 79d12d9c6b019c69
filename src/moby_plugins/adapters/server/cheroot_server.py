"""The HTTP server behind a served plugin: cheroot, on a given socket.

Each request passes through a ``Gateway`` to the app. cheroot by itself does the TLS handshake in
the thread that accepts, waits without limit when it stops, loops for ever on a socket that no
longer listens, and exits on a ``SystemExit`` out of an app: ``ServerConnection``, ``Workers`` and
``CherootServer`` prevent that.
"""

import errno
import logging
import os
import re
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from cheroot import server

from moby_plugins.adapters.server.answering import (
    STOPPED_LISTENING,
    Held,
    InFlight,
    answer,
    read_request,
    refuse_origin,
)
from moby_plugins.adapters.server.cheroot_connection import (
    HUNG_UP,
    TLS,
    RequestBody,
    ServerConnection,
)
from moby_plugins.adapters.server.workers import MAX_THREADS, MIN_THREADS, Workers
from moby_plugins.domain.errors import error_text, status_line
from moby_plugins.domain.http import USER_AGENT, App, NoAnswerError, Request
from moby_plugins.domain.text import sentence
from moby_plugins.failures import log_failed_call, log_failure, log_line, logger

BACKLOG = 128
MAX_HEADER_BYTES = 64 << 10
IDLE_TIMEOUT = 60.0
# Seconds for calls to notice that their connection was cut off.
CUT = 0.5
# Seconds that calls take to end before it is said that they are waited for.
TOLD = 1.0
# The most seconds between checks whether to stop.
TICK = 0.1
# Seconds between checks for hosts that hung up; a call is checked from its second one on.
LOOK = 0.25

# Errors of a selector whose descriptor was closed or reused.
_ENDED = {errno.EBADF, errno.EINVAL}
# Bytes that a path must not contain, percent-encoded or not.
_ODD_PATH = re.compile(rb"[\x00-\x1f\x7f-\xff]")
# The beginning of a target in absolute form.
_AUTHORITY = re.compile(rb"\Ahttps?://[^/?#]+", re.IGNORECASE)

# Called when serving has ended, with the error if there was one.
OnEnd: TypeAlias = Callable[[BaseException | None], object]


def gateway_to(app: App, inflight: InFlight | None = None) -> Callable[[Any], "Gateway"]:
    """Return a function that makes the ``Gateway`` for each request to ``app``.

    Pass the function to ``CherootServer`` as ``gateway``. ``inflight`` bounds the memory of all
    requests together; ``None`` makes a bound for this app alone.
    """
    return partial(Gateway, app, InFlight() if inflight is None else inflight)


class Gateway(server.Gateway):
    """A handler of one request for cheroot: ``respond`` sends the app's response to it.

    It is also the stream from which the request's body is read, with ``read``.
    """

    def __init__(self, app: App, inflight: InFlight, req: Any) -> None:
        super().__init__(req)
        self._app = app
        self._held = Held(inflight)
        self._input = RequestBody(req)
        # cheroot would read the rest of the body by itself, and ``_input`` refers to the request.
        req.rfile = None

    def respond(self) -> None:
        """Send the response, then skip what is unread of this request, to reach the next one."""
        req, conn = self.req, self.req.conn
        conn.waits_since = None
        call = conn.begin(req.path.decode("latin-1").removeprefix("/"))
        try:
            answered = answer(self._app, req.method.decode("latin-1"), self._request, call)
            try:
                req.status = status_line(answered.status).encode()
                req.outheaders += [
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in answered.headers.items()
                ]
                chunks = iter(answered)
                while chunk := self._next(chunks):
                    self._write(chunk)
                if not req.sent_headers:
                    self._write(b"")
            finally:
                answered.close()
        finally:
            conn.end()
            # Released before the rest is read, which may take as long as the host likes.
            self._held.release()
        if conn.hung_up_since is not None:
            raise NoAnswerError(HUNG_UP)
        if not req.close_connection:
            self._input.skip_rest()

    def _next(self, chunks: Iterator[bytes]) -> bytes:
        try:
            return next(chunks, b"")
        except Exception as error:
            # Already logged. cheroot would take an OSError of the app for one of the connection.
            raise NoAnswerError(error_text(error)) from error

    def _request(self) -> Request:
        req = self.req
        if _ODD_PATH.search(req.path):
            raise ValueError("the target's path has characters other than printable ASCII")
        method = _as_it_came(req).decode("latin-1")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in req.inheaders.items()
        }
        if req.conn.socket.family != getattr(socket, "AF_UNIX", None):
            refuse_origin(headers, method)
        return read_request(method, headers, self._input.length, self, self._held)

    def read(self, size: int, /) -> bytes:
        """Return the next bytes of the request's body; if that fails, look for a hang-up."""
        try:
            return self._input.read(size)
        except Exception:
            self.req.conn.look()
            raise

    def _write(self, chunk: bytes) -> None:
        # Without a time limit: the reader of a log stream may pause.
        req, conn = self.req, self.req.conn
        conn.waits_since = time.monotonic()
        try:
            conn.socket.settimeout(None)
            with conn.wfile.joined():
                req.ensure_headers_sent()
                if chunk:
                    req.write(chunk)
            conn.socket.settimeout(req.server.timeout)
        finally:
            conn.waits_since = None


def _as_it_came(req: Any) -> bytes:
    """Return path and query as the host sent them, since cheroot decodes the path."""
    return _AUTHORITY.sub(b"", bytes(req.uri), count=1)


class CherootServer:
    """A server of ``gateway`` on ``sock``, which must be bound and which it then owns.

    With a ``context`` it serves TLS. Each call or stream has its own thread; at most
    ``MAX_THREADS`` run, besides those of calls whose hosts hung up. A peer may be silent for
    ``idle`` seconds within a request or between two, but may read a response as slowly as it likes.
    If all threads are busy, the connection that has waited longest for its peer to send or to read
    is closed; a call that does not wait for its peer is never interrupted for this. Start and stop
    the server once. ``on_end`` is called in the serving thread when serving has ended, for any
    reason.
    """

    def __init__(
        self,
        sock: socket.socket,
        gateway: Callable[[Any], server.Gateway],
        context: ssl.SSLContext | None = None,
        *,
        idle: float = IDLE_TIMEOUT,
        on_end: OnEnd = lambda _: None,
    ) -> None:
        self._sock = sock
        self._on_end = on_end
        self._server = _Server(sock, gateway, context, idle)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._is_cut = False
        # Workers inherit the daemon flag, so that a hung call does not block exit.
        self._thread = threading.Thread(target=self._serve, name="plugin server", daemon=True)

    def start(self) -> None:
        """Start to serve in threads; return once connections are accepted.

        Raises ``OSError``, or ``RuntimeError`` if no thread can be started.
        """
        try:
            self._thread.start()
            self._started.wait()
            if self._failure is not None:
                raise self._failure
        except BaseException:
            self._sock.close()
            raise

    def stop(self, drain: float) -> None:
        """Accept no more connections; cut off calls that still run after ``drain`` seconds."""
        stopper = threading.Thread(target=self._server.stop, daemon=True)
        stopper.start()
        self._join(stopper, min(drain, TOLD))
        if stopper.is_alive() and drain > TOLD and not self._is_cut:
            log_line(logging.INFO, "calls are still running: they have %g s to end", drain - TOLD)
            self._join(stopper, drain - TOLD)
        if stopper.is_alive():
            self._server.requests.cut()
            stopper.join(CUT)
        if stopper.is_alive():
            log_line(logging.WARNING, "a call is still running although its connection was closed")
        if self._thread.is_alive():
            self._thread.join(CUT)

    def cut(self) -> None:
        """Make ``stop``, which another thread has called, cut off running calls now."""
        self._is_cut = True  # and nothing else, as a signal handler may call this

    def _join(self, stopper: threading.Thread, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while stopper.is_alive() and not self._is_cut and (left := ends - time.monotonic()) > 0:
            stopper.join(min(left, TICK))

    def _serve(self) -> None:
        try:
            self._server.prepare()
        except BaseException as error:  # raised again by ``start``
            self._failure = error
            return
        finally:
            self._started.set()
        failure: BaseException | None = None
        try:
            self._server.serve()
        except BaseException as error:
            failure = error
        self._on_end(failure)


class _Server(server.HTTPServer):
    """cheroot's server on a given socket, with ``Workers`` as its threads."""

    expiration_interval = TICK
    max_request_header_size = MAX_HEADER_BYTES
    keep_alive_conn_limit = MAX_THREADS
    _connections: Any

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
        self.requests = Workers()
        self.request_queue_size = BACKLOG
        self.timeout: Any = idle  # the stubs want whole seconds
        self.ConnectionClass = ServerConnection
        self.ssl_adapter = None if context is None else TLS(context)
        self._listening_socket = sock
        self._lock = threading.Lock()
        self._open: set[ServerConnection] = set()
        self._inode = os.fstat(sock.fileno())
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="plugin watcher", daemon=True)

    def bind_unix_socket(self, _: Any) -> socket.socket:
        """Return the given socket, which is already bound."""
        self.socket = self._listening_socket
        return self._listening_socket

    def bind(self, *_: Any) -> socket.socket:
        """Return the given socket, which is already bound."""
        self.socket = self._listening_socket
        return self._listening_socket

    def clear_stats(self) -> None:
        """Disable cheroot's statistics, which would keep the server in memory until exit."""
        self._start_time: float | None = None
        self._run_time = 0.0
        self.stats: dict[str, Any] = {"Enabled": False}

    def serve(self) -> None:
        """Serve until stopped; raise ``OSError`` once the socket no longer listens."""
        self._watcher.start()
        while self.ready and self._listens():
            try:
                self._connections.run(self.expiration_interval)
            except Exception as error:
                log_failure("accepting connections failed", error)
                if isinstance(error, ValueError) or getattr(error, "errno", 0) in _ENDED:
                    raise  # the selector was closed, for example by code of the plugin
                time.sleep(TICK)
        if self.ready:
            raise OSError(STOPPED_LISTENING)

    def stop(self) -> None:
        """Accept no more connections, and return when all current ones have been served."""
        if not self.ready:
            return
        self.ready = False
        self._connections.stop()
        if self._is_there():
            self.socket.close()
        else:
            # The descriptor may have been closed and reused.
            self.socket.detach()
        self._connections.close()
        self.requests.stop()
        self._stopped.set()
        if self._watcher.is_alive():
            self._watcher.join()
        with self._lock:
            left = list(self._open)
        # Connections that cheroot does not close, as they were returned while it was stopping.
        for conn in left:
            conn.close()

    def _watch(self) -> None:
        # Continues while the server drains, so that calls whose hosts hung up end sooner.
        while not self._stopped.wait(LOOK):
            try:
                self.requests.look(time.monotonic())
                if self.ready and not self._listens():
                    self._connections.stop()
            except BaseException as error:  # raised by a log handler
                log_failure("checking the connections failed", error)

    def _is_there(self) -> bool:
        # Return whether the descriptor still refers to this socket.
        try:
            return os.path.samestat(os.fstat(self._listening_socket.fileno()), self._inode)
        except OSError:
            return False

    def _listens(self) -> bool:
        if not self._is_there():
            return False
        poll = select.poll()
        poll.register(self._listening_socket, getattr(select, "POLLRDHUP", 0))  # only on Linux
        try:
            listens = self._listening_socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            return False
        return bool(listens) and not poll.poll(0)  # polling shows a shutdown

    def opened(self, conn: "ServerConnection") -> None:
        """Note that ``conn`` was accepted; it is open until ``closed`` is called."""
        with self._lock:
            self._open.add(conn)

    def closed(self, conn: "ServerConnection") -> None:
        """Note that ``conn`` was closed."""
        with self._lock:
            self._open.discard(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: Any = None) -> None:
        """Log a message of cheroot, or the error being handled if ``traceback`` is set."""
        error = sys.exception() if traceback else None
        if error is not None and level >= logging.ERROR:
            log_failed_call("serving a connection failed", error)
        else:
            logger.log(level, "%s", sentence(msg))
