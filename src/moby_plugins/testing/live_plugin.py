"""A plugin of a test on a real UNIX socket, in threads of the test's process."""

from contextlib import ExitStack
from os import PathLike, fspath
from typing import Self

from moby_plugins.app.client import Client
from moby_plugins.app.config import new_client
from moby_plugins.app.hosting import plugin_server_unix
from moby_plugins.app.serving import PluginApp
from moby_plugins.app.settings import Settings
from moby_plugins.app.subsystem import Subsystem
from moby_plugins.domain.http import App
from moby_plugins.domain.retry import RetryPolicy

# Seconds: for one call of the client, and for running calls when the plugin is stopped.
TIMEOUT = 10.0
DRAIN = 1.0


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
