"""A connection's two files, as cheroot's threads read and write them.

cheroot's own reader is written in Python, and its writer sends the head of an answer by
itself, so that a host is woken twice.
"""

import io
import socket
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

    held: list[bytes] | None = None

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        super().__init__(sock, "wb", bufsize)

    def joined(self) -> "_Joined":
        """What is written inside leaves at its end; where that raises, nothing leaves."""
        return _Joined(self)

    def write(self, val: Any, /) -> int:
        """Send, or keep."""
        if self.held is None:
            super().write(val)  # type: ignore[no-untyped-call]
        else:
            self.held.append(val)
        return len(val)


class _Joined:
    # A class, because a generator would take longer than what it holds together.
    def __init__(self, writer: JoiningWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        self._writer.held = []

    def __exit__(self, kind: object, *_: object) -> None:
        held, self._writer.held = self._writer.held, None
        if kind is None:
            self._writer.write(b"".join(held or ()))
