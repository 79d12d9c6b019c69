"""A volume plugin in one file: each volume is a directory.

Run it as ``python volume_plugin.py SOCKET DIRECTORY``. What it answers is decided
in ``Volumes``, a function from ``Request`` to ``Response``: the same object answers
on a socket here and in memory in a test.
"""

import json
import shutil
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from moby_plugins import Request, Response


class Volumes:
    """Answers the calls of a VolumeDriver with directories under ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, request: Request) -> Response:
        """The answer to one call; any failure is the plugin's ``Err``."""
        method = getattr(self, request.method.replace(".", "_").lower(), None)
        if method is None:
            return _json(404, {"Err": f"unknown method {request.method}"})
        try:
            return _json(200, method(request.json() or {}))
        except (OSError, KeyError, ValueError) as error:
            return _json(500, {"Err": str(error)})

    def plugin_activate(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"Implements": ["VolumeDriver"]}

    def volumedriver_create(self, args: dict[str, Any]) -> dict[str, Any]:
        self._path(args).mkdir(exist_ok=True)
        return {}

    def volumedriver_remove(self, args: dict[str, Any]) -> dict[str, Any]:
        shutil.rmtree(self._path(args))
        return {}

    def volumedriver_get(self, args: dict[str, Any]) -> dict[str, Any]:
        path = self._path(args)
        if not path.is_dir():
            raise ValueError(f"no such volume: {path.name}")
        return {"Volume": {"Name": path.name, "Mountpoint": str(path)}}

    def volumedriver_list(self, _: dict[str, Any]) -> dict[str, Any]:
        names = sorted(path.name for path in self._root.iterdir())
        return {"Volumes": [{"Name": name, "Mountpoint": str(self._root / name)} for name in names]}

    def volumedriver_mount(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"Mountpoint": self.volumedriver_get(args)["Volume"]["Mountpoint"]}

    volumedriver_path = volumedriver_mount

    def volumedriver_unmount(self, args: dict[str, Any]) -> dict[str, Any]:
        self.volumedriver_get(args)
        return {}

    def volumedriver_capabilities(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"Capabilities": {"Scope": "local"}}

    def _path(self, args: dict[str, Any]) -> Path:
        name: str = args["Name"]
        if not name or "/" in name or name in {".", ".."}:
            raise ValueError(f"not a volume's name: {name!r}")
        return self._root / name


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(status, json.dumps(value).encode())


def serve(app: Volumes, socket_path: str) -> None:
    """Answer on a UNIX socket until the process is stopped."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            response = app(Request(self.path, body))
            content = response.body.read(1 << 20)
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def address_string(self) -> str:
            return "host"  # a UNIX socket's peer has no address

        def log_message(self, *_: object) -> None:
            """Say nothing: the demo prints what matters."""

    with socketserver.ThreadingUnixStreamServer(socket_path, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(Volumes(Path(sys.argv[2])), sys.argv[1])
