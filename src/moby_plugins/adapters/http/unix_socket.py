"""Dialling and examining UNIX sockets."""

import errno
import math
import os
import socket
import stat
import struct
import time
from contextlib import suppress

from moby_plugins.adapters.http.deadline_socket import DeadlineSocket, OpenSockets
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import is_encodable, quoted, shown
from moby_plugins.platforms import check_platform

# sockaddr_un has 108 bytes for the path and its NUL.
MAX_PATH_BYTES = 107
# In /proc/net/unix: the flag of a listening socket, and the states of connections, accepted or
# not.
_COLUMNS = ("Num", "RefCount", "Protocol", "Flags", "Type", "St", "Inode", "Path")
_ACCEPTS = 1 << 16
_OPEN = ("02", "03")
# Seconds between checks whether to stop: waiting for a place in the queue cannot be woken.
_LOOK = 0.05


class UnixSocketDialer:
    """A dialer for ``address.path``; creating it raises ``SpecError`` if the path is too long."""

    def __init__(self, address: Address) -> None:
        if not hasattr(socket, "AF_UNIX"):  # checked here, as every activation passes here
            check_platform("a UNIX socket")
        self.path: str = check_socket_path(address.path)
        self._sockets = OpenSockets()

    def __call__(self, timeout: float | None) -> DeadlineSocket:
        """Return a connected socket without a time-out of its own.

        Raises ``OSError``, ``TimeoutError`` after ``timeout`` seconds.
        """
        sock = DeadlineSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sockets.add(sock)
            self._connect(sock, timeout)
        except BaseException as error:
            sock.close()
            check_refusal(error, self.path)
            raise
        return sock

    def start(self) -> tuple[DeadlineSocket, bool] | None:
        """Connect without waiting; return the socket and true.

        Returns ``None`` if the plugin's queue of new connections is full. Raises ``OSError`` if the
        dial fails.
        """
        sock = DeadlineSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sockets.add(sock)
            sock.setblocking(False)
            sock.connect(self.path)
            sock.setblocking(True)
        except BlockingIOError:
            sock.close()
            return None
        except BaseException as error:
            sock.close()
            check_refusal(error, self.path)
            raise
        return sock, True

    def end(self) -> None:
        """End all dials and connections, current and future."""
        self._sockets.end()

    def _connect(self, sock: DeadlineSocket, timeout: float | None) -> None:
        ends = math.inf if timeout is None else time.monotonic() + max(timeout, 1e-3)
        # With settimeout(), a full backlog is EAGAIN at once; with SO_SNDTIMEO, connect() waits.
        _limit_connect(sock, _LOOK if timeout is None else min(max(timeout, 1e-3), _LOOK))
        while True:
            try:
                sock.connect(self.path)
            except BlockingIOError as error:
                self._sockets.check()
                left = ends - time.monotonic()
                if left <= 0:
                    refusal = "the plugin does not accept connections: its queue is full"
                    raise TimeoutError(errno.ETIMEDOUT, refusal) from error
                # For the kernel, 0 means no limit.
                _limit_connect(sock, min(max(left, 1e-3), _LOOK))
            else:
                break
        _limit_connect(sock, 0)


def check_socket_path(path: str) -> str:
    """Return ``path``; raise ``SpecError`` if it cannot be the path of a socket."""
    if not is_encodable(path):
        raise SpecError(f"{quoted(path)} cannot be a path: it has an unpaired surrogate")
    size = len(path) if path.isascii() else len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise SpecError(
            f"socket path {shown(path)} has {size} bytes; the limit is {MAX_PATH_BYTES}"
        )
    return path


def check_refusal(error: BaseException, path: str) -> None:
    """Raise ``OSError`` (``ENOTSOCK``) if ``path`` refused a connection because it is no socket.

    The system has the same error for that and for a socket on which no process listens.
    """
    if isinstance(error, ConnectionRefusedError):
        with suppress(OSError):  # it has just been removed, for example
            if stat.S_ISSOCK(os.stat(path).st_mode):
                return
            number = errno.ENOTSOCK
            error = OSError(number, os.strerror(number))
        raise error


def probe_socket(path: str) -> OSError | None:
    """Return the error of connecting to the UNIX socket ``path``, ``None`` if a process listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return None  # the backlog is full, but a process listens
        except OSError as error:
            return error
    return None


def open_connections(path: str) -> frozenset[int]:
    """Return the inodes of the open connections to the UNIX socket bound at ``path``.

    The inodes are those of the sockets at the plugin's end, in the network namespace of this
    process. The set is empty on a system without ``/proc/net/unix``. The plugin may have bound the
    same path in another spelling, for example through a link.
    """
    inodes = set()
    name = os.path.basename(path)
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                # Num RefCount Protocol Flags Type St Inode Path
                fields = line.rstrip("\n").split(maxsplit=7)
                if len(fields) < len(_COLUMNS) or not fields[7].endswith(name):
                    continue
                listens = int(fields[3], 16) & _ACCEPTS
                if not listens and fields[5] in _OPEN and _is_same_path(fields[7], path):
                    inodes.add(int(fields[6]))
    except OSError:
        return frozenset()
    return frozenset(inodes)


def _is_same_path(path: str, other: str) -> bool:
    return os.path.isabs(path) and (path == other or _real(path) == _real(other))


def _real(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)


def _limit_connect(sock: socket.socket, seconds: float) -> None:
    whole, fraction = divmod(seconds, 1)
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(whole), int(fraction * 1e6))
    )
