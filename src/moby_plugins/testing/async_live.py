"""Asynchronous plugins on sockets, each in its own thread with an event loop."""

from contextlib import ExitStack
from os import PathLike, fspath
from typing import Self

from moby_plugins.app.aio.client import AsyncClient
from moby_plugins.app.aio.config import new_client
from moby_plugins.app.aio.serving import AsyncPluginApp
from moby_plugins.app.aio.subsystem import AsyncSubsystem
from moby_plugins.app.hosting import plugin_server_unix
from moby_plugins.app.settings import Settings
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.domain.text import quoted
from moby_plugins.testing.live import DRAIN, TIMEOUT


class AsyncLivePlugin:
    """An asynchronous plugin, served on the socket ``NAME.sock`` inside a ``with`` block.

    The plugin runs in its own event loop, in another thread than the test, so share thread-safe
    objects such as ``threading.Event`` with it, not those of asyncio.

    Args:
        plugin: An implementation of an asynchronous subsystem, an ``AsyncPluginApp``, or any
            coroutine function from ``AsyncRequest`` to ``AsyncResponse``.
        name: The name of the plugin.
        sockets_path: The directory of the socket.

    Raises:
        SpecError: On entering, if the plugin cannot listen at its socket.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import AsyncVolumeDriver
        from moby_plugins.testing import AsyncLivePlugin


        class Shelf(AsyncVolumeDriver):
            async def list(self):
                return []


        with AsyncLivePlugin(Shelf(), "shelf", ".") as plugin:
            assert asyncio.run(AsyncVolumeDriver(plugin.client).list()) == ()
        ```
    """

    def __init__(
        self, plugin: AsyncApp | AsyncSubsystem, name: str, sockets_path: str | PathLike[str]
    ) -> None:
        self.name = name
        app = AsyncPluginApp(plugin) if isinstance(plugin, AsyncSubsystem) else plugin
        self._server = plugin_server_unix(app, name, sockets_path=fspath(sockets_path), drain=DRAIN)
        self._client: AsyncClient | None = None
        self._stack = ExitStack()

    def __repr__(self) -> str:
        return f"<AsyncLivePlugin {quoted(self.name)}>"

    @property
    def addr(self) -> str:
        """The plugin's address, once the plugin listens: ``unix:///…/NAME.sock``."""
        return self._server.addr

    @property
    def client(self) -> AsyncClient:
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
            self._client = new_client(self.addr, settings=never)
            stack.callback(self._client.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class AsyncLivePlugins:
    """A function that starts asynchronous plugins, each on a real UNIX socket in one directory.

    Call it with an app and a name to get a running ``AsyncLivePlugin``. It is a context manager
    that stops all the plugins it has started.

    Args:
        sockets_path: The directory of the sockets.
    """

    def __init__(self, sockets_path: str | PathLike[str]) -> None:
        self._sockets_path = sockets_path
        self._stack = ExitStack()

    def __repr__(self) -> str:
        return f"AsyncLivePlugins({self._sockets_path!r})"

    def __call__(self, plugin: AsyncApp | AsyncSubsystem, name: str = "plugin") -> AsyncLivePlugin:
        """Start a plugin; raise ``SpecError`` if the plugin cannot listen at its socket.

        Args:
            plugin: An implementation of an asynchronous subsystem, an ``AsyncPluginApp``, or any
                coroutine function from ``AsyncRequest`` to ``AsyncResponse``.
            name: The name of the plugin.

        Returns:
            The plugin, which already listens.
        """
        return self._stack.enter_context(AsyncLivePlugin(plugin, name, self._sockets_path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
