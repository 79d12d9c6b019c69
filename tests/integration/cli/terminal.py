"""A terminal, 80 columns wide by default, without a user: what a process writes to one."""

import os
import pty
import re
import select
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fcntl import ioctl
from termios import TIOCSWINSZ

from tests.integration.cli.machine import SECONDS

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """The process at a terminal, and what it has written there so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self._master = master
        self._written = b""

    @property
    def written(self) -> str:
        """All that was written so far, with escape sequences."""
        return self._written.decode()

    @property
    def plain(self) -> str:
        """The same without colours."""
        return _COLOUR.sub("", self.written)

    def wait_for(self, text: str) -> None:
        """Read until ``text`` was written."""
        ends = time.monotonic() + SECONDS
        while text not in self.plain:
            assert time.monotonic() < ends, f"{text!r} was not written: {self.written!r}"
            self._read(0.1)

    def type(self, keys: bytes) -> None:
        """Press keys, as control characters where they are such."""
        os.write(self._master, keys)

    def end(self) -> int:
        """Read until the process has ended by itself; its exit status."""
        ends = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < ends, f"the process goes on: {self.written!r}"
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        with suppress(OSError):  # on Linux the end of what was written is an error
            data = os.read(self._master, 1 << 16)
            self._written += data
            return bool(data)
        return False


@contextmanager
def at_terminal(
    command: Sequence[str], environment: Mapping[str, str], columns: int = 80
) -> Iterator[Terminal]:
    """``command`` with all its streams at a terminal; it is ended with the block."""
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = {key: text for key, text in environment.items() if key != "COLUMNS"}
    process = subprocess.Popen(
        ["/usr/bin/setsid", "--ctty", *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=settings | {"TERM": "xterm-256color"},
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
