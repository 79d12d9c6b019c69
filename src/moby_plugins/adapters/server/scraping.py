"""The HTTP server for scrapers: ``GET /metrics`` and ``GET /health``, and nothing else.

It answers only a few requests at once, each within a time limit, so that scrapers do not slow the
plugin down.
"""

import socket
import threading
from collections import OrderedDict
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
        # The connections whose request was not received yet, the oldest first.
        self._silent: OrderedDict[Any, None] = OrderedDict()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve ``request`` in a thread; without room, close the oldest silent connection."""
        if not (self._room.acquire(blocking=False) or self._make_room()):
            self.shutdown_request(request)
            return
        self._silent[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._silent.pop(request, None)
            self._room.release()
            raise

    def received(self, request: Any) -> None:
        """Keep the connection, whose request was received, until it is answered."""
        self._silent.pop(request, None)

    def _make_room(self) -> bool:
        try:
            oldest, _ = self._silent.popitem(last=False)
        except KeyError:
            return False
        _cut(oldest)
        return self._room.acquire(timeout=1.0)  # its thread ends now

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the request of one connection in time, and then admit another connection."""
        # The time-out of the socket does not stop a client that sends a byte now and then.
        deadline = threading.Timer(TIMEOUT, partial(_cut, request))
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._silent.pop(request, None)
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
        self.server.received(self.request)
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
