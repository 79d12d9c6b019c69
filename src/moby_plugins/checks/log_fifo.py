"""A container's output on its way to a driver: a FIFO as engines make it (protocol.md B6)."""

import os
import select
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from moby_plugins.checks.check import fail
from moby_plugins.subsystems import LogEntry, encode_frame


class Fifo:
    """The FIFO ``path``, made and held open for reading and writing until the block is left.

    ``timeout`` is the seconds that it may be full for, while nobody reads it.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._descriptor = -1

    def write(self, entries: Iterable[LogEntry]) -> None:
        """Write frames; the check fails when the FIFO stays full."""
        for entry in entries:
            self._write(encode_frame(entry))

    def _write(self, data: bytes) -> None:
        ends = time.monotonic() + self._timeout
        while data:
            left = max(ends - time.monotonic(), 0.0)
            if not select.select([], [self._descriptor], [], left)[1]:
                fail("the FIFO is full and nobody reads it: the container stands still")
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # there is room, but not for so much
                time.sleep(0.001)

    def __enter__(self) -> Self:
        os.mkfifo(self.path, 0o700)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self.path.unlink()
