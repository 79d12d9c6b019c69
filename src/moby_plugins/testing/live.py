"""Plugins on disk and on sockets, to test programs that know only directories and addresses."""

import json
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self

from moby_plugins.app.client import Client
from moby_plugins.app.config import new_client
from moby_plugins.app.hosting import plugin_server_unix
from moby_plugins.app.serving import PluginApp
from moby_plugins.app.settings import Settings
from moby_plugins.app.subsystem import Subsystem
from moby_plugins.domain.http import App
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.domain.text import quoted

# Seconds: for one call of the client, and for running calls when the plugin is stopped.
TIMEOUT = 10.0
DRAIN = 1.0


class PluginDirectory:
    """A directory of sockets and two of specs below ``path``, in order of precedence.

    A context manager: entering makes them, leaving closes the sockets and removes nothing.
    ``path`` is to be short, for a socket's path has room for 107 bytes. What a method makes
    it returns as a path. A plugin's name may be given as ``shelf/shelf``, for a directory of
    its own, which engines look into as well. Files are made with the process's rights, and
    raise ``OSError``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sockets: Path = path / "run"
        self.specs: Path = path / "etc"
        self.more_specs: Path = path / "usr"
        self._listening: dict[Path, socket.socket] = {}

    def __repr__(self) -> str:
        return f"PluginDirectory({str(self.path)!r})"

    @property
    def settings(self) -> Settings:
        """Settings by which a registry looks here, and nowhere else."""
        return Settings(sockets_path=str(self.sockets), specs_paths=tuple(map(str, self._specs)))

    @property
    def _specs(self) -> tuple[Path, Path]:
        return (self.specs, self.more_specs)

    def socket(self, name: str) -> Path:
        """A socket that listens: connections are taken, and nobody ever answers."""
        path = self._place(self.sockets, f"{name}.sock")
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(str(path))
            sock.listen()
        except OSError:
            sock.close()
            raise
        self._listening[path] = sock
        return path

    def stale_socket(self, name: str) -> Path:
        """A socket on which nobody listens, as a plugin that was killed leaves behind."""
        path = self._place(self.sockets, f"{name}.sock")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        return path

    def spec(self, name: str, addr: str) -> Path:
        """A ``.spec``: the address alone."""
        path = self._place(self.specs, f"{name}.spec")
        path.write_text(addr)
        return path

    def json_spec(self, name: str, addr: str, tls_config: Mapping[str, Any] | None = None) -> Path:
        """A ``.json``, with a ``TLSConfig`` whose keys are as specs write them, if one is given."""
        path = self._place(self.specs, f"{name}.json")
        tls = {} if tls_config is None else {"TLSConfig": dict(tls_config)}
        path.write_text(json.dumps({"Name": name, "Addr": addr, **tls}))
        return path

    def symlink(self, name: str, target: Path) -> Path:
        """A link to a socket or a spec, which need not be there, of the same kind as its target."""
        directory = self.sockets if target.suffix == ".sock" else self.specs
        path = self._place(directory, name + target.suffix)
        path.symlink_to(target)
        return path

    def remove(self, path: Path) -> None:
        """Delete what is at ``path``; a socket listens no more."""
        path.unlink()
        if path in self._listening:
            self._listening.pop(path).close()

    def close(self) -> None:
        """Stop listening; what then lies there are stale sockets."""
        while self._listening:
            self._listening.popitem()[1].close()

    def __enter__(self) -> Self:
        for directory in (self.sockets, *self._specs):
            directory.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, directory: Path, name: str) -> Path:
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        return path


class LivePlugin:
    """Serves ``plugin`` on the socket ``NAME.sock`` in ``sockets_path`` inside a ``with`` block.

    ``plugin`` is an implementation of a subsystem, a ``PluginApp``, or any function from
    ``Request`` to ``Response``; threads call it. ``addr`` is its address. ``client`` calls it,
    tries once, waits 10 s for an answer, and is closed with it. Entering raises
    ``SpecError`` where it cannot listen there, and ``SettingsError`` without the extra
    ``serve``.
    """

    def __init__(
        self, plugin: App | Subsystem, name: str, sockets_path: str | PathLike[str]
    ) -> None:
        self.name = name
        app = PluginApp(plugin) if isinstance(plugin, Subsystem) else plugin
        self._server = plugin_server_unix(app, name, sockets_path=fspath(sockets_path), drain=DRAIN)
        self._client: Client | None = None
        self._stack = ExitStack()

    @property
    def addr(self) -> str:
        """Its address, once it listens: ``unix:///…/NAME.sock``."""
        return self._server.addr

    def __repr__(self) -> str:
        return f"<LivePlugin {quoted(self.name)}>"

    @property
    def client(self) -> Client:
        """A client of it; ``RuntimeError`` before it listens."""
        if self._client is None:
            raise RuntimeError("the plugin has no client before it listens")
        return self._client

    def stop(self) -> None:
        """Remove the socket, let running calls end; may be repeated."""
        self._stack.close()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._server)
            never = Settings(retry=RetryPolicy.never(), timeout=TIMEOUT)
            self._client = stack.enter_context(new_client(self.addr, settings=never))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class LivePlugins:
    """Starts plugins in one directory: ``start(plugin)`` is one that listens already.

    A context manager; leaving it stops all that were started.
    """

    def __init__(self, sockets_path: str | PathLike[str]) -> None:
        self._sockets_path = sockets_path
        self._stack = ExitStack()

    def __call__(self, plugin: App | Subsystem, name: str = "plugin") -> LivePlugin:
        """A plugin that listens; raises as ``LivePlugin`` does."""
        return self._stack.enter_context(LivePlugin(plugin, name, self._sockets_path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
