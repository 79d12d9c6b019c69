"""Observations of the plugin's process: processor time, descriptors and files.

``SO_PEERCRED`` of a UNIX socket gives the process that listens on it, and ``/proc`` the rest. The
process is not visible if the plugin listens on TCP, or runs as another user or in another PID
namespace.
"""

import os
import socket
import struct
from pathlib import Path
from typing import Protocol

from attrs import frozen

from moby_plugins.domain.address import Address

INIT = 1
# The time-out for connecting, in seconds, for a listener whose queue is full.
DIAL = 1.0
# Fields of /proc/<pid>/stat, counted after the name in parentheses: user and kernel time.
USER, KERNEL = 11, 12


class PluginProcess(Protocol):
    """A plugin's process; methods return ``None`` for what is unknown."""

    def cpu_seconds(self) -> float | None:
        """Return the processor time used so far, in seconds; ``None`` if unknown."""
        ...

    def descriptors(self) -> int | None:
        """Return the number of open descriptors; ``None`` if unknown."""
        ...

    def sees(self, path: Path) -> bool | None:
        """Return whether ``path`` is the same file for that process as for this one.

        Args:
            path: The path of the file.

        Returns:
            Whether it is; ``None`` if unknown.
        """
        ...


@frozen
class LinuxProcess:
    """The process with the ID ``pid``, as ``/proc`` describes it."""

    pid: int

    def cpu_seconds(self) -> float | None:
        """Return the processor time of all threads, in seconds; ``None`` if unknown."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text("utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()
            return (int(fields[USER]) + int(fields[KERNEL])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return None

    def descriptors(self) -> int | None:
        """Return the number of the process's open descriptors; ``None`` if it cannot be read."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            return None

    def sees(self, path: Path) -> bool | None:
        """Return whether ``path`` is the same file in the process's mount namespace as in ours.

        Returns false if there is no such file in one of them, and ``None`` if it cannot be
        examined.
        """
        try:
            os.stat(f"/proc/{self.pid}/root/")
        except OSError:
            return None
        try:
            return os.path.samestat(os.stat(f"/proc/{self.pid}/root{path}"), os.stat(path))
        except FileNotFoundError:
            return False
        except OSError:
            return None


def no_process() -> None:
    """Return ``None``, for a plugin without a known process, such as one in memory."""


def process_at(address: Address) -> PluginProcess | None:
    """Return the process that listens on a UNIX socket; ``None`` if unknown.

    Also ``None`` for this process, which is busy with the checks, and for ``init``, which listens
    on behalf of other processes.
    """
    pid = listener(address.path) if address.scheme == "unix" else None
    if pid in (None, 0, INIT, os.getpid()):
        return None
    return LinuxProcess(pid)


def listener(path: str) -> int | None:
    """Return the ID of the process that listens on the UNIX socket ``path``.

    Returns 0 for a process in another PID namespace, and ``None`` if no connection is possible, or
    if the system does not report the process.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = struct.Struct("3i")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DIAL)
        try:
            sock.connect(path)
            packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
        except (OSError, ValueError):
            return None
    pid: int = credentials.unpack(packed)[0]
    return pid
