"""The life of a served plugin: open the socket, run the server, and stop both once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, Protocol, Self, TypeAlias

from moby_plugins.app.listening import drain_given
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.errors import PluginError, SpecError, error_text
from moby_plugins.domain.http import App
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import call_all, logger
from moby_plugins.platforms import ending_signals_handled
from moby_plugins.ports import filled

# Seconds that running calls have to end when the server stops.
DRAIN = 10.0

# Opens the socket; returns the server, its address, and a function that removes its files.
Open: TypeAlias = Callable[[Any], tuple["HTTPServer", str, Callable[[], None]]]


class HTTPServer(Protocol):
    """The interface of HTTP servers: ``CherootServer``, and ``LoopServer`` for asyncio apps."""

    def start(self) -> None:
        """Serve in threads; return once connections are accepted."""

    def stop(self, drain: float) -> None:
        """Accept no more connections, and return when running calls have ended.

        Calls that are still running after ``drain`` seconds are cut off.
        """

    def cut(self) -> None:
        """Make ``stop``, which another thread has called, cut off running calls now.

        May be called by a signal handler.
        """


class Metrics(Protocol):
    """The interface of a ``MetricsServer``, which serves metrics at an address of its own."""

    def start(self, is_serving: Callable[[], bool]) -> None:
        """Serve in threads; ``is_serving`` returns whether the plugin is served, not stopping."""

    def stop(self) -> None:
        """Stop serving; may be called more than once."""


class PluginServer:
    """A server of an app, from ``start`` to ``stop``; as a context manager it calls both.

    Made by ``plugin_server_unix`` and ``plugin_server_tcp``. A server that was stopped cannot be
    started again. Any thread may call ``start`` and ``stop``, more than once; ``stop`` returns when
    the server has ended.

    Args:
        app: The app that answers the requests. Threads call it; if it is an ``AsyncPluginApp`` or a
            coroutine function, an event loop in a separate thread awaits it.
        listen: Opens the socket; ``plugin_server_unix`` and ``plugin_server_tcp`` pass it.
        drain: Seconds for which ``stop`` waits for running calls; after that they are cut off.
        metrics: A server for metrics, started before this one and stopped after it.

    Raises:
        ValueError: If ``drain`` is not a valid number of seconds.
        TypeError: If an argument has another type.

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

    def __init__(
        self,
        app: App | AsyncApp,
        listen: Open,
        *,
        drain: float = DRAIN,
        metrics: Metrics | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be a PluginApp or a function, not {quoted(app)}")
        self._app = app
        self._listen = listen
        self._drain = drain_given(drain)
        self._metrics = metrics if metrics is None else filled("metrics", metrics, "start", "stop")
        self._is_served = False
        self._server: HTTPServer | None = None
        self._withdraw: Callable[[], None] = lambda: None
        self._notify_systemd: Callable[[str], None] = lambda _: None
        self._addr = ""
        self._lock = threading.Lock()
        self._stopping = False
        self._stopped = threading.Event()
        self._failure: PluginError | None = None
        # A SimpleQueue, because a signal handler may put into it.
        self._requests: SimpleQueue[None] = SimpleQueue()

    def __repr__(self) -> str:
        where = f"at {shown(self._addr)}" if self._addr else "not started"
        return f"<PluginServer of {shown(self._app)}: {where}>"

    @property
    def addr(self) -> str:
        """The address for hosts, for example ``unix:///run/docker/plugins/x.sock``.

        Raises ``RuntimeError`` before ``start``.
        """
        if not self._addr:
            raise RuntimeError("the server has no address before it is started: call start() first")
        return self._addr

    def start(self) -> None:
        """Listen, and serve in other threads; return once connections are accepted.

        Raises:
            SpecError: If the server cannot listen at the address, or a file cannot be used.
            SettingsError: If a required library is not installed, the group does not exist, or the
                platform lacks the kind of socket.
            RuntimeError: If the server was stopped before.
        """
        with self._lock:
            if self._stopping:
                raise RuntimeError("a stopped server cannot be started again: make a new one")
            if self._server is None:
                if self._metrics is not None:
                    self._metrics.start(lambda: self._is_served)
                try:
                    self._server, self._addr, self._withdraw = self._listen(self._app)
                    self._server.start()
                except BaseException:
                    call_all([self._withdraw, self._stop_metrics])
                    raise
                self._is_served = True

    def run(self) -> None:
        """Start, notify systemd, and return after ``stop`` or ``request_stop`` was called.

        When it returns, the server has ended.

        Raises:
            PluginError: If the HTTP server ended by itself, or one of the errors that ``start``
                raises: ``SpecError``, ``SettingsError``.
        """
        try:
            self.start()
        except SpecError:
            if not self.stop_requested():
                raise
            return  # asked to stop while it waited for another server's socket
        self._notify_systemd = import_module(
            "moby_plugins.adapters.server.listeners"
        ).notify_systemd
        self._notify_systemd("READY=1")
        try:
            while not self._asked_to_stop():
                pass
        finally:
            self.stop()
        if self._failure is not None:
            raise self._failure

    def _asked_to_stop(self) -> bool:
        # With a time-out: a signal may arrive between Python's last check for signals and the wait.
        try:
            self._requests.get(timeout=1.0)
        except Empty:
            return False
        return True

    def abort(self, cause: BaseException | None) -> None:
        """Make ``run`` stop and raise, because the HTTP server has ended by itself.

        The failure is logged. If ``run`` is not used, the socket or spec stays until ``stop``.
        After ``stop`` was called, this does nothing.

        Args:
            cause: The exception that ended the server, or ``None``.
        """
        if self._stopping or self._failure is not None:
            return
        why = "" if cause is None else f": {error_text(cause)}"
        self._failure = PluginError(f"the server at {self._addr} has ended by itself{why}")
        self._failure.__cause__ = cause
        self._is_served = False
        logger.error("%s", self._failure)
        self.request_stop()

    def request_stop(self) -> None:
        """Make ``run`` stop, without waiting for it; may be called by a signal handler."""
        self._requests.put(None)

    def cut_off(self) -> None:
        """End the wait of ``stop`` for running calls; may be called by a signal handler.

        The calls are cut off, as at the end of ``drain``. Before ``stop`` this does nothing.
        """
        if self._stopping and self._server is not None:
            self._server.cut()

    def stop_requested(self) -> bool:
        """Return whether ``run`` was asked to stop and has not yet reacted."""
        return not self._requests.empty()

    def stop(self) -> None:
        """Remove the socket or spec, accept no more connections, and let running calls end.

        Calls that are still running after ``drain`` seconds are cut off. If another thread is
        already stopping the server, wait until it has ended.
        """
        with self._lock:
            first, self._stopping = not self._stopping, True
            self._is_served = False
        if not first:
            self._stopped.wait()
            return
        ends: list[Callable[[], object]] = []
        if self._server is not None:
            ends = [partial(self._server.stop, self._drain), self._stop_metrics]
        try:
            call_all([partial(self._notify_systemd, "STOPPING=1"), self._withdraw, *ends])
        finally:
            self._stopped.set()
            self.request_stop()

    def _stop_metrics(self) -> None:
        if self._metrics is not None:
            self._metrics.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def stopped_by_signals(server: PluginServer) -> Iterator[None]:
    """Make SIGTERM, SIGINT and SIGHUP end ``server.run()`` inside this block.

    A SIGINT (Ctrl-C) while the server waits for running calls cuts them off.

    This has an effect in the main thread only. If the process ignores SIGHUP, as under ``nohup``,
    it stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, _: object) -> None:
        server.request_stop()
        if number == signal.SIGINT:  # not for SIGTERM, which may come from several others at once
            server.cut_off()

    with ending_signals_handled(handler):
        yield
