"""Sockets whose time-out bounds all that follows, not each step of it.

A plugin that sends one byte a second never lets a plain socket's time-out run
out. These shrink the time-out of every step to what is left since the last
``settimeout()``, which urllib3 calls once before it sends and once before it
reads, each time with what is left of the whole.
"""

import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class _Base(socket.socket):
        def pending(self) -> int: ...

else:
    _Base = object

# Seconds that every system can count; a longer time-out is as good as none.
_LONGEST = 1e6


class _Deadline(_Base):
    """``heard`` is true once a byte came since it was last set to false."""

    _ends: float | None = None
    heard = False
    _poll: "select.poll | None" = None

    def settimeout(self, value: float | None, /) -> None:
        value = None if value is None or value > _LONGEST else value
        self._ends = None if value is None else time.monotonic() + value
        # To say it again is a system call, for which other threads take their turn.
        if value is not None or self.gettimeout() is not None:
            super().settimeout(value)

    def _narrow(self, ends: float) -> None:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        super().settimeout(left)

    def recv_into(self, *args: Any) -> int:
        if self._ends is not None:
            self._narrow(self._ends)
        size = super().recv_into(*args)
        if size:
            self.heard = True
        return size

    def recv(self, *args: Any) -> bytes:
        if self._ends is not None:
            self._narrow(self._ends)
        data = super().recv(*args)
        if data:
            self.heard = True
        return data

    def has_news(self) -> bool:
        """Whether there is something to read, or the other end has hung up."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self, select.POLLIN)
        return bool(self._poll.poll(0) or self.pending())

    def send(self, *args: Any) -> int:
        if self._ends is not None:
            self._narrow(self._ends)
        return super().send(*args)

    def sendall(self, *args: Any) -> None:
        if self._ends is not None:
            self._narrow(self._ends)
        super().sendall(*args)


class DeadlineSocket(_Deadline, socket.socket):
    """A plain socket under a deadline."""

    def pending(self) -> int:
        """Bytes that were received and not read: none, as only TLS receives ahead."""
        return 0


class DeadlineSSLSocket(_Deadline, ssl.SSLSocket):
    """The same over TLS: give it to ``SSLContext.sslsocket_class``."""
