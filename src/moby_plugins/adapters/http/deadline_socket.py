"""Sockets whose time-out bounds all that follows, not each step of it, and that notice a response.

A plugin that sends one byte a second never lets a plain socket's time-out run
out. These shrink the time-out of every step to what is left since the last
``settimeout()``, which an engine calls once before it sends and once before it
reads, each time with what is left of the whole.

A plugin may respond before it has read the whole request, and then read no more. So a
socket that waits until it can send also looks for what the plugin sends. It never waits
inside ``send()``, where it could not look.

``OpenSockets`` ends what the sockets of one dial wait for, from another thread or from a signal
handler. So nothing there waits for a lock.
"""

import errno
import math
import os
import select
import socket
import ssl
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from moby_plugins.domain.http import CLOSED_HERE
from moby_plugins.domain.http_grammar import begins_final_response

if TYPE_CHECKING:

    class _Base(socket.socket):
        def pending(self) -> int: ...

else:
    _Base = object

# Seconds that every system can count; a longer time-out is as good as none.
_LONGEST = 1e6
# What is read at once while a request is being sent, and how much of it may be interim responses.
_EARLY_BYTES = 16 << 10
_MOST_EARLY_BYTES = 64 << 10


class RespondedEarlyError(ConnectionError):
    """The response began, or the connection ended, before the whole request was sent."""


class ClosedHereError(ConnectionAbortedError):
    """The connection was closed at this end, while something waited for the other."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNABORTED, CLOSED_HERE)


class _Deadline(_Base):
    """``cut_off`` is true once the connection ended as TLS does not allow.

    ``aborted`` is true once ``abort`` was called.
    """

    cut_off: bool = False
    aborted: bool = False
    _ends: float | None = None
    # Read while a request was being sent, and not yet received by the engine.
    _early = b""
    _readable: "select.poll | None" = None
    _ready: "select.poll | None" = None

    def settimeout(self, value: float | None, /) -> None:
        value = None if value is None or value > _LONGEST else value
        self._ends = None if value is None else time.monotonic() + value
        # Skip a redundant settimeout(): the system call releases the GIL.
        if value is not None or self.gettimeout() is not None:
            super().settimeout(value)

    def abort(self) -> None:
        """End what waits here, in whichever thread, and what begins to: ``ClosedHereError``.

        It neither waits nor raises; the thread that uses the socket closes it.
        """
        self.aborted = True
        guard = self._guard()
        # Where it is taken, this socket is being closed, or aborted by another.
        if guard.acquire(blocking=False):
            try:
                with suppress(OSError):  # it has ended by itself
                    socket.socket.shutdown(self, socket.SHUT_RDWR)
            finally:
                guard.release()

    def close(self) -> None:
        """Close it, but not while it is being aborted: its number may be another's then."""
        with self._guard():
            super().close()
        if self.aborted:  # it stays open as long as a file of it does
            self.abort()

    def _guard(self) -> threading.Lock:
        # Made when it is needed, as ``ssl`` makes sockets without their ``__init__``.
        guard: threading.Lock | None = self.__dict__.get("guard")
        return guard or self.__dict__.setdefault("guard", threading.Lock())

    def _narrow(self, ends: float) -> None:
        super().settimeout(_left(ends))

    def recv_into(self, buffer: Any, *args: Any) -> int:
        if self._early:
            view = memoryview(buffer).cast("B")
            data = self.recv(len(view))
            view[: len(data)] = data
            return len(data)
        if self._ends is not None:
            self._narrow(self._ends)
        size = super().recv_into(buffer, *args)
        if self.aborted:
            raise ClosedHereError
        return size

    def recv(self, size: int = _EARLY_BYTES, *args: Any) -> bytes:
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        if self._ends is not None:
            self._narrow(self._ends)
        data = super().recv(size, *args)
        if self.aborted:
            raise ClosedHereError
        return data

    def is_readable(self) -> bool:
        """Whether there is something to receive, or the other end has hung up."""
        if self._readable is None:
            self._readable = select.poll()
            self._readable.register(self.fileno(), select.POLLIN)
        return bool(self._early or self._readable.poll(0) or self.pending())

    def send(self, *args: Any) -> int:
        if self._ends is not None:
            self._narrow(self._ends)
        return super().send(*args)

    def sendall(self, data: Any, *_: Any) -> None:
        """Send all of ``data``; ``RespondedEarlyError`` where the peer responds instead.

        What the peer has sent before is not looked for unless this has to wait.
        """
        rest = memoryview(data)
        while (sent := self._send_now(rest)) < len(rest):
            rest = rest[sent:]
            self.wait_to_send()

    def wait_to_send(self) -> None:
        """Wait until there is room to send; ``RespondedEarlyError`` once the peer responds.

        Interim responses are kept for the engine, and end nothing.
        """
        if self._ready is None:
            self._ready = select.poll()
            self._ready.register(self.fileno(), select.POLLIN | select.POLLOUT)
        while True:
            left = None if self._ends is None else math.ceil(_left(self._ends) * 1000)
            for _, events in self._ready.poll(left):
                if events != select.POLLOUT:
                    self._check_early(goes_on=self.receive_early())
                if events & select.POLLOUT:
                    return

    @property
    def early(self) -> bytes:
        """What was received, and not yet by the engine."""
        return self._early

    def receive_early(self) -> bool:
        """Receive what has come, for the engine; false at the end of what the peer sends."""
        super().settimeout(0)
        try:
            data = super().recv(_EARLY_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True  # a message of TLS itself
        finally:
            self._restore()
        self._early += data
        return bool(data)

    def _send_now(self, data: memoryview) -> int:
        """Send what there is room for; returns how many bytes that was."""
        raise NotImplementedError

    def _check_early(self, *, goes_on: bool) -> None:
        enough = len(self._early) > _MOST_EARLY_BYTES
        if not goes_on or enough or (self._early and begins_final_response(self._early)):
            raise RespondedEarlyError("the plugin responded before the request was sent")

    def _restore(self) -> None:
        # Under a deadline the next step sets what is left.
        if self._ends is None:
            super().settimeout(None)


class DeadlineSocket(_Deadline, socket.socket):
    """A plain socket under a deadline."""

    def pending(self) -> int:
        """Bytes that were received and not read: none, as only TLS receives ahead."""
        return 0

    def _send_now(self, data: memoryview) -> int:
        if self._ends is not None:
            _left(self._ends)
            socket.socket.settimeout(self, 0)
        try:
            return socket.socket.send(self, data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0


class DeadlineSSLSocket(_Deadline, ssl.SSLSocket):
    """The same over TLS: give it to ``SSLContext.sslsocket_class``."""

    cut_off: bool = False

    def recv_into(self, buffer: Any, *args: Any) -> int:
        """Receive into ``buffer``; 0 for the end, which may be a cut."""
        try:
            return super().recv_into(buffer, *args)
        except ssl.SSLEOFError:
            self._end()
            return 0

    def recv(self, size: int = _EARLY_BYTES, *args: Any) -> bytes:
        """Receive at most ``size`` bytes; none for the end, which may be a cut."""
        try:
            return super().recv(size, *args)
        except ssl.SSLEOFError:
            self._end()
            return b""

    def _end(self) -> None:
        if self.aborted:
            raise ClosedHereError
        self.cut_off = True

    def _send_now(self, data: memoryview) -> int:
        if self._ends is not None:
            _left(self._ends)
        socket.socket.settimeout(self, 0)
        try:
            return ssl.SSLSocket.send(self, data)
        except ssl.SSLWantWriteError:
            return 0
        finally:
            self._restore()


class OpenSockets:
    """The sockets of one dial, from before they are connected, as long as they are in use."""

    def __init__(self) -> None:
        self._ended = False
        # Each with the process that made it: a fork leaves both ends with it.
        self._open: dict[weakref.ref[_Deadline], int] = {}

    def add(self, sock: _Deadline) -> None:
        """List ``sock``; raises ``ClosedHereError`` once ended."""
        self._open[weakref.ref(sock, self._open.pop)] = os.getpid()
        # Looked at afterwards, as ``end`` does both the other way round.
        self.check()

    def check(self) -> None:
        """Raise ``ClosedHereError`` once ended."""
        if self._ended:
            raise ClosedHereError

    def end(self) -> None:
        """Abort all sockets, and those to come. The parent of a fork keeps its own."""
        self._ended = True
        process = os.getpid()
        for reference, made_by in self._open.copy().items():
            sock = reference()
            if sock is not None and made_by == process:
                sock.abort()


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
