"""Serve an asynchronous app in an event loop in its own thread, for programs without one.

It is an ``HTTPServer`` like ``CherootServer``, so everything that serves a ``PluginApp``
(``plugin_server_unix``, the command line, a managed plugin) also serves an ``AsyncPluginApp``.
"""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from moby_plugins.adapters.aio.server import CUT, LOOK, AsyncServer
from moby_plugins.adapters.server.answering import InFlight
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.failures import log_failure, log_line

# Called when serving has ended, with the error if there was one.
OnEnd: TypeAlias = Callable[[BaseException | None], object]


class LoopServer:
    """A server of ``app`` on ``sock`` in its own event loop. Start and stop it once.

    ``on_end`` is called in the serving thread when serving has ended, for any reason. If the socket
    stops listening by itself, it is called at once with that error, and again after ``stop``.
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
        self._task: asyncio.Task[None] | None = None
        self._drain = 0.0
        # A daemon, so that a call that blocks the loop does not block exit.
        self._thread = threading.Thread(target=self._serve, name="plugin server", daemon=True)

    def start(self) -> None:
        """Start to serve in a thread; return once connections are accepted.

        Raises ``OSError``, or ``RuntimeError`` if no thread can be started.
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
        """Accept no more connections; cut off calls that still run after ``drain`` seconds."""
        self._drain = drain
        if self._loop is not None and self._stop is not None:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                return  # serving has already ended
        self._thread.join(min(drain + 4 * CUT, threading.TIMEOUT_MAX))
        if self._thread.is_alive():
            log_line(logging.WARNING, "a call is still running although its connection was closed")

    def cut(self) -> None:
        """Make ``stop``, which another thread has called, cut off running calls now."""
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # serving has already ended
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _serve(self) -> None:
        failure: BaseException | None = None
        try:
            with asyncio.Runner() as runner:
                loop = runner.get_loop()
                self._task = loop.create_task(self._run())
                _run_through(loop, self._task)
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
        stopping = asyncio.ensure_future(self._stop.wait())
        waits: list[asyncio.Future[Any]] = [stopping, server.ended]
        try:
            while not any(wait.done() for wait in waits):
                await asyncio.wait(waits, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                server.check_listening()
            if server.ended.done():
                self._on_end(server.ended.exception())
                await stopping  # running calls get their time, as with any stop
        finally:
            stopping.cancel()
            await server.stop(self._drain)


def _run_through(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    """Run the loop until ``serving`` has ended, whatever a task or callback of the plugin raises.

    asyncio stops a loop in which a task or callback raises ``SystemExit`` or ``KeyboardInterrupt``,
    for example by ``sys.exit()``; this logs the exception, and continues the loop.
    """
    while True:
        try:
            return loop.run_until_complete(serving)
        except (SystemExit, KeyboardInterrupt) as error:
            if serving.done():
                raise
            log_failure("a task or callback of the plugin failed", error)
