"""A plugin on the server of this library: ``python served.py APP SOCKET``.

``ours`` is a ``PluginApp``, ``flask`` the same answers from Flask, ``nothing`` a bare WSGI
application; the server is the same, with cheroot's own gateway where WSGI is spoken. ``async`` is
an ``AsyncPluginApp`` on the server of the event loop.
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from cheroot import wsgi

from moby_plugins.adapters.aio.loop_thread import LoopThread
from moby_plugins.adapters.server.cheroot_server import CherootServer, gateway_to
from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver


class Shelves(VolumeDriver):
    """One volume."""

    def get(self, name: str) -> Volume:
        """It is always there."""
        return Volume(name, "/mnt/books")


class AsyncShelves(AsyncVolumeDriver):
    """One volume."""

    async def get(self, name: str) -> Volume:
        """It is always there."""
        return Volume(name, "/mnt/books")


def flask() -> Any:
    """The same in Flask, as its users write it."""
    from flask import Flask, jsonify, request

    def get() -> Any:
        name = request.get_json(force=True)["Name"]
        return jsonify({"Volume": {"Name": name, "Mountpoint": "/mnt/books"}, "Err": ""})

    app = Flask(__name__)
    app.add_url_rule("/VolumeDriver.Get", view_func=get, methods=["POST"])
    return app


def nothing(_: Any, start_response: Any) -> list[bytes]:
    """An application that does nothing: what is left is the server."""
    start_response("200 OK", [("Content-Length", "3")])
    return [b"{}\n"]


class WSGIGateway(wsgi.Gateway_10):
    """cheroot's own, which sends head and body in one piece as ours does."""

    application: Any

    def __init__(self, req: Any) -> None:
        super().__init__(req)
        req.server.wsgi_app = self.application

    def write(self, chunk: bytes) -> None:
        """Send a part of the answer."""
        with self.req.conn.wfile.joined():
            super().write(chunk)


def gateway(name: str) -> Callable[[Any], Any]:
    """The way to what goes by that name."""
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
    server: CherootServer | LoopThread
    if app == "async":
        server = LoopThread(sock, AsyncPluginApp(AsyncShelves()))
    else:
        server = CherootServer(sock, gateway(app))
    server.start()
    stopped.wait()
    server.stop(1.0)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
