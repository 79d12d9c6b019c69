"""From a request that cheroot has read the head of to the answer on its connection."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from cheroot import server

from moby_plugins.adapters.server.answering import answer, read_request, status_line
from moby_plugins.adapters.server.request_body import RequestBody
from moby_plugins.domain.http import App, Request


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
