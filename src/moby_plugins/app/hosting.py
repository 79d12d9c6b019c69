"""Serve an app: open its socket, tell hosts of it, start the HTTP server, and stop all of it once.

``PluginServer`` is the life of a server. ``plugin_server_unix`` and ``plugin_server_tcp`` put
listeners and the server's adapter behind it; ``serve_unix`` and ``serve_tcp`` also run it.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, Protocol, Self, TypeAlias
from wsgiref.types import WSGIApplication

from moby_plugins.app.listening import (
    SOCKET_MODE,
    SPECS_PATH,
    Opening,
    drain_given,
    opening_tcp,
    opening_unix,
)
from moby_plugins.app.subsystem import is_asynchronous
from moby_plugins.domain.address import ServerTLS
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.errors import PluginError, SettingsError, SpecError, error_text
from moby_plugins.domain.http import MAX_INFLIGHT_BYTES, MAX_REQUEST_BYTES, App
from moby_plugins.domain.plugin import SOCKETS_PATH
from moby_plugins.domain.retry import size
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import logger
from moby_plugins.platforms import check_platform

# Seconds that running calls have once the server is told to stop.
DRAIN = 10.0

# Listens, and gives the server, its address, and what removes the files that tell of it.
Open: TypeAlias = Callable[[Any], tuple["HTTPServer", str, Callable[[], None]]]


class HTTPServer(Protocol):
    """What is asked of the server underneath; see ``adapters/server/cheroot_server.py``."""

    def start(self) -> None:
        """Serve in threads; return once connections are taken."""

    def stop(self, drain: float) -> None:
        """Take no more connections; end within about ``drain`` seconds."""


class PluginServer:
    """Serves an app from ``start`` to ``stop``: a context manager that calls both.

    Made by ``plugin_server_unix`` and ``plugin_server_tcp``. It can be started once; ``start`` and
    ``stop`` may be repeated, from any thread, and ``stop`` returns when all is over.

    Args:
        app: Answers the requests: a ``PluginApp``, or a function that threads call; an
            ``AsyncPluginApp``, or a coroutine function, in an event loop in a thread of its own.
        listen: Opens what is listened on: the two functions give it.
        drain: Seconds that running calls have to end; after that their connections are cut.

    Raises:
        ValueError: For a ``drain`` or a number of bytes that cannot be one.
        TypeError: For an argument of another type.

    Examples:
        ```python
        from moby_plugins import new_client
        from moby_plugins.serving import PluginApp, plugin_server_unix

        app = PluginApp()  # of parts that implement subsystems
        with plugin_server_unix(app, "shelf", sockets_path=".") as server:
            with new_client(server.addr) as client:
                assert client.call("Plugin.Activate") == {"Implements": []}
        ```
    """

    def __init__(self, app: App | AsyncApp, listen: Open, *, drain: float = DRAIN) -> None:
        if not callable(app):
            raise TypeError(f"app must be a PluginApp or a function, not {quoted(app)}")
        self._app = app
        self._listen = listen
        self._drain = drain_given(drain)
        self._server: HTTPServer | None = None
        self._withdraw: Callable[[], None] = lambda: None
        self._tell: Callable[[str], None] = lambda _: None
        self._addr = ""
        self._lock = threading.Lock()
        self._stopping = False
        self._stopped = threading.Event()
        self._failure: PluginError | None = None
        # Of all ways to wake a thread, the one that a signal handler may use.
        self._requests: SimpleQueue[None] = SimpleQueue()

    def __repr__(self) -> str:
        where = f"at {shown(self._addr)}" if self._addr else "not started"
        return f"<PluginServer of {shown(self._app)}: {where}>"

    @property
    def addr(self) -> str:
        """The address that a host calls, once started: ``unix:///run/docker/plugins/x.sock``."""
        if not self._addr:
            raise RuntimeError("the server has no address before it is started")
        return self._addr

    def start(self) -> None:
        """Listen, and serve in other threads; returns when connections are taken.

        Raises:
            SpecError: Where it cannot listen there, or a file cannot be used.
            SettingsError: For a missing library or group, or a platform that has no such sockets.
            RuntimeError: After ``stop``.
        """
        with self._lock:
            if self._stopping:
                raise RuntimeError("a server that was stopped cannot be started again")
            if self._server is None:
                self._server, self._addr, self._withdraw = self._listen(self._app)
                try:
                    self._server.start()
                except BaseException:
                    self._withdraw()
                    raise

    def run(self) -> None:
        """Start, tell systemd so, and return once ``stop`` or ``request_stop`` was called and done.

        Raises:
            PluginError: Where the server underneath ended without being told to; and as ``start``.
        """
        try:
            self.start()
        except SpecError:
            if not self.stop_requested():
                raise
            return  # told to stop while it waited for its place
        self._tell = import_module("moby_plugins.adapters.server.listeners").notify_systemd
        self._tell("READY=1")
        try:
            while not self._asked_to_stop():
                pass
        finally:
            self.stop()
        if self._failure is not None:
            raise self._failure

    def _asked_to_stop(self) -> bool:
        # Not for ever: a signal may come between the last look at signals and the wait.
        try:
            self._requests.get(timeout=1.0)
        except Empty:
            return False
        return True

    def abort(self, cause: BaseException | None) -> None:
        """Have ``run`` stop and raise, for the server underneath has ended by itself.

        Changes nothing once ``stop`` was called. Without ``run`` it is logged, and the socket or
        spec stays until ``stop``.

        Args:
            cause: What ended it, if it raised.
        """
        if self._stopping or self._failure is not None:
            return
        why = "" if cause is None else f": {error_text(cause)}"
        self._failure = PluginError(f"the server at {self._addr} has ended by itself{why}")
        self._failure.__cause__ = cause
        logger.error("%s", self._failure)
        self.request_stop()

    def request_stop(self) -> None:
        """Have ``run`` stop, without waiting for it: may be called by a signal handler."""
        self._requests.put(None)

    def stop_requested(self) -> bool:
        """Return whether ``run`` was asked to stop and has not seen it yet."""
        return not self._requests.empty()

    def stop(self) -> None:
        """Remove the socket or spec, take no more connections, let running calls end."""
        with self._lock:
            first, self._stopping = not self._stopping, True
        if not first:
            self._stopped.wait()
            return
        try:
            self._tell("STOPPING=1")
            self._withdraw()
            if self._server is not None:
                self._server.stop(self._drain)
        finally:
            self._stopped.set()
            self.request_stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


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
) -> PluginServer:
    """Make a server for ``app`` on the UNIX socket ``NAME.sock``, where hosts look for it.

    It is removed by ``stop``. Where systemd opened a socket for this process, that one is served,
    and nothing is made or removed.

    Args:
        app: Answers the requests: a ``PluginApp``, or a function that threads call; an
            ``AsyncPluginApp``, or a coroutine function, in an event loop in a thread of its own.
        name: The plugin's; or the absolute path of the socket.
        sockets_path: The directory of the socket, which must be there.
        mode: The socket's permissions.
        group: The group that owns the socket: a name or a number; the process's unless given.
        drain: Seconds that running calls have to end at ``stop``.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.

    Returns:
        The server, not started yet; ``start`` raises where it cannot listen.

    Raises:
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a mode, a group, a ``drain`` or a number of bytes that cannot be one.
        TypeError: For an argument of another type.
    """
    open_ = opening_unix(name, sockets_path, mode, group)
    return _hosted(app, open_, drain, max_request_bytes, max_inflight_bytes)


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
) -> PluginServer:
    """Make a server for ``app`` on TCP, that announces itself to hosts by a spec.

    The spec is ``NAME.spec``, or under ``tls`` ``NAME.json`` with an ``https`` address; it is
    written once connections are taken, and removed by ``stop``. Where systemd opened a socket for
    this process, that one is served, and no spec is written. A request with ``Origin``, a
    browser's, is refused.

    Args:
        app: Answers the requests: a ``PluginApp``, or a function that threads call; an
            ``AsyncPluginApp``, or a coroutine function, in an event loop in a thread of its own.
        name: The plugin's.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: How to speak TLS; without it, plain text.
        specs_path: The directory of the spec.
        drain: Seconds that running calls have to end at ``stop``.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.

    Returns:
        The server, not started yet; ``start`` raises where it cannot listen.

    Raises:
        InvalidPluginNameError: For what cannot be a name.
        ValueError: For a ``drain`` or a number of bytes that cannot be one.
        TypeError: For an argument of another type.
    """
    open_ = opening_tcp(name, addr, tls, specs_path)
    return _hosted(app, open_, drain, max_request_bytes, max_inflight_bytes)


def _hosted(
    app: App | AsyncApp, open_: Opening, drain: float, max_request: int, max_inflight: int
) -> PluginServer:
    _check_sizes(max_request, max_inflight)

    def listen(app: Any) -> tuple[HTTPServer, str, Callable[[], None]]:
        make = server_maker(app, max_request, max_inflight)
        opened = open_(hosted.stop_requested)
        server = make(opened.socket, app, opened.context, on_end=hosted.abort)
        return server, opened.address, opened.withdraw

    hosted = PluginServer(app, listen, drain=drain)
    return hosted


def _check_sizes(max_request_bytes: int, max_inflight_bytes: int) -> None:
    size("max_request_bytes", max_request_bytes)
    size("max_inflight_bytes", max_inflight_bytes)


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
) -> None:
    """Serve an app on a UNIX socket, as ``plugin_server_unix``, until SIGTERM, SIGINT or SIGHUP.

    It returns once all is over, with the socket removed. Called in another thread than the main
    one, it serves until the process ends.

    Args:
        app: Answers the requests: a ``PluginApp``, or a function that threads call; an
            ``AsyncPluginApp``, or a coroutine function, in an event loop in a thread of its own.
        name: The plugin's, and the socket's: ``NAME.sock``.
        sockets_path: The directory of the socket, which must be there.
        mode: The socket's permissions.
        group: The group that owns the socket: a name or a number; the process's unless given.
        drain: Seconds that running calls then have to end.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.

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
) -> None:
    """Serve an app on TCP until SIGTERM, SIGINT or SIGHUP, as ``plugin_server_tcp`` says.

    It returns once all is over, with the spec removed. Called in another thread than the main one,
    it serves until the process ends.

    Args:
        app: Answers the requests: a ``PluginApp``, or a function that threads call; an
            ``AsyncPluginApp``, or a coroutine function, in an event loop in a thread of its own.
        name: The plugin's, and the spec's.
        addr: ``HOST:PORT`` to listen at; port 0 for a free one.
        tls: How to speak TLS; without it, plain text.
        specs_path: The directory of the spec.
        drain: Seconds that running calls then have to end.
        max_request_bytes: How many bytes a request that is read whole may have: 413 beyond. A
            ``PluginApp`` has a bound of its own.
        max_inflight_bytes: How many bytes the bodies of all requests keep together: 503 beyond.

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
    _check_sizes(max_request_bytes, max_inflight_bytes)
    from moby_plugins.adapters.server.answering import InFlight
    from moby_plugins.adapters.server.answering import wsgi as adapted

    return adapted(app, InFlight(max_inflight_bytes, max_request_bytes))


@contextmanager
def stopped_by_signals(server: PluginServer) -> Iterator[None]:
    """Have SIGTERM, SIGINT and SIGHUP end ``server.run()`` inside this block.

    In the main thread only. A SIGHUP that the process ignores, as under ``nohup``, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, signal.SIGINT]
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    before = {number: signal.signal(number, lambda *_: server.request_stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def is_async_app(app: object) -> bool:
    """Whether ``app`` is a coroutine function, or an object that is called as one."""
    return is_asynchronous(app) or is_asynchronous(type(app).__call__)
