"""Serve an asynchronous app in the program's event loop, until the serving task is cancelled.

Sockets, their mode and group, systemd's sockets, spec files and TLS work as in
``plugin_server_unix`` and ``plugin_server_tcp``. No signal handler is installed.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from moby_plugins.adapters.aio.asgi import ASGI
from moby_plugins.adapters.aio.asgi import asgi as adapted
from moby_plugins.adapters.aio.server import AsyncServer
from moby_plugins.adapters.server.answering import InFlight
from moby_plugins.adapters.server.listeners import notify_systemd
from moby_plugins.app.listening import (
    SOCKET_MODE,
    SPECS_PATH,
    Opened,
    Opening,
    check_sizes,
    drain_given,
    opening_tcp,
    opening_unix,
)
from moby_plugins.app.plugin_server import DRAIN, Metrics
from moby_plugins.app.serving import is_async_app
from moby_plugins.domain.address import ServerTLS
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.errors import PluginError, SpecError, error_text
from moby_plugins.domain.http import MAX_INFLIGHT_BYTES, MAX_REQUEST_BYTES
from moby_plugins.domain.plugin import SOCKETS_PATH
from moby_plugins.domain.text import quoted
from moby_plugins.failures import call_all
from moby_plugins.platforms import check_platform
from moby_plugins.ports import filled

T = TypeVar("T")
# Seconds that a cancelled start waits for the thread that opens its socket.
PATIENCE = 5.0


async def serve_unix(
    app: AsyncApp,
    name: str,
    *,
    sockets_path: str = SOCKETS_PATH,
    mode: int = SOCKET_MODE,
    group: str | int | None = None,
    drain: float = DRAIN,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
    metrics: Metrics | None = None,
    on_serving: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve an app on a UNIX socket, where hosts look for it, until this task is cancelled.

    On cancellation the socket is removed first; running calls then have ``drain`` seconds to end,
    or no time if the task is cancelled again, as a cancel scope of anyio does at once. If systemd
    opened a socket for this process, the server uses that one, and creates and removes none.

    Args:
        app: The app that answers the requests: an ``AsyncPluginApp``, or a coroutine function.
        name: The plugin's name, or the absolute path of the socket.
        sockets_path: The directory of the socket; it is created if it is missing.
        mode: The socket's permission bits, for example ``0o660``.
        group: The group that owns the socket, as a name or a number; by default the process's.
        drain: Seconds to wait for running calls; after that their connections are closed.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. An ``AsyncPluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests may have
            together; a request beyond that gets status 503.
        metrics: A server of ``/metrics`` and ``/health`` at an address of its own, in threads. It
            is started first, and stopped after the last call.
        on_serving: Called with the address once connections are accepted; awaited if it is a
            coroutine function.

    Raises:
        SpecError: If the server cannot listen at the socket, or ``metrics`` at its address.
        SettingsError: If the group does not exist, or the platform has no UNIX sockets.
        PluginError: If the server ended by itself, because its socket no longer listens. If other
            code of the process closed the socket's descriptor, the server may notice this only a
            minute after a connection last waited for its host, and never without connections.
        InvalidPluginNameError: If ``name`` is not a valid name.
        ValueError: If the mode, the group, ``drain`` or a number of bytes is out of range.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver, serve_unix


        class Shelf(AsyncVolumeDriver):
            async def list(self):
                return []


        async def main():
            app = AsyncPluginApp(Shelf())
            async with asyncio.TaskGroup() as group:
                # Without sockets_path it is where engines look.
                task = group.create_task(serve_unix(app, "shelf", sockets_path="."))
                await asyncio.sleep(0.1)  # what the program does besides
                task.cancel()


        asyncio.run(main())
        ```
    """
    open_ = opening_unix(name, sockets_path, mode, group)
    check_sizes(max_request_bytes, max_inflight_bytes)
    inflight = InFlight(max_inflight_bytes, max_request_bytes)
    await _served(app, open_, inflight, drain_given(drain), on_serving, metrics=metrics)


async def serve_tcp(
    app: AsyncApp,
    name: str,
    addr: str = "127.0.0.1:0",
    *,
    tls: ServerTLS | None = None,
    specs_path: str = SPECS_PATH,
    drain: float = DRAIN,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
    metrics: Metrics | None = None,
    on_serving: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve an app on TCP, where hosts find it by a spec file, until this task is cancelled.

    The file is ``NAME.spec``, or with ``tls`` ``NAME.json`` with an ``https`` address. On
    cancellation it is removed first; running calls then have ``drain`` seconds to end, or no time
    if the task is cancelled again, as a cancel scope of anyio does at once. A request with an
    ``Origin`` header, which a browser sends, is refused.

    Args:
        app: The app that answers the requests: an ``AsyncPluginApp``, or a coroutine function.
        name: The plugin's name.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: The TLS options; without them, the server speaks plain HTTP.
        specs_path: The directory of the spec file.
        drain: Seconds to wait for running calls; after that their connections are closed.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. An ``AsyncPluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests may have
            together; a request beyond that gets status 503.
        metrics: A server of ``/metrics`` and ``/health`` at an address of its own, in threads. It
            is started first, and stopped after the last call.
        on_serving: Called with the address once connections are accepted; awaited if it is a
            coroutine function.

    Raises:
        SpecError: If the server cannot listen at an address, or a file cannot be used.
        PluginError: If the server ended by itself, because its socket no longer listens. If other
            code of the process closed the socket's descriptor, the server may notice this only a
            minute after a connection last waited for its host, and never without connections.
        InvalidPluginNameError: If ``name`` is not a valid name.
        ValueError: If ``drain`` or a number of bytes is out of range.
    """
    open_ = opening_tcp(name, addr, tls, specs_path)
    check_sizes(max_request_bytes, max_inflight_bytes)
    inflight = InFlight(max_inflight_bytes, max_request_bytes)
    await _served(app, open_, inflight, drain_given(drain), on_serving, metrics=metrics)


def asgi(
    app: AsyncApp,
    *,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
) -> ASGI:
    """Return an ASGI application for an app, to be served by uvicorn, hypercorn or the like.

    That server parses the request's head, and decides what happens with slow hosts and with hosts
    that close their sending side; ``serve_unix`` and ``serve_tcp`` are stricter.

    Args:
        app: The app that answers the requests: an ``AsyncPluginApp``, or a coroutine function.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. An ``AsyncPluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests of one process
            may have together; a request beyond that gets status 503.

    Returns:
        The ASGI 3 application, for ``http`` and ``lifespan``.
    """
    check_sizes(max_request_bytes, max_inflight_bytes)
    return adapted(_checked(app), InFlight(max_inflight_bytes, max_request_bytes))


def _checked(app: AsyncApp) -> AsyncApp:
    if not is_async_app(app):
        raise TypeError(f"app must be an AsyncPluginApp or a coroutine function, not {quoted(app)}")
    return app


async def _served(
    app: AsyncApp,
    open_: Opening,
    inflight: InFlight,
    drain: float,
    on_serving: Callable[[str], object],
    *,
    metrics: Metrics | None,
) -> None:
    _checked(app)
    if not callable(on_serving):
        raise TypeError(f"on_serving must be a function of an address, not {quoted(on_serving)}")
    if metrics is not None:
        filled("metrics", metrics, "start", "stop")
    check_platform("serving")
    serving = threading.Event()  # read by the threads of the metrics
    try:
        if metrics is not None:
            try:
                await _in_thread(partial(metrics.start, serving.is_set))
            except RuntimeError:  # they are started for another plugin: do not stop them
                metrics = None
                raise
        opened = await opened_in_thread(open_)
        try:
            server = AsyncServer(opened.socket, app, opened.context, inflight)
            server.start()
        except BaseException:
            _close(opened)
            raise
        try:
            serving.set()
            notify_systemd("READY=1")
            told = on_serving(opened.address)
            if asyncio.iscoroutine(told):
                await told
            await _until_ended(server.ended, opened.address)
        finally:
            serving.clear()
            try:
                call_all([partial(notify_systemd, "STOPPING=1"), opened.withdraw])
            finally:
                await server.stop(drain)
    finally:
        if metrics is not None:
            await _in_thread(metrics.stop)


def _begun(work: Callable[[], T]) -> "asyncio.Future[T]":
    """Return a future of ``work()``, called in a new thread: the loop's executor may be busy."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="moby-plugins")
    try:
        return asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        executor.shutdown(wait=False)  # its thread ends after the work


async def _in_thread(work: Callable[[], None]) -> None:
    """Call ``work`` in a thread, and return when it has ended, also if this task is cancelled."""
    working = _begun(work)
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError as error:
            cancelled = error
    working.result()
    if cancelled is not None:
        raise cancelled


async def _until_ended(ended: Awaitable[None], address: str) -> None:
    try:
        await ended
    except OSError as error:
        raise PluginError(
            f"the server at {address} has ended by itself: {error_text(error)}"
        ) from error


async def opened_in_thread(open_: Opening, patience: float = PATIENCE) -> Opened:
    """Call ``open_`` in a thread, because it reads files, and may wait for another process.

    If this task is cancelled, ``open_`` is asked to stop, and what it opens is closed; this
    function waits at most ``patience`` seconds for that. If ``open_`` takes longer, for example
    because it waits for a name server, its thread later closes what it opens.
    """
    stopping = threading.Event()

    def work() -> Opened:
        opened = open_(stopping.is_set)
        if stopping.is_set():
            _close(opened)
            raise SpecError("the server was stopped before it could listen", opened.address)
        return opened

    opening = _begun(work)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        stopping.set()
        ends = time.monotonic() + patience
        # Wait also if cancelled again: once this ends, no file must be left.
        while not opening.done() and (left := ends - time.monotonic()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([opening], timeout=left)
        # Cancelled, it reports neither an error that comes later, nor to a loop that is closed.
        if not opening.cancel() and opening.exception() is None:
            _close(opening.result())
        raise


def _close(opened: Opened) -> None:
    call_all([opened.withdraw, opened.socket.close])
