"""How to dial a UNIX socket."""

import errno
import os
import socket
import struct

from moby_plugins.adapters.http.deadline_socket import DeadlineSocket
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown

# sockaddr_un has 108 bytes for the path and its NUL.
MAX_PATH_BYTES = 107


class UnixSocketDial:
    """Dials ``address.path``; raises ``SpecError`` at once for a path no socket can have."""

    def __init__(self, address: Address) -> None:
        self._path = check_socket_path(address.path)

    def __call__(self, timeout: float | None) -> DeadlineSocket:
        """A connected socket without a time-out of its own.

        Raises ``OSError``, ``TimeoutError`` after ``timeout`` seconds.
        """
        sock = DeadlineSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(sock, timeout)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect(self, sock: DeadlineSocket, timeout: float | None) -> None:
        # Under settimeout() a full backlog is EAGAIN at once; SO_SNDTIMEO waits for a place.
        # To the kernel 0 is no limit at all.
        _limit_connect(sock, 0 if timeout is None else max(timeout, 1e-3))
        try:
            sock.connect(self._path)
        except BlockingIOError as error:
            raise TimeoutError(errno.ETIMEDOUT, "the plugin takes no connections") from error
        _limit_connect(sock, 0)


def check_socket_path(path: str) -> str:
    """``path`` again, or ``SpecError`` where it is longer than a socket's can be."""
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise SpecError(
            f"socket path {shown(path)} has {size} bytes; the limit is {MAX_PATH_BYTES}"
        )
    return path


def probe_socket(path: str) -> OSError | None:
    """What connecting to the UNIX socket ``path`` fails with, ``None`` where somebody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return None  # so busy that it takes no connections, but it lives
        except OSError as error:
            return error
    return None


def _limit_connect(sock: socket.socket, seconds: float) -> None:
    whole, fraction = divmod(seconds, 1)
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(whole), int(fraction * 1e6))
    )
