"""A plugin on the server of this library: ``python served.py APP SOCKET``.

``ours`` is a ``PluginApp``, ``flask`` the same answers from Flask,
``nothing`` a bare application; the server is the same.
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from moby_plugins.adapters.server.cheroot_server import CherootServer
from moby_plugins.serving import PluginApp, wsgi
from moby_plugins.subsystems import Volume, VolumeDriver


class Shelves(VolumeDriver):
    """One volume."""

    def get(self, name: str) -> Volume:
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


def wsgi_app(name: str) -> Any:
    """The application that goes by that name."""
    apps: dict[str, Callable[[], Any]] = {
        "ours": lambda: wsgi(PluginApp(Shelves())),
        "flask": flask,
        "nothing": lambda: nothing,
    }
    return apps[name]()


def serve(app: str, path: str) -> None:
    """Serve until the process is stopped."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server = CherootServer(sock, wsgi_app(app))
    server.start()
    stopped.wait()
    server.stop(1.0)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
