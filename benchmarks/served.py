"""A plugin on the server of this library: ``python served.py APP SOCKET``.

``ours`` is a ``PluginApp``, ``flask`` an equivalent in Flask, and ``nothing`` a minimal WSGI
application. The server is the same, with cheroot's own gateway for WSGI. ``async`` is an
``AsyncPluginApp`` on the server for event loops.
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from cheroot import wsgi

from moby_plugins.adapters.aio.loop_server import LoopServer
from moby_plugins.adapters.server.cheroot_server import CherootServer, gateway_to
from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver


class Shelves(VolumeDriver):
    """A driver with one volume."""

    def get(self, name: str) -> Volume:
        """Return the volume."""
        return Volume(name, "/mnt/books")


class AsyncShelves(AsyncVolumeDriver):
    """A driver with one volume."""

    async def get(self, name: str) -> Volume:
        """Return the volume."""
        return Volume(name, "/mnt/books")


def flask() -> Any:
    """Return an equivalent application in typical Flask code."""
    from flask import Flask, jsonify, request

    def get() -> Any:
        name = request.get_json(force=True)["Name"]
        return jsonify({"Volume": {"Name": name, "Mountpoint": "/mnt/books"}, "Err": ""})

    app = Flask(__name__)
    app.add_url_rule("/VolumeDriver.Get", view_func=get, methods=["POST"])
    return app


def nothing(_: Any, start_response: Any) -> list[bytes]:
    """Respond without any work, to measure the server alone."""
    start_response("200 OK", [("Content-Length", "3")])
    return [b"{}\n"]


class WSGIGateway(wsgi.Gateway_10):
    """cheroot's gateway, changed to send head and body together, as this library's does."""

    application: Any

    def __init__(self, req: Any) -> None:
        super().__init__(req)
        req.server.wsgi_app = self.application

    def write(self, chunk: bytes) -> None:
        """Send a part of the response."""
        with self.req.conn.wfile.joined():
            super().write(chunk)


def gateway(name: str) -> Callable[[Any], Any]:
    """Return the gateway for the application of that name."""
    if name == "ours":
        return gateway_to(PluginApp(Shelves()))
    application = flask() if name == "flask" else nothing
    return type("Gateway", (WSGIGateway,), {"application": staticmethod(application)})


def serve(app: str, path: str) -> None:
    """Serve until the process is stopped."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server: CherootServer | LoopServer
    if app == "async":
        server = LoopServer(sock, AsyncPluginApp(AsyncShelves()))
    else:
        server = CherootServer(sock, gateway(app))
    server.start()
    stopped.wait()
    server.stop(1.0)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
