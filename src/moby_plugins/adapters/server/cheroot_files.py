"""A connection's two files, as cheroot's threads read and write them.

cheroot's own reader is written in Python, and its writer sends the head of an answer by
itself, so that a host is woken twice.
"""

import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cheroot.makefile import StreamWriter


class _Raw(socket.SocketIO):
    """The socket; while it is ``quiet`` it is not asked, and has nothing."""

    quiet = False

    def readinto(self, buffer: Any) -> int | None:
        return None if self.quiet else super().readinto(buffer)


class Reader(io.BufferedReader):
    """Requests, one after the other, as they come."""

    bytes_read = 0  # for statistics of cheroot's that nobody turns on

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        self._socket = _Raw(sock, "r")
        super().__init__(self._socket, bufsize)

    def has_data(self) -> bool:
        """Whether the next request has come already, along with one that was read."""
        self._socket.quiet = True
        try:
            return bool(self.peek(1))
        finally:
            self._socket.quiet = False


class JoiningWriter(StreamWriter):
    """Sends the head of an answer in one piece with what comes first of its body."""

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        super().__init__(sock, "wb", bufsize)
        self._held: list[bytes] | None = None

    @contextmanager
    def joined(self) -> Iterator[None]:
        """What is written inside leaves at its end; where that raises, nothing leaves."""
        self._held = []
        try:
            yield
            held = b"".join(self._held)
        finally:
            self._held = None
        self.write(held)

    def write(self, val: Any, /) -> int:
        """Send, or keep."""
        if self._held is None:
            super().write(val)  # type: ignore[no-untyped-call]
        else:
            self._held.append(val)
        return len(val)
