"""The life of a server: started once, stopped once, from whichever thread."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol, Self, TypeAlias

from moby_plugins.domain.http import App

# Seconds that running calls have once the server is told to stop.
DRAIN = 10.0

# Listens, and gives the server, its address, and what removes the files that tell of it.
Open: TypeAlias = Callable[[App], tuple["HTTPServer", str, Callable[[], None]]]


class HTTPServer(Protocol):
    """What is asked of the server underneath; see ``adapters/server/cheroot_server.py``."""

    def start(self) -> None:
        """Serve in threads; return once connections are taken."""

    def stop(self, drain: float) -> None:
        """Take no more connections; end within about ``drain`` seconds."""


class PluginServer:
    """Serves ``app`` from ``start`` to ``stop``: a context manager that calls both.

    Made by ``plugin_server_unix`` and ``plugin_server_tcp``. It can be started
    once; ``start`` and ``stop`` may be repeated, from any thread, and ``stop``
    returns when all is over. ``drain`` is how many seconds running calls have
    to end; after that their connections are cut.
    """

    def __init__(self, app: App, listen: Open, *, drain: float = DRAIN) -> None:
        self._app = app
        self._listen = listen
        self._drain = drain
        self._server: HTTPServer | None = None
        self._withdraw: Callable[[], None] = lambda: None
        self._addr = ""
        self._lock = threading.Lock()
        self._stopping = False
        self._stopped = threading.Event()
        # Of all ways to wake a thread, the one that a signal handler may use.
        self._requests: SimpleQueue[None] = SimpleQueue()

    @property
    def addr(self) -> str:
        """The address that a host calls, once started: ``unix:///run/docker/plugins/x.sock``."""
        if not self._addr:
            raise RuntimeError("the server has no address before it is started")
        return self._addr

    def start(self) -> None:
        """Listen, and serve in other threads; returns when connections are taken.

        Raises ``SpecError`` where it cannot listen there or a file cannot be
        used, and ``SettingsError`` for a missing library or group.
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
        """Start, and return when ``stop`` or ``request_stop`` was called and all is over."""
        self.start()
        try:
            while not self._asked_to_stop():
                pass
        finally:
            self.stop()

    def _asked_to_stop(self) -> bool:
        # Not for ever: a signal may come between the last look at signals and the wait.
        try:
            self._requests.get(timeout=1.0)
        except Empty:
            return False
        return True

    def request_stop(self) -> None:
        """Have ``run`` stop, without waiting for it: may be called by a signal handler."""
        self._requests.put(None)

    def stop(self) -> None:
        """Remove the socket or spec, take no more connections, let running calls end."""
        with self._lock:
            first, self._stopping = not self._stopping, True
        if not first:
            self._stopped.wait()
            return
        try:
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
