"""The life of a served plugin: its socket opened, its server run, and all of it stopped once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, Protocol, Self, TypeAlias

from moby_plugins.app.listening import drain_given
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.errors import PluginError, SpecError, error_text
from moby_plugins.domain.http import App
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import logger
from moby_plugins.ports import filled

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


class Metrics(Protocol):
    """What is served beside a plugin, at an address of its own: a ``MetricsServer``."""

    def start(self, is_serving: Callable[[], bool]) -> None:
        """Serve in threads, and say of the plugin's health what ``is_serving`` returns."""

    def stop(self) -> None:
        """Serve no longer; may be called more than once."""


class PluginServer:
    """Serves an app from ``start`` to ``stop``: a context manager that calls both.

    Made by ``plugin_server_unix`` and ``plugin_server_tcp``. It can be started once; ``start`` and
    ``stop`` may be repeated, from any thread, and ``stop`` returns when all is over.

    Args:
        app: Answers the requests; threads call it, or an event loop in a thread of its own awaits
            it, where it is an ``AsyncPluginApp`` or a coroutine function.
        listen: Opens what is listened on: the two functions give it.
        drain: Seconds that running calls have to end; after that their connections are cut.
        metrics: Started before the server, and stopped after it.

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
                if self._metrics is not None:
                    self._metrics.start(lambda: self._is_served)
                try:
                    self._server, self._addr, self._withdraw = self._listen(self._app)
                    self._server.start()
                except BaseException:
                    self._withdraw()
                    self._stop_metrics()
                    raise
                self._is_served = True

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
        self._is_served = False
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
            self._is_served = False
        if not first:
            self._stopped.wait()
            return
        try:
            self._tell("STOPPING=1")
            self._withdraw()
            if self._server is not None:
                self._server.stop(self._drain)
        finally:
            self._stop_metrics()
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
