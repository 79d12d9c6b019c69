"""The plugin's process, as far as the machine tells: its time, its descriptors, its files.

A UNIX socket tells who listens on it (SO_PEERCRED), and ``/proc`` tells the rest. It does not
where the plugin listens on TCP, runs as another user or in a PID namespace out of sight.
"""

import os
import socket
import struct
from pathlib import Path
from typing import Protocol

from attrs import frozen

from moby_plugins.domain.address import Address

INIT = 1
# In seconds; a listener whose queue of connections is full is not waited for.
DIAL = 1.0
# After the name in /proc/<pid>/stat, which stands in parentheses: time in user mode, in the kernel.
USER, KERNEL = 11, 12


class PluginProcess(Protocol):
    """What is asked of a plugin's process; ``None`` for what cannot be told."""

    def cpu_seconds(self) -> float | None:
        """The processor time that it has used so far."""
        ...

    def descriptors(self) -> int | None:
        """The number of its open descriptors."""
        ...

    def sees(self, path: Path) -> bool | None:
        """Tell whether the process has the very file of this process under the same path.

        Args:
            path: The file's.

        Returns:
            Whether it has; ``None`` where that cannot be told.
        """
        ...


@frozen
class LinuxProcess:
    """The process ``pid`` in ``/proc``."""

    pid: int

    def cpu_seconds(self) -> float | None:
        """The processor time of all its threads."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text("utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()
            return (int(fields[USER]) + int(fields[KERNEL])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return None

    def descriptors(self) -> int | None:
        """The entries of its directory of descriptors."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            return None

    def sees(self, path: Path) -> bool | None:
        """Look from its root, which is that of its mount namespace."""
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
    """The process of a plugin that has none to be told, such as one in memory."""


def process_at(address: Address) -> PluginProcess | None:
    """The process that listens on a UNIX socket, where the machine tells.

    Not this one, which is busy with the checks, and not ``init``, which listens for others.
    """
    pid = listener(address.path) if address.scheme == "unix" else None
    if pid in (None, 0, INIT, os.getpid()):
        return None
    return LinuxProcess(pid)


def listener(path: str) -> int | None:
    """The id of the process that listens on the socket ``path``; 0 for one out of sight."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = struct.Struct("3i")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DIAL)
        try:
            sock.connect(path)
            told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
        except (OSError, ValueError):
            return None
    pid: int = credentials.unpack(told)[0]
    return pid
