"""Where a plugin of a test listens, and the places beside it at which nobody can be reached."""

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from moby_plugins.adapters.server.listeners import Listener, listen_tcp, listen_unix
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import SettingsError

SOCKET_MODE = 0o600
NOBODY = 65534


@frozen
class SocketPlace:
    """A UNIX socket's path. Its methods raise as ``listen_unix`` does."""

    path: str

    def listen(self) -> Listener:
        """A socket that can be dialled."""
        return listen_unix(self.path, SOCKET_MODE, None)

    def dead_end(self, number: int) -> Listener:
        """One that cannot: dialling it gives the ``OSError`` of that number."""
        if number == errno.ENOENT:
            return Listener(socket.socket(socket.AF_UNIX), Address.of_socket(self.path).text)
        # Whether it may be connected to is asked before whether anybody listens.
        listener = listen_unix(self.path, 0 if number == errno.EACCES else SOCKET_MODE, None)
        listener.socket.close()
        return listener

    def beside(self, number: int) -> "SocketPlace":
        """Another path, for such a dead end; no look-up finds it."""
        return SocketPlace(f"{self.path}-{number}")


@frozen
class PortPlace:
    """A free port of ``host``, for addresses of ``scheme``."""

    host: str
    scheme: str

    def listen(self) -> Listener:
        """A socket that can be dialled; raises as ``listen_tcp`` does."""
        return listen_tcp(f"{self.host}:0", self.scheme)

    def dead_end(self, number: int) -> Listener:
        """A port that refuses, and is nobody else's; ``SettingsError`` for another number."""
        if number != errno.ECONNREFUSED:
            raise SettingsError(f"only a UNIX socket can fail with: {os.strerror(number)}")
        sock = socket.socket(socket.AF_INET)
        sock.bind((self.host, 0))
        return Listener(sock, f"{self.scheme}://{self.host}:{sock.getsockname()[1]}")

    def beside(self, _: int) -> "PortPlace":
        """The same: each port is another."""
        return self


@contextmanager
def as_nobody() -> Iterator[None]:
    """What root may open, this thread may not open meanwhile: to root no socket is denied.

    Raises ``SettingsError`` for root on a system where one thread cannot be somebody else.
    """
    if os.geteuid() != 0:
        yield
        return
    setfsuid = getattr(ctypes.CDLL(None), "setfsuid", None)
    if setfsuid is None:
        raise SettingsError("to root no socket is denied; run the test as somebody else")
    setfsuid(NOBODY)
    try:
        yield
    finally:
        setfsuid(0)
