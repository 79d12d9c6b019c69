"""Accepted connections, each served in a thread of its own until all is closed."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

# Seconds in which a thread must notice that its connection was shut down.
PATIENCE = 5.0


class Connections:
    """Gives each connection that ``listener`` accepts to ``serve``, and closes it afterwards.

    With a ``context`` they are under TLS, and shake hands when they are first
    read. An ``OSError`` out of ``serve`` is the end of that connection and no
    more. ``start`` and ``close`` may come from different threads.
    """

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[socket.socket], object],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._context = context
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._closing = False
        self._accepting = threading.Thread(target=self._accept, name="accepting", daemon=True)

    def start(self) -> None:
        """Accept connections, in a thread; once."""
        self._accepting.start()

    def close(self) -> None:
        """Stop listening, shut all connections down, and wait for their threads."""
        with self._lock:
            self._closing = True
            threads = list(self._open)
            for sock in self._open.values():
                _shut_down(sock)
        _shut_down(self._listener)
        for thread in (self._accepting, *threads):
            if thread.is_alive():
                thread.join(PATIENCE)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:  # it had nothing to take a connection with
                continue
            except OSError:
                return
            if self._context is not None:
                sock = self._context.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            with self._lock:
                if self._closing:
                    sock.close()
                    return
                thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
                self._open[thread] = sock
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                self._serve(sock)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]
                sock.close()


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # where the other end was quicker
        # The plain one: that of a TLS socket also forgets its keys, which a thread may be using.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
