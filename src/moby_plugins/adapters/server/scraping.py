"""The HTTP server for scrapers: ``GET /metrics`` and ``GET /health``, and nothing else.

It answers only a few requests at once, each within a time limit, so that scrapers do not slow the
plugin down.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, TypeAlias

from moby_plugins.failures import log_failure

# The most requests at once, and the seconds after which a slow one is cut off.
MAX_AT_ONCE = 8
TIMEOUT = 10.0
_TEXT = "text/plain; charset=utf-8"
# Returns the media type and the text of the metrics.
Exposition: TypeAlias = Callable[[], tuple[str, bytes]]


class ScrapingServer(ThreadingMixIn, TCPServer):
    """A threaded HTTP server on a socket that already listens."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, sock: Any, exposition: Exposition, concern: Callable[[], str]) -> None:
        super().__init__(sock.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.exposition = exposition
        self.concern = concern
        self._room = threading.BoundedSemaphore(MAX_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve ``request`` in a thread, or close it if there are too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve ``request`` within the time limit, and then admit another one."""
        # The time-out of the socket does not stop a client that sends a byte now and then.
        deadline = threading.Timer(TIMEOUT, partial(_cut, request))
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._room.release()

    def handle_error(self, _: Any, __: Any) -> None:
        """Print no traceback on standard error: the connection was lost."""


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
        if "Origin" in self.headers:
            self._answer(HTTPStatus.FORBIDDEN, _TEXT, b"not for web pages\n")
        elif path == "/metrics":
            self._metrics()
        elif path == "/health":
            concern = self.server.concern()
            status = HTTPStatus.SERVICE_UNAVAILABLE if concern else HTTPStatus.OK
            self._answer(status, _TEXT, f"{concern or 'ok'}\n".encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"there are /metrics and /health\n")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, as scrapers send requests all the time."""

    def _metrics(self) -> None:
        try:
            media_type, text = self.server.exposition()
        except Exception as error:  # raised by a collector of the program
            log_failure("the metrics could not be collected", error)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, b"no metrics: see the log\n")
        else:
            self._answer(HTTPStatus.OK, media_type, text)

    def _answer(self, status: HTTPStatus, media_type: str, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with suppress(OSError):
            if self.command != "HEAD":
                self.wfile.write(text)
