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
from moby_plugins.platforms import check_platform

# Seconds: for one call of the client, and for running calls when the plugin is stopped.
TIMEOUT = 10.0
DRAIN = 1.0


class PluginDirectory:
    """A directory of sockets and two of specs below ``path``, in order of precedence.

    A context manager: entering makes them, leaving closes the sockets and removes nothing. A
    plugin's name may be given as ``shelf/shelf``, for a directory of its own, which engines look
    into as well. What a method makes it returns as a path; it raises ``OSError`` where the process
    may not. To be used by one thread.

    Args:
        path: Where: a short path, for a socket's has room for 107 bytes.

    Attributes:
        sockets: The directory of sockets.
        specs: The first directory of specs.
        more_specs: The second.

    Examples:
        ```python
        from pathlib import Path

        from moby_plugins import new_local_registry
        from moby_plugins.testing import PluginDirectory

        with PluginDirectory(Path("p")) as directory:
            directory.spec("shelf", "tcp://127.0.0.1:7000")
            directory.stale_socket("old")
            with new_local_registry(directory.settings) as registry:
                assert registry.scan() == ["old", "shelf"]
                assert registry.lookup("shelf").addr == "tcp://127.0.0.1:7000"
        ```
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
        """Make a socket that listens: connections are taken, and never answered.

        Args:
            name: The plugin's.

        Returns:
            Its path.
        """
        check_platform("a UNIX socket")
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
        """Make a socket on which nothing listens, as a plugin that was killed leaves behind.

        Args:
            name: The plugin's.

        Returns:
            Its path.
        """
        check_platform("a UNIX socket")
        path = self._place(self.sockets, f"{name}.sock")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        return path

    def spec(self, name: str, addr: str) -> Path:
        """Write a ``.spec``: the address alone.

        Args:
            name: The plugin's.
            addr: Its address.

        Returns:
            The file's path.
        """
        path = self._place(self.specs, f"{name}.spec")
        path.write_text(addr)
        return path

    def json_spec(self, name: str, addr: str, tls_config: Mapping[str, Any] | None = None) -> Path:
        """Write a ``.json``.

        Args:
            name: The plugin's.
            addr: Its address.
            tls_config: Its ``TLSConfig``, with keys as specs write them, if it is to have one.

        Returns:
            The file's path.
        """
        path = self._place(self.specs, f"{name}.json")
        tls = {} if tls_config is None else {"TLSConfig": dict(tls_config)}
        path.write_text(json.dumps({"Name": name, "Addr": addr, **tls}))
        return path

    def symlink(self, name: str, target: Path) -> Path:
        """Make a link to a socket or a spec, which need not be there.

        Args:
            name: The plugin's.
            target: Where it leads.

        Returns:
            Its path.
        """
        directory = self.sockets if target.suffix == ".sock" else self.specs
        path = self._place(directory, name + target.suffix)
        path.symlink_to(target)
        return path

    def remove(self, path: Path) -> None:
        """Delete what is at a path; a socket listens no more.

        Args:
            path: What a method returned.
        """
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
    """Serves a plugin on the socket ``NAME.sock`` inside a ``with`` block.

    Args:
        plugin: An implementation of a subsystem, a ``PluginApp``, or any function from ``Request``
            to ``Response``; threads call it.
        name: The plugin's.
        sockets_path: The directory of the socket.

    Raises:
        SpecError: On entering, where it cannot listen there.
        SettingsError: On entering, without the extra ``serve``.

    Examples:
        ```python
        from moby_plugins.subsystems import VolumeDriver
        from moby_plugins.testing import LivePlugin


        class Shelf(VolumeDriver):
            def list(self):
                return []


        with LivePlugin(Shelf(), "shelf", ".") as plugin:
            assert VolumeDriver(plugin.client).list() == ()
        ```
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
        """A client of it: tries once, waits 10 s for a response, and is closed with the plugin.

        ``RuntimeError`` before it listens.
        """
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
    """Starts plugins in one directory. A context manager; leaving it stops all that were started.

    Args:
        sockets_path: The directory of the sockets.
    """

    def __init__(self, sockets_path: str | PathLike[str]) -> None:
        self._sockets_path = sockets_path
        self._stack = ExitStack()

    def __repr__(self) -> str:
        return f"LivePlugins({self._sockets_path!r})"

    def __call__(self, plugin: App | Subsystem, name: str = "plugin") -> LivePlugin:
        """Start a plugin; raises as ``LivePlugin`` does.

        Args:
            plugin: As ``LivePlugin`` takes it.
            name: The plugin's.

        Returns:
            The plugin, which listens already.
        """
        return self._stack.enter_context(LivePlugin(plugin, name, self._sockets_path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
