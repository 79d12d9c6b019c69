"""Serve an app at a socket that hosts find: on a UNIX socket, on TCP, or as a WSGI application.

``plugin_server_unix`` and ``plugin_server_tcp`` put listeners and the server's adapter behind a
``PluginServer``; ``serve_unix`` and ``serve_tcp`` also run it.
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
    """Make a server for ``app`` on the UNIX socket ``NAME.sock``, where hosts look for it.

    It is removed by ``stop``. Where systemd opened a socket for this process, that one is served,
    and nothing is made or removed.

    Args:
        app: Answers the requests; threads call it, or an event loop in a thread of its own awaits
            it, where it is an ``AsyncPluginApp`` or a coroutine function.
        name: The plugin's; or the absolute path of the socket.
        sockets_path: The directory of the socket, which must be there.
        mode: The socket's permissions.
        group: The group that owns the socket: a name or a number; the process's unless given.
        drain: Seconds that running calls have to end at ``stop``.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.
        metrics: Answers ``/metrics`` and ``/health`` at an address of its own.

    Returns:
        The server, not started yet; ``start`` raises where it cannot listen.

    Raises:
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a mode, a group, a ``drain`` or a number of bytes that cannot be one.
        TypeError: For an argument of another type.
    """
    open_ = opening_unix(name, sockets_path, mode, group)
    sizes = max_request_bytes, max_inflight_bytes
    return _hosted(app, "serving on a UNIX socket", open_, drain, sizes, metrics=metrics)


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
    """Make a server for ``app`` on TCP, that announces itself to hosts by a spec.

    The spec is ``NAME.spec``, or under ``tls`` ``NAME.json`` with an ``https`` address; it is
    written once connections are taken, and removed by ``stop``. Where systemd opened a socket for
    this process, that one is served, and no spec is written. A request with ``Origin``, a
    browser's, is refused.

    Args:
        app: Answers the requests; threads call it, or an event loop in a thread of its own awaits
            it, where it is an ``AsyncPluginApp`` or a coroutine function.
        name: The plugin's.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: How to speak TLS; without it, plain text.
        specs_path: The directory of the spec.
        drain: Seconds that running calls have to end at ``stop``.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.
        metrics: Answers ``/metrics`` and ``/health`` at an address of its own.

    Returns:
        The server, not started yet; ``start`` raises where it cannot listen.

    Raises:
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a ``drain`` or a number of bytes that cannot be one.
        TypeError: For an argument of another type.
    """
    open_ = opening_tcp(name, addr, tls, specs_path)
    sizes = max_request_bytes, max_inflight_bytes
    return _hosted(app, "serving", open_, drain, sizes, metrics=metrics)


def _hosted(
    app: App | AsyncApp,
    part: str,
    open_: Opening,
    drain: float,
    sizes: tuple[int, int],
    *,
    metrics: Metrics | None,
) -> PluginServer:
    check_sizes(*sizes)

    def listen(app: Any) -> tuple[HTTPServer, str, Callable[[], None]]:
        check_platform(part)
        make = server_maker(app, *sizes)
        at = open_(hosted.stop_requested)
        return make(at.socket, app, at.context, on_end=hosted.abort), at.address, at.withdraw

    return (hosted := PluginServer(app, listen, drain=drain, metrics=metrics))


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

    It returns once all is over, with the socket removed. Called in another thread than the main
    one, it serves until the process ends.

    Args:
        app: Answers the requests; threads call it, or an event loop in a thread of its own awaits
            it, where it is an ``AsyncPluginApp`` or a coroutine function.
        name: The plugin's, and the socket's: ``NAME.sock``.
        sockets_path: The directory of the socket, which must be there.
        mode: The socket's permissions.
        group: The group that owns the socket: a name or a number; the process's unless given.
        drain: Seconds that running calls then have to end.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.
        metrics: Answers ``/metrics`` and ``/health`` at an address of its own.

    Raises:
        SpecError: Where it cannot listen there.
        SettingsError: For a missing library or group, or a platform without UNIX sockets.
        PluginError: Where the server underneath ended by itself.
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a mode, a group, a ``drain`` or a number of bytes that cannot be one.
        TypeError: For an argument of another type.

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
    """Serve an app on TCP until SIGTERM, SIGINT or SIGHUP, as ``plugin_server_tcp`` says.

    It returns once all is over, with the spec removed. Called in another thread than the main one,
    it serves until the process ends.

    Args:
        app: Answers the requests; threads call it, or an event loop in a thread of its own awaits
            it, where it is an ``AsyncPluginApp`` or a coroutine function.
        name: The plugin's, and the spec's.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: How to speak TLS; without it, plain text.
        specs_path: The directory of the spec.
        drain: Seconds that running calls then have to end.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.
        metrics: Answers ``/metrics`` and ``/health`` at an address of its own.

    Raises:
        SpecError: Where it cannot listen there, or a file cannot be used.
        SettingsError: For a missing library.
        PluginError: Where the server underneath ended by itself.
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a ``drain`` or a number of bytes that cannot be one.
        TypeError: For an argument of another type.

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
    """Make a WSGI application of an app, for gunicorn and the like.

    Args:
        app: Answers the requests.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond. It
            counts for each process.

    Returns:
        The application.
    """
    check_sizes(max_request_bytes, max_inflight_bytes)
    from moby_plugins.adapters.server.answering import InFlight
    from moby_plugins.adapters.server.answering import wsgi as adapted

    return adapted(app, InFlight(max_inflight_bytes, max_request_bytes))


def server_maker(
    app: App | AsyncApp, max_request_bytes: int, max_inflight_bytes: int
) -> Callable[..., HTTPServer]:
    """What makes the server underneath; raises ``SettingsError`` where that is not installed."""
    check_platform("serving")
    inflight = import_module("moby_plugins.adapters.server.answering").InFlight(
        max_inflight_bytes, max_request_bytes
    )
    if is_async_app(app):
        loop_thread = import_module("moby_plugins.adapters.aio.loop_thread").LoopThread
        return lambda sock, app, context, on_end: loop_thread(
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
