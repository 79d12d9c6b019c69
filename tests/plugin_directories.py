"""The directories that discovery on disk looks at, furnished without opening a socket."""

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from moby_plugins.ports import Discovery

NOBODY = 65534


class PluginDirectories:
    """One directory of sockets and two of specs, under ``base``, in order of precedence.

    ``user_ids`` is the kernel's map of user ids: that of the machine itself, unless changed.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.sockets = base / "run"
        self.specs = base / "etc"
        self.more_specs = base / "usr"
        self.elsewhere = base / "elsewhere"
        for directory in (self.sockets, self.specs, self.more_specs, self.elsewhere):
            directory.mkdir()
        self.user_ids = base / "uid_map"
        self.user_ids.write_text("         0          0 4294967295\n")
        self.discovery: Discovery = FilesystemDiscovery(
            self.sockets, (self.specs, self.more_specs), uid_map=str(self.user_ids)
        )

    def add(self, name: str, addr: str) -> None:
        """Write a spec."""
        (self.specs / f"{name}.spec").write_text(addr)

    def remove(self, name: str) -> None:
        """Delete that spec."""
        (self.specs / f"{name}.spec").unlink()

    def enter_user_namespace(self) -> None:
        """Let the kernel's map be that of a rootless engine."""
        self.user_ids.write_text("0 1000 1\n1 100000 65536\n")


def make_socket(path: Path) -> None:
    """A socket as it lies in a directory; no process listens."""
    path.parent.mkdir(exist_ok=True)
    os.mknod(path, stat.S_IFSOCK | 0o600)


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Deny all users to read ``path``; root, who could all the same, becomes another user."""
    mode, user = stat.S_IMODE(path.stat().st_mode), os.geteuid()
    # The other user may not be able to load more of this Python.
    codecs.lookup("ascii")
    path.chmod(0)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)
