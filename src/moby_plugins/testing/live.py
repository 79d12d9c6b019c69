"""Plugins on disk and on sockets, to test programs that only use directories and addresses."""

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
from moby_plugins.failures import call_all
from moby_plugins.platforms import check_platform

# Seconds for one call of the client, and for running calls when the plugin is stopped.
TIMEOUT = 10.0
DRAIN = 1.0


class PluginDirectory:
    """A directory of sockets and two of specs below ``path``, in order of precedence.

    A context manager: entering creates them, leaving closes the sockets and removes nothing. A
    plugin's name may be ``shelf/shelf``, for a subdirectory of its own, which engines search as
    well. Methods that create a file return its path, and raise ``OSError`` if they cannot create
    it. For one thread at a time.

    Args:
        path: The parent directory, of a short path: that of a socket has at most 107 bytes.

    Attributes:
        sockets: The directory of sockets.
        specs: The first directory of specs.
        more_specs: The second directory of specs.

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
        """Settings for a registry that searches only these directories."""
        return Settings(sockets_path=str(self.sockets), specs_paths=tuple(map(str, self._specs)))

    @property
    def _specs(self) -> tuple[Path, Path]:
        return (self.specs, self.more_specs)

    def socket(self, name: str) -> Path:
        """Create a socket that listens, but never responds.

        Args:
            name: The name of the plugin.

        Returns:
            The socket's path.
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
        """Create a socket on which nothing listens, as a killed plugin leaves behind.

        Args:
            name: The name of the plugin.

        Returns:
            The socket's path.
        """
        check_platform("a UNIX socket")
        path = self._place(self.sockets, f"{name}.sock")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        return path

    def spec(self, name: str, addr: str) -> Path:
        """Write a ``.spec`` file, which has only the address.

        Args:
            name: The name of the plugin.
            addr: The plugin's address.

        Returns:
            The file's path.
        """
        path = self._place(self.specs, f"{name}.spec")
        path.write_text(addr)
        return path

    def json_spec(self, name: str, addr: str, tls_config: Mapping[str, Any] | None = None) -> Path:
        """Write a ``.json`` spec, with the address and TLS options.

        Args:
            name: The name of the plugin.
            addr: The plugin's address.
            tls_config: The spec's ``TLSConfig``, with keys as in specs; left out if ``None``.

        Returns:
            The file's path.
        """
        path = self._place(self.specs, f"{name}.json")
        tls = {} if tls_config is None else {"TLSConfig": dict(tls_config)}
        path.write_text(json.dumps({"Name": name, "Addr": addr, **tls}))
        return path

    def symlink(self, name: str, target: Path) -> Path:
        """Create a link to a socket or a spec, which need not exist.

        Args:
            name: The name of the plugin.
            target: The target of the link, which gets the same suffix: with ``.sock`` it is in the
                directory of sockets, else in the first one of specs.

        Returns:
            The link's path.
        """
        directory = self.sockets if target.suffix == ".sock" else self.specs
        path = self._place(directory, name + target.suffix)
        path.symlink_to(target)
        return path

    def remove(self, path: Path) -> None:
        """Delete a file; if it is a socket, close it.

        Args:
            path: The result of one of the other methods.
        """
        try:
            path.unlink()
        finally:
            if path in self._listening:
                self._listening.pop(path).close()

    def close(self) -> None:
        """Close all sockets, which leaves stale ones in the directory."""
        call_all(self._listening.pop(path).close for path in tuple(self._listening))

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
    """A plugin, served on the socket ``NAME.sock`` inside a ``with`` block.

    Args:
        plugin: An implementation of a subsystem, a ``PluginApp``, or any function from ``Request``
            to ``Response``; threads call it.
        name: The name of the plugin.
        sockets_path: The directory of the socket.

    Raises:
        SpecError: On entering, if the plugin cannot listen at its socket.
        SettingsError: On entering, if the extra ``serve`` of this library is not installed.

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
        """The plugin's address, once the plugin listens: ``unix:///…/NAME.sock``."""
        return self._server.addr

    def __repr__(self) -> str:
        return f"<LivePlugin {quoted(self.name)}>"

    @property
    def client(self) -> Client:
        """A client of the plugin with one attempt and a time-out of 10 s, closed with the plugin.

        Raises ``RuntimeError`` before the plugin listens.
        """
        if self._client is None:
            raise RuntimeError(
                "the plugin has no client before it listens: enter its with block first"
            )
        return self._client

    def stop(self) -> None:
        """Remove the socket and let running calls end; may be called more than once."""
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
    """A function that starts plugins, each on a real UNIX socket in one directory.

    Call it with an app and a name to get a running ``LivePlugin``. It is a context manager that
    stops all the plugins it has started.

    Args:
        sockets_path: The directory of the sockets.
    """

    def __init__(self, sockets_path: str | PathLike[str]) -> None:
        self._sockets_path = sockets_path
        self._stack = ExitStack()

    def __repr__(self) -> str:
        return f"LivePlugins({self._sockets_path!r})"

    def __call__(self, plugin: App | Subsystem, name: str = "plugin") -> LivePlugin:
        """Start a plugin.

        Raises ``SpecError`` if the plugin cannot listen at its socket, and ``SettingsError`` if the
        extra ``serve`` of this library is not installed.

        Args:
            plugin: An implementation of a subsystem, a ``PluginApp``, or any function from
                ``Request`` to ``Response``; threads call it.
            name: The name of the plugin.

        Returns:
            The plugin, which already listens.
        """
        return self._stack.enter_context(LivePlugin(plugin, name, self._sockets_path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
