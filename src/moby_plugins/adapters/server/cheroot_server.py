"""The HTTP server behind a served plugin: cheroot, on a socket that is given to it.

Each request passes through a ``Gateway`` to the app. By itself cheroot shakes hands under TLS in
the thread that accepts, waits without end when it stops, goes on for ever with a socket that
listens no more, and ends all of itself for a ``SystemExit`` out of an app: ``Connection``,
``Workers`` and ``CherootServer`` mend that.
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
    Held,
    InFlight,
    answer,
    read_request,
    refuse_origin,
)
from moby_plugins.adapters.server.cheroot_connection import HUNG_UP, TLS, Connection, RequestBody
from moby_plugins.adapters.server.workers import MAX_THREADS, MIN_THREADS, Workers
from moby_plugins.domain.errors import error_text, status_line
from moby_plugins.domain.http import USER_AGENT, App, NoAnswerError, Request
from moby_plugins.domain.text import sentence
from moby_plugins.failures import log_failed_call, log_failure, logger

BACKLOG = 128
MAX_HEADER_BYTES = 64 << 10
IDLE_TIMEOUT = 60.0
# Seconds that calls have to notice that their connection was cut off.
CUT = 0.5
# Seconds between looks at whether to stop, at most.
TICK = 0.1
# Seconds between looks at whether hosts have hung up; a call is looked at from the second on.
LOOK = 0.25

# What the selector raises once its descriptor is closed or is another's.
_ENDED = {errno.EBADF, errno.EINVAL}
# What a path must not hold, percent-encoded or not.
_ODD_PATH = re.compile(rb"[\x00-\x1f\x7f-\xff]")
# The beginning of an address in absolute form.
_AUTHORITY = re.compile(rb"\Ahttps?://[^/?#]+", re.IGNORECASE)

# Told how the serving ended: by an error, or otherwise.
OnEnd: TypeAlias = Callable[[BaseException | None], object]


def gateway_to(app: App, inflight: InFlight | None = None) -> Callable[[Any], "Gateway"]:
    """What ``CherootServer`` asks for: the gateway of each request, to ``app``.

    ``inflight`` bounds what its requests keep in memory.
    """
    return partial(Gateway, app, InFlight() if inflight is None else inflight)


class Gateway(server.Gateway):
    """One request, and the app's answer to it."""

    def __init__(self, app: App, inflight: InFlight, req: Any) -> None:
        super().__init__(req)
        self._app = app
        self._held = Held(inflight)
        self._input = RequestBody(req)
        # cheroot would read the rest of a body of its own; and ours refers to the request.
        req.rfile = None

    def respond(self) -> None:
        """Answer, then read what nobody read of the request, for the next one stands behind it."""
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
            # Before the rest is read, for which a host may take its time.
            self._held.release()
        if conn.hung_up_since is not None:
            raise NoAnswerError(HUNG_UP)
        if not req.close_connection:
            self._input.skip_rest()

    def _next(self, chunks: Iterator[bytes]) -> bytes:
        try:
            return next(chunks, b"")
        except Exception as error:
            # It was logged. cheroot would take an OSError of the app for one of the connection.
            raise NoAnswerError(error_text(error)) from error

    def _request(self) -> Request:
        req = self.req
        if _ODD_PATH.search(req.path):
            raise ValueError("a method is made of printable ASCII characters")
        method = _as_it_came(req).decode("latin-1")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in req.inheaders.items()
        }
        if req.conn.socket.family != getattr(socket, "AF_UNIX", None):
            refuse_origin(headers, method)
        return read_request(method, headers, self._input.length, self._input, self._held)

    def _write(self, chunk: bytes) -> None:
        # For as long as it takes: who follows a log may pause.
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
    """Return path and query as the host sent them: cheroot decodes the path."""
    return _AUTHORITY.sub(b"", bytes(req.uri), count=1)


class CherootServer:
    """Serves on ``sock``, which is bound and becomes the server's own, what ``gateway`` leads to.

    Under TLS where a ``context`` is given. A call or a stream has a thread of
    its own, up to ``MAX_THREADS``, and loses its place when its host hangs up. A peer
    may be silent for ``idle`` seconds within a request or between two; an answer is read
    as slowly as it likes. Where all threads are taken, the connection that has waited for
    its peer for longest makes room; calls that run are let run. To be started and stopped
    once. ``on_end`` is called when the serving has ended, for whatever reason, in the thread
    that served.
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
        # Threads that are daemons make daemons: a call that hangs does not hold the process.
        self._thread = threading.Thread(target=self._serve, name="plugin server", daemon=True)

    def start(self) -> None:
        """Serve in threads; returns once connections are taken.

        Raises ``OSError``, or ``RuntimeError`` where there is no thread to be had.
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
        """Take no more connections, give running calls ``drain`` seconds, then cut them off."""
        stopper = threading.Thread(target=self._server.stop, daemon=True)
        stopper.start()
        stopper.join(drain)
        if stopper.is_alive():
            self._server.requests.cut()
            stopper.join(CUT)
        if stopper.is_alive():
            logger.warning("a call goes on although its connection was cut off")
        if self._thread.is_alive():
            self._thread.join(CUT)

    def _serve(self) -> None:
        try:
            self._server.prepare()
        except BaseException as error:  # for the thread that starts it
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
    """cheroot's server on a socket of ours, with threads as they are needed."""

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
        self.ConnectionClass = Connection
        self.ssl_adapter = None if context is None else TLS(context)
        self._given = sock
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._inode = os.fstat(sock.fileno())
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="plugin watcher", daemon=True)

    def bind_unix_socket(self, _: Any) -> socket.socket:
        """The socket that was given, which is bound."""
        self.socket = self._given
        return self._given

    def bind(self, *_: Any) -> socket.socket:
        """The same for TCP."""
        self.socket = self._given
        return self._given

    def clear_stats(self) -> None:
        """Keep no statistics: cheroot's refer to the server for as long as the process lives."""
        self._start_time: float | None = None
        self._run_time = 0.0
        self.stats: dict[str, Any] = {"Enabled": False}

    def serve(self) -> None:
        """Serve until stopped; raises ``OSError`` once the socket listens no more."""
        self._watcher.start()
        while self.ready and self._listens():
            try:
                self._connections.run(self.expiration_interval)
            except Exception as error:
                log_failure("taking connections failed", error)
                if isinstance(error, ValueError) or getattr(error, "errno", 0) in _ENDED:
                    raise  # its selector was closed, by code of the plugin for example
                time.sleep(TICK)
        if self.ready:
            raise OSError("its socket listens no more")

    def stop(self) -> None:
        """Take no more connections, and return when those that there are have been served."""
        if not self.ready:
            return
        self.ready = False
        self._connections.stop()
        if self._is_there():
            self.socket.close()
        else:
            # Its descriptor may be another's by now.
            self.socket.detach()
        self._connections.close()
        self.requests.stop()
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()
        with self._lock:
            left = list(self._open)
        # Those that cheroot forgets: they came back to a server that was stopping.
        for conn in left:
            conn.close()

    def _watch(self) -> None:
        # Goes on while the server drains: calls whose hosts have gone end all the sooner.
        while not self._over.wait(LOOK):
            try:
                self.requests.look(time.monotonic())
                if self.ready and not self._listens():
                    self._connections.stop()
            except BaseException as error:  # out of a handler of the log
                log_failure("looking after connections failed", error)

    def _is_there(self) -> bool:
        # Whether its descriptor still is this socket.
        try:
            return os.path.samestat(os.fstat(self._given.fileno()), self._inode)
        except OSError:
            return False

    def _listens(self) -> bool:
        if not self._is_there():
            return False
        poll = select.poll()
        poll.register(self._given, getattr(select, "POLLRDHUP", 0))  # on Linux alone
        try:
            listens = self._given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            return False
        return bool(listens) and not poll.poll(0)  # polled, it tells that it was shut down

    def opened(self, conn: "Connection") -> None:
        """``conn`` was accepted, and is open until ``closed``."""
        with self._lock:
            self._open.add(conn)

    def closed(self, conn: "Connection") -> None:
        """``conn`` holds nothing any more."""
        with self._lock:
            self._open.discard(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: Any = None) -> None:
        """Log what cheroot reports; with ``traceback`` it does so while it handles an error."""
        error = sys.exception() if traceback else None
        if error is not None and level >= logging.ERROR:
            log_failed_call("serving a connection failed", error)
        else:
            logger.log(level, "%s", sentence(msg))
