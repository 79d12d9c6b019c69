"""Serve an asynchronous app from programs that have no event loop: one in a thread of its own.

It is an ``HTTPServer`` as ``CherootServer`` is, so that all that serves a ``PluginApp``
(``plugin_server_unix``, the command line, a managed plugin) serves an ``AsyncPluginApp`` too.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from moby_plugins.adapters.aio.server import CUT, AsyncServer
from moby_plugins.adapters.server.answering import InFlight
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.failures import logger

# Told how the serving ended: by an error, or otherwise.
OnEnd: TypeAlias = Callable[[BaseException | None], object]


class LoopThread:
    """Serves ``app`` on ``sock`` in an event loop of its own. To be started and stopped once.

    ``on_end`` is called when the serving has ended, for whatever reason, in the thread that served.
    """

    def __init__(
        self,
        sock: socket.socket,
        app: AsyncApp,
        context: ssl.SSLContext | None = None,
        inflight: InFlight | None = None,
        *,
        on_end: OnEnd = lambda _: None,
    ) -> None:
        self._sock = sock
        self._app = app
        self._context = context
        self._inflight = inflight
        self._on_end = on_end
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._drain = 0.0
        # A daemon: a call that blocks the loop does not hold the process.
        self._thread = threading.Thread(target=self._serve, name="plugin server", daemon=True)

    def start(self) -> None:
        """Serve in a thread; returns once connections are taken.

        Raises ``OSError``, or ``RuntimeError`` where there is no thread to be had.
        """
        try:
            self._thread.start()
            self._started.wait()
            if self._failure is not None:
                raise self._failure
        except BaseException:
            self._sock.close()
            raise

    def stop(self, drain: float) -> None:
        """Take no more connections, give running calls ``drain`` seconds, then cut them off."""
        self._drain = drain
        if self._loop is not None and self._stop is not None:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                return  # it has ended by itself
        self._thread.join(min(drain + 4 * CUT, threading.TIMEOUT_MAX))
        if self._thread.is_alive():
            logger.warning("a call goes on although its connection was cut off")

    def _serve(self) -> None:
        failure: BaseException | None = None
        try:
            asyncio.run(self._run())
        except BaseException as error:
            failure = error
        if self._started.is_set():
            self._on_end(failure)
        else:
            self._failure = failure
            self._started.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = AsyncServer(self._sock, self._app, self._context, self._inflight)
        server.start()
        self._started.set()
        told = asyncio.ensure_future(self._stop.wait())
        waits: list[asyncio.Future[Any]] = [told, server.ended]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if server.ended.done():
                self._on_end(server.ended.exception())
                await told  # calls that run have their time, as at any stop
        finally:
            told.cancel()
            await server.stop(self._drain)
