"""Serve an app on a UNIX socket, on TCP, or as a WSGI application.

``plugin_server_unix`` and ``plugin_server_tcp`` make a ``PluginServer`` from a listener and an HTTP
server; ``serve_unix`` and ``serve_tcp`` also run it.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any
from wsgiref.types import WSGIApplication

from moby_plugins.app.listening import (
    SOCKET_MODE,
    SPECS_PATH,
    Opening,
    check_sizes,
    opening_tcp,
    opening_unix,
)
from moby_plugins.app.plugin_server import (
    DRAIN,
    HTTPServer,
    Metrics,
    PluginServer,
    stopped_by_signals,
)
from moby_plugins.app.serving import is_async_app
from moby_plugins.domain.address import ServerTLS
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.http import MAX_INFLIGHT_BYTES, MAX_REQUEST_BYTES, App
from moby_plugins.domain.plugin import SOCKETS_PATH
from moby_plugins.platforms import check_platform


def plugin_server_unix(
    app: App | AsyncApp,
    name: str,
    *,
    sockets_path: str = SOCKETS_PATH,
    mode: int = SOCKET_MODE,
    group: str | int | None = None,
    drain: float = DRAIN,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
    metrics: Metrics | None = None,
) -> PluginServer:
    """Return a server for ``app`` on the UNIX socket ``NAME.sock``, where hosts look for it.

    ``start`` creates the socket and ``stop`` removes it. If systemd opened a socket for this
    process, the server uses that one, and creates and removes none.

    Args:
        app: The app that answers the requests. Threads call it; if it is an ``AsyncPluginApp`` or a
            coroutine function, an event loop in a separate thread awaits it.
        name: The plugin's name, or the absolute path of the socket.
        sockets_path: The directory of the socket; it is created if it is missing.
        mode: The socket's permission bits, for example ``0o660``.
        group: The group that owns the socket, as a name or a number; by default the process's.
        drain: Seconds for which ``stop`` waits for running calls; after that they are cut off.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. A ``PluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests may have
            together; a request beyond that gets status 503.
        metrics: A server of ``/metrics`` and ``/health`` at an address of its own.

    Returns:
        The server, not started yet; ``start`` raises if it cannot listen.

    Raises:
        InvalidPluginNameError: If ``name`` is not a valid name.
        ValueError: If the mode, the group, ``drain`` or a number of bytes is out of range.
        TypeError: If an argument has another type.
    """
    opening = opening_unix(name, sockets_path, mode, group)
    sizes = max_request_bytes, max_inflight_bytes
    return _plugin_server(app, "serving on a UNIX socket", opening, drain, sizes, metrics=metrics)


def plugin_server_tcp(
    app: App | AsyncApp,
    name: str,
    addr: str = "127.0.0.1:0",
    *,
    tls: ServerTLS | None = None,
    specs_path: str = SPECS_PATH,
    drain: float = DRAIN,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
    metrics: Metrics | None = None,
) -> PluginServer:
    """Return a server for ``app`` on TCP, which hosts find by a spec file.

    The file is ``NAME.spec``, or with ``tls`` ``NAME.json`` with an ``https`` address. ``start``
    writes it after opening the socket, and ``stop`` removes it. If systemd opened a socket for this
    process, the server uses that one and writes no file. A request with an ``Origin`` header, which
    a browser sends, is refused.

    Args:
        app: The app that answers the requests. Threads call it; if it is an ``AsyncPluginApp`` or a
            coroutine function, an event loop in a separate thread awaits it.
        name: The plugin's name.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: The TLS options; without them, the server speaks plain HTTP.
        specs_path: The directory of the spec file.
        drain: Seconds for which ``stop`` waits for running calls; after that they are cut off.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. A ``PluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests may have
            together; a request beyond that gets status 503.
        metrics: A server of ``/metrics`` and ``/health`` at an address of its own.

    Returns:
        The server, not started yet; ``start`` raises if it cannot listen.

    Raises:
        InvalidPluginNameError: If ``name`` is not a valid name.
        ValueError: If ``drain`` or a number of bytes is out of range.
        TypeError: If an argument has another type.
    """
    opening = opening_tcp(name, addr, tls, specs_path)
    sizes = max_request_bytes, max_inflight_bytes
    return _plugin_server(app, "serving", opening, drain, sizes, metrics=metrics)


def _plugin_server(
    app: App | AsyncApp,
    part: str,
    opening: Opening,
    drain: float,
    sizes: tuple[int, int],
    *,
    metrics: Metrics | None,
) -> PluginServer:
    """Return a ``PluginServer`` that opens its socket with ``opening`` when it is started.

    ``part`` names the feature in the error that ``start`` raises if the platform lacks it.
    ``sizes`` are ``max_request_bytes`` and ``max_inflight_bytes``.
    """
    check_sizes(*sizes)

    def listen(served_app: Any) -> tuple[HTTPServer, str, Callable[[], None]]:
        # Called by ``plugin_server.start``, so ``plugin_server`` is assigned below by then.
        check_platform(part)
        make_server = server_maker(served_app, *sizes)
        opened = opening(plugin_server.stop_requested)
        server = make_server(opened.socket, served_app, opened.context, on_end=plugin_server.abort)
        return server, opened.address, opened.withdraw

    plugin_server = PluginServer(app, listen, drain=drain, metrics=metrics)
    return plugin_server


def serve_unix(
    app: App | AsyncApp,
    name: str,
    *,
    sockets_path: str = SOCKETS_PATH,
    mode: int = SOCKET_MODE,
    group: str | int | None = None,
    drain: float = DRAIN,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
    metrics: Metrics | None = None,
) -> None:
    """Serve an app on a UNIX socket, as ``plugin_server_unix``, until SIGTERM, SIGINT or SIGHUP.

    It returns when the server has ended and the socket is removed. In a thread other than the main
    thread it gets no signals, and serves until the process ends.

    Args:
        app: The app that answers the requests. Threads call it; if it is an ``AsyncPluginApp`` or a
            coroutine function, an event loop in a separate thread awaits it.
        name: The plugin's name, or the absolute path of the socket; the socket is ``NAME.sock``.
        sockets_path: The directory of the socket; it is created if it is missing.
        mode: The socket's permission bits, for example ``0o660``.
        group: The group that owns the socket, as a name or a number; by default the process's.
        drain: Seconds to wait for running calls after the signal; after that they are cut off.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. A ``PluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests may have
            together; a request beyond that gets status 503.
        metrics: A server of ``/metrics`` and ``/health`` at an address of its own.

    Raises:
        SpecError: If the server cannot listen at the socket.
        SettingsError: If a required library is not installed, the group does not exist, or the
            platform has no UNIX sockets.
        PluginError: If the HTTP server ended by itself.
        InvalidPluginNameError: If ``name`` is not a valid name.
        ValueError: If the mode, the group, ``drain`` or a number of bytes is out of range.
        TypeError: If an argument has another type.

    Examples:
        ```python
        from moby_plugins.serving import PluginApp, serve_unix
        from moby_plugins.subsystems import VolumeDriver


        class Shelf(VolumeDriver):
            def list(self):
                return []


        serve_unix(PluginApp(Shelf()), "shelf", sockets_path=".")  # by default, where engines look
        ```
    """
    server = plugin_server_unix(
        app,
        name,
        sockets_path=sockets_path,
        mode=mode,
        group=group,
        drain=drain,
        max_request_bytes=max_request_bytes,
        max_inflight_bytes=max_inflight_bytes,
        metrics=metrics,
    )
    with stopped_by_signals(server):
        server.run()


def serve_tcp(
    app: App | AsyncApp,
    name: str,
    addr: str = "127.0.0.1:0",
    *,
    tls: ServerTLS | None = None,
    specs_path: str = SPECS_PATH,
    drain: float = DRAIN,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
    metrics: Metrics | None = None,
) -> None:
    """Serve an app on TCP, as ``plugin_server_tcp``, until SIGTERM, SIGINT or SIGHUP.

    It returns when the server has ended and the spec file is removed. In a thread other than the
    main thread it gets no signals, and serves until the process ends.

    Args:
        app: The app that answers the requests. Threads call it; if it is an ``AsyncPluginApp`` or a
            coroutine function, an event loop in a separate thread awaits it.
        name: The plugin's name, and that of the spec file.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: The TLS options; without them, the server speaks plain HTTP.
        specs_path: The directory of the spec file.
        drain: Seconds to wait for running calls after the signal; after that they are cut off.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. A ``PluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests may have
            together; a request beyond that gets status 503.
        metrics: A server of ``/metrics`` and ``/health`` at an address of its own.

    Raises:
        SpecError: If the server cannot listen at the address, or a file cannot be used.
        SettingsError: If a required library is not installed.
        PluginError: If the HTTP server ended by itself.
        InvalidPluginNameError: If ``name`` is not a valid name.
        ValueError: If ``drain`` or a number of bytes is out of range.
        TypeError: If an argument has another type.

    Examples:
        ```python
        from moby_plugins.serving import PluginApp, serve_tcp
        from moby_plugins.subsystems import VolumeDriver


        class Shelf(VolumeDriver):
            def list(self):
                return []


        serve_tcp(PluginApp(Shelf()), "shelf", "127.0.0.1:0", specs_path=".")
        ```
    """
    server = plugin_server_tcp(
        app,
        name,
        addr,
        tls=tls,
        specs_path=specs_path,
        drain=drain,
        max_request_bytes=max_request_bytes,
        max_inflight_bytes=max_inflight_bytes,
        metrics=metrics,
    )
    with stopped_by_signals(server):
        server.run()


def wsgi(
    app: App,
    *,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
) -> WSGIApplication:
    """Return a WSGI application for an app, to be served by gunicorn or a similar server.

    Args:
        app: The app that answers the requests.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``; a
            larger one gets status 413. A ``PluginApp`` applies its own limit instead.
        max_inflight_bytes: The most bytes that the bodies of all running requests of one process
            may have together; a request beyond that gets status 503.

    Returns:
        The WSGI application.
    """
    check_sizes(max_request_bytes, max_inflight_bytes)
    from moby_plugins.adapters.server.answering import InFlight
    from moby_plugins.adapters.server.answering import wsgi as adapted

    return adapted(app, InFlight(max_inflight_bytes, max_request_bytes))


def server_maker(
    app: App | AsyncApp, max_request_bytes: int, max_inflight_bytes: int
) -> Callable[..., HTTPServer]:
    """Return a function that makes a server for ``app``: cheroot's, or our own for asyncio.

    Raise ``SettingsError`` if the platform cannot serve, or if ``app`` is synchronous and cheroot
    is not installed.
    """
    check_platform("serving")
    inflight = import_module("moby_plugins.adapters.server.answering").InFlight(
        max_inflight_bytes, max_request_bytes
    )
    if is_async_app(app):
        loop_server = import_module("moby_plugins.adapters.aio.loop_server").LoopServer
        return lambda sock, app, context, on_end: loop_server(
            sock, app, context, inflight, on_end=on_end
        )
    try:
        cheroot = import_module("moby_plugins.adapters.server.cheroot_server")
    except ModuleNotFoundError as error:
        missing = f"serving needs {error.name}: pip install 'moby-plugins[serve]'"
        raise SettingsError(missing) from error
    server: Callable[..., HTTPServer] = cheroot.CherootServer
    return lambda sock, app, context, on_end: server(
        sock, cheroot.gateway_to(app, inflight), context, on_end=on_end
    )
