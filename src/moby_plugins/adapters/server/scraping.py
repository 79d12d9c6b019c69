"""The HTTP server for scrapers: ``GET /metrics`` and ``GET /health``, and nothing else.

It answers at most ``MAX_AT_ONCE`` requests of each path at once, each within a time limit, so that
scrapers do not slow the plugin down. If a health check or a collector of the program never returns,
its client is cut off, and its path answers one request fewer at once from then on. Requests of one
path never keep out those of the other.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, TypeAlias

from moby_plugins.failures import log_failure

# The most requests of one path at once, and the most connections whose request is awaited.
MAX_AT_ONCE = 8
# The seconds after which a slow request is cut off.
TIMEOUT = 10.0
_TEXT = "text/plain; charset=utf-8"
# Returns the media type and the text of the metrics.
Exposition: TypeAlias = Callable[[], tuple[str, bytes]]


class ScrapingServer(ThreadingMixIn, TCPServer):
    """A threaded HTTP server on a socket that already listens.

    At most ``MAX_AT_ONCE`` connections wait for their request; for one more, the oldest of them is
    cut off. At most as many requests of one path are answered at once; one more gets status 503.
    ``concern`` returns why the plugin is not healthy, an empty string if it is.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, sock: Any, exposition: Exposition, concern: Callable[[], str]) -> None:
        super().__init__(sock.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.exposition = exposition
        self.concern = concern
        self.rooms: dict[str, threading.BoundedSemaphore] = {
            path: threading.BoundedSemaphore(MAX_AT_ONCE) for path in ("/metrics", "/health")
        }
        self._awaiting = threading.BoundedSemaphore(MAX_AT_ONCE)
        self._lock = threading.Lock()
        # The open connections, with the time at which each is cut off.
        self._open: dict[socket.socket, float] = {}
        # Those of them that have no place among the requests of a path yet, the oldest first.
        self._silent: dict[socket.socket, None] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection ``request`` in a thread.

        If too many connections wait for their request, close the oldest of them.
        """
        if not (self._awaiting.acquire(blocking=False) or self._make_room()):
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = time.monotonic() + TIMEOUT
            self._silent[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._forget(request)
            raise

    def received(self, request: Any) -> None:
        """Note that a connection no longer waits for its request, so that another may wait."""
        with self._lock:
            was_silent = request in self._silent
            self._silent.pop(request, None)
        if was_silent:
            self._awaiting.release()

    def service_actions(self) -> None:
        """Cut off slow requests; called a few times a second."""
        # The time-out of a socket does not stop a client that sends a byte now and then.
        now = time.monotonic()
        with self._lock:
            late = [request for request, ends in self._open.items() if ends <= now]
            for request in late:
                del self._open[request]
        for request in late:
            _cut(request)

    def server_close(self) -> None:
        """Stop listening, and cut off the running requests."""
        super().server_close()
        with self._lock:
            running = list(self._open)
        for request in running:
            _cut(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the request of one connection, and then admit another connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def handle_error(self, _: Any, __: Any) -> None:
        """Print no traceback on standard error: the connection was lost."""

    def _make_room(self) -> bool:
        with self._lock:
            oldest = next(iter(self._silent), None)
        if oldest is None:
            return False
        _cut(oldest)
        return self._awaiting.acquire(timeout=1.0)  # its thread ends now

    def _forget(self, request: socket.socket) -> None:
        self.received(request)
        with self._lock:
            self._open.pop(request, None)


def _cut(request: socket.socket) -> None:
    with suppress(OSError):  # already closed
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """A handler of one request, after which the connection is closed."""

    server: ScrapingServer
    server_version = "moby-plugins"
    sys_version = ""

    def do_GET(self) -> None:
        """Respond to ``/metrics`` and ``/health``."""
        path = self.path.partition("?")[0]
        room = self.server.rooms.get(path)
        if "Origin" in self.headers:
            self._answer(HTTPStatus.FORBIDDEN, _TEXT, b"not for web pages\n")
        elif room is None:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"there are /metrics and /health\n")
        elif room.acquire(blocking=False):
            self.server.received(self.request)
            try:
                self._metrics() if path == "/metrics" else self._health()
            finally:
                room.release()
        else:
            busy = f"{MAX_AT_ONCE} requests of {path} are being answered already\n"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, busy.encode())

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, *_: Any, **__: Any) -> None:
        """Respond in plain text to a request that is malformed, or is neither GET nor HEAD."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # for any other verb
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._answer(status, _TEXT, f"{status.phrase}\n".encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, as scrapers send requests all the time."""

    def _metrics(self) -> None:
        try:
            media_type, text = self.server.exposition()
        except BaseException as error:  # raised by a collector of the program
            log_failure("the metrics could not be collected", error)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, b"no metrics: see the log\n")
        else:
            self._answer(HTTPStatus.OK, media_type, text)

    def _health(self) -> None:
        concern = self.server.concern()
        status = HTTPStatus.SERVICE_UNAVAILABLE if concern else HTTPStatus.OK
        self._answer(status, _TEXT, f"{concern or 'ok'}\n".encode())

    def _answer(self, status: HTTPStatus, media_type: str, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(text)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        with suppress(OSError):
            if self.command != "HEAD":
                self.wfile.write(text)
