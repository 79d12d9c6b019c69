"""A container's whole file system, made of Debian's static busybox."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMANDS = ("cat", "echo", "head", "sh", "sleep", "tr")
# Engines mount something on each.
MOUNT_POINTS = ("dev", "etc", "proc", "run", "sys", "tmp")


@contextmanager
def busybox_root() -> Iterator[Path]:
    """A directory with a shell and a few commands in it."""
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox-static is required, but not installed"
    with tempfile.TemporaryDirectory(prefix="mp-") as path:
        root = Path(path)
        for name in ("bin", *MOUNT_POINTS):
            (root / name).mkdir()
        shutil.copy(busybox, root / "bin" / "busybox")
        for command in COMMANDS:
            (root / "bin" / command).symlink_to("busybox")
        yield root
