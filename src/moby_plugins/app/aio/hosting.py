"""Serve an asynchronous app in the program's own event loop: until its task is cancelled.

The socket, its mode and group, systemd's sockets, specs and TLS are those of ``plugin_server_unix``
and ``plugin_server_tcp``. No signal handler is installed: the program says when to end.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

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
from moby_plugins.app.plugin_server import DRAIN
from moby_plugins.app.serving import is_async_app
from moby_plugins.domain.address import ServerTLS
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.errors import PluginError, error_text
from moby_plugins.domain.http import MAX_INFLIGHT_BYTES, MAX_REQUEST_BYTES
from moby_plugins.domain.plugin import SOCKETS_PATH
from moby_plugins.domain.text import quoted
from moby_plugins.platforms import check_platform


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
    on_serving: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve an app on a UNIX socket, where hosts look for it, until this task is cancelled.

    The socket is removed first; running calls then have ``drain`` seconds to end, and no time where
    the task is cancelled once more. Where systemd opened a socket for this process, that one is
    served, and nothing is made or removed.

    Args:
        app: Answers the requests: an ``AsyncPluginApp``, or a coroutine function.
        name: The plugin's; or the absolute path of the socket.
        sockets_path: The directory of the socket.
        mode: The socket's permissions.
        group: The group that owns the socket: a name or a number; the process's unless given.
        drain: Seconds that running calls have to end.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. An
            ``AsyncPluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.
        on_serving: Called with the address once connections are taken.

    Raises:
        SpecError: Where it cannot listen there.
        SettingsError: For a missing group, or a platform without UNIX sockets.
        PluginError: Where the server ended by itself: its socket listens no more.
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a mode, a group or a ``drain`` that cannot be one.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver, serve_unix


        class Shelf(AsyncVolumeDriver):
            async def list(self):
                return []


        async def main():  # by default, where engines look
            await serve_unix(AsyncPluginApp(Shelf()), "shelf", sockets_path=".")


        asyncio.run(main())
        ```
    """
    open_ = opening_unix(name, sockets_path, mode, group)
    check_sizes(max_request_bytes, max_inflight_bytes)
    inflight = InFlight(max_inflight_bytes, max_request_bytes)
    await _served(app, open_, inflight, drain_given(drain), on_serving)


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
    on_serving: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve an app on TCP, announced by a spec, until this task is cancelled.

    The spec is ``NAME.spec``, or under ``tls`` ``NAME.json`` with an ``https`` address, and is
    removed first; running calls then have ``drain`` seconds. A request with ``Origin``, a
    browser's, is refused.

    Args:
        app: Answers the requests: an ``AsyncPluginApp``, or a coroutine function.
        name: The plugin's.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: How to speak TLS; without it, plain text.
        specs_path: The directory of the spec.
        drain: Seconds that running calls have to end.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. An
            ``AsyncPluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.
        on_serving: Called with the address once connections are taken.

    Raises:
        SpecError: Where it cannot listen there, or a file cannot be used.
        PluginError: Where the server ended by itself: its socket listens no more.
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a ``drain`` that is no such number.
    """
    open_ = opening_tcp(name, addr, tls, specs_path)
    check_sizes(max_request_bytes, max_inflight_bytes)
    inflight = InFlight(max_inflight_bytes, max_request_bytes)
    await _served(app, open_, inflight, drain_given(drain), on_serving)


def asgi(
    app: AsyncApp,
    *,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
) -> ASGI:
    """Make an ASGI application of an app, for uvicorn, hypercorn and the like.

    What such a server makes of heads, of hosts that are slow and of those that end their sending is
    its own: ``serve_unix`` and ``serve_tcp`` are stricter.

    Args:
        app: Answers the requests: an ``AsyncPluginApp``, or a coroutine function.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. An
            ``AsyncPluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond. It
            counts for each process.

    Returns:
        The application: ASGI 3, ``http`` and ``lifespan``.
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
) -> None:
    _checked(app)
    check_platform("serving")
    opened = await _opened(open_)
    try:
        server = AsyncServer(opened.socket, app, opened.context, inflight)
        server.start()
    except BaseException:
        opened.withdraw()
        opened.socket.close()
        raise
    try:
        notify_systemd("READY=1")
        on_serving(opened.address)
        await _until_ended(server.ended, opened.address)
    finally:
        try:
            notify_systemd("STOPPING=1")
            opened.withdraw()
        finally:
            await server.stop(drain)


async def _until_ended(ended: Awaitable[None], address: str) -> None:
    try:
        await ended
    except OSError as error:
        raise PluginError(
            f"the server at {address} has ended by itself: {error_text(error)}"
        ) from error


async def _opened(open_: Opening) -> Opened:
    # It may wait for another process, and reads files: not in the thread of the loop.
    told = threading.Event()
    opening: asyncio.Future[Opened] = asyncio.get_running_loop().run_in_executor(
        None, open_, told.is_set
    )
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        told.set()
        # However often it is cancelled: what the thread opens has no other owner.
        while not opening.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result().withdraw()
            opening.result().socket.close()
        raise
