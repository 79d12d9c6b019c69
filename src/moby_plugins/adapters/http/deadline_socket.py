"""Sockets with one deadline for a whole exchange, which also notice an early response.

A plain socket's time-out bounds each operation, so a plugin that sends one byte a second never
exceeds it. These sockets bound every operation by the time left until one deadline. An HTTP library
sets it with ``bound()`` or ``settimeout()`` before it sends.

Changing a socket's own time-out is a system call. So a plain socket has no time-out of its own:
where an operation could block, it polls for the time that is left and then does not block. TLS
waits inside OpenSSL, which respects only the socket's own time-out, so TLS sockets do set it.

A plugin may respond before it has read the whole request, and then stop reading. So a socket
that waits for room to send also polls for input, and never blocks inside ``send()``, where it
could not. The same holds for files that are sent with ``sendfile()``.

``OpenSockets`` aborts the sockets of one dialer, from any thread or from a signal handler, so
none of its methods waits for a lock.
"""

import errno
import os
import select
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from moby_plugins.domain.http import CLOSED_HERE, FilePart
from moby_plugins.domain.http_grammar import begins_final_response

if TYPE_CHECKING:
    _Base = socket.socket
else:
    _Base = object

# The longest time-out in seconds that is passed to the system: larger ones may overflow.
LONGEST = 1e6
# Bytes per read while a request is being sent, and the most that interim responses may take.
EARLY_BYTES = 16 << 10
_MOST_EARLY_BYTES = 64 << 10
# Bytes of a file that are sent between two checks for an early response.
_COPIED_BYTES = 1 << 20


# Bound once, because these run for every call and ``super()`` creates an object each time.
_recv, _recv_into, _send = socket.socket.recv, socket.socket.recv_into, socket.socket.send


class RespondedEarlyError(ConnectionError):
    """The response began, or the connection ended, before the whole request was sent."""


class ClosedHereError(ConnectionAbortedError):
    """The connection was closed by this process while an operation waited for the other end."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNABORTED, CLOSED_HERE)


def ends_sending(early: bytes) -> bool:
    """Return whether to stop sending a request, given ``early``, what was received before its end.

    That is so if ``early`` begins a final response (not an interim one, such as 100), or is too
    long.
    """
    return len(early) > _MOST_EARLY_BYTES or (bool(early) and begins_final_response(early))


class Deadline(_Base):
    """A mixin for sockets whose operations all share one deadline.

    It also keeps bytes that are received early, while a request is still being sent.

    ``cut_off`` is true once the peer ended a TLS connection without ``close_notify``. ``aborted``
    is true once ``abort`` was called.
    """

    cut_off: bool = False
    aborted: bool = False
    _ends: float | None = None
    # Received while a request was being sent, and not yet passed to the HTTP library.
    _early = b""
    _readable: "select.poll | None" = None
    _ready: "select.poll | None" = None

    def settimeout(self, value: float | None, /) -> None:
        """Set the deadline of all further operations to ``value`` seconds from now."""
        self.bound(None if value is None else time.monotonic() + value)

    def bound(self, ends: float | None) -> None:
        """Set the deadline of all further operations, in monotonic time; ``None`` for none."""
        self._ends = ends

    def abort(self) -> None:
        """End the connection, so that pending and future operations raise, in any thread.

        Receiving raises ``ClosedHereError``, and sending ``BrokenPipeError``. ``abort`` itself
        neither waits nor raises. The thread that uses the socket still has to close it.
        """
        self.aborted = True
        guard = self._guard()
        # If the lock is taken, another thread is closing or aborting this socket.
        if guard.acquire(blocking=False):
            try:
                with suppress(OSError):  # the connection has already ended
                    socket.socket.shutdown(self, socket.SHUT_RDWR)
            finally:
                guard.release()

    def close(self) -> None:
        """Close the socket, after an ``abort`` that runs in another thread has ended.

        That ``abort`` could otherwise shut down another socket that reuses the descriptor.
        """
        self._readable = self._ready = None  # they refer to the descriptor
        with self._guard():
            super().close()
        if self.aborted:  # a file from makefile() may keep it open
            self.abort()

    def _guard(self) -> threading.Lock:
        # Created on first use, because ``ssl`` creates sockets without calling ``__init__``.
        guard: threading.Lock | None = self.__dict__.get("guard")
        return guard or self.__dict__.setdefault("guard", threading.Lock())

    def recv_into(self, buffer: Any, *args: Any) -> int:
        """Receive into ``buffer``, bytes kept earlier first; return how many, 0 at the end."""
        if self._early:
            view = memoryview(buffer).cast("B")
            data = self.recv(len(view))
            view[: len(data)] = data
            return len(data)
        size = self._receive_into(buffer, *args)
        if self.aborted:
            raise ClosedHereError
        return size

    def recv(self, size: int = EARLY_BYTES, *args: Any) -> bytes:
        """Receive at most ``size`` bytes, those kept earlier first; return ``b""`` at the end."""
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        data = self._receive(size, *args)
        if self.aborted:
            raise ClosedHereError
        return data

    def put_back(self, data: bytes) -> None:
        """Make the next receiving operations return ``data`` first, which was received before."""
        self._early = data + self._early

    def _polls_input(self) -> "select.poll":
        self._readable = _poll_of(self, select.POLLIN)
        return self._readable

    def sendall(self, data: Any, *_: Any) -> None:
        """Send all of ``data``; raise ``RespondedEarlyError`` if the peer responds before that.

        Input is only checked when the socket has to wait for room.
        """
        sent = self._send_now(data)
        if sent < len(data):
            with memoryview(data) as rest:
                while sent < len(rest):
                    self.wait_to_send()
                    sent += self._send_now(rest[sent:])

    def send_part(self, part: FilePart) -> None:
        """Send what ``sendfile()`` can copy of the file, here nothing; the caller sends the rest.

        ``part`` then describes the rest. Raises ``RespondedEarlyError`` if the peer responds first,
        ``TimeoutError`` after the deadline, and any other ``OSError`` of the socket.
        """
        # Only plain sockets can: the data of others has to be encrypted first.

    def wait_to_send(self) -> None:
        """Wait until there is room to send; raise ``RespondedEarlyError`` if the peer responds.

        Interim responses are kept for the HTTP library, and sending continues.
        """
        if self._ready is None:
            self._ready = _poll_of(self, select.POLLIN | select.POLLOUT)
        while True:
            for _, events in self._ready.poll(_left_to_poll(self._ends)):
                if events != select.POLLOUT:
                    self._check_early(goes_on=self.receive_early())
                if events & select.POLLOUT:
                    return

    @property
    def early(self) -> bytes:
        """The bytes received while a request was sent, and not yet read by the HTTP library."""
        return self._early

    def receive_early(self) -> bool:
        """Receive what is available, for the HTTP library; return false at the end of the input."""
        data = self._receive_now()
        if data is None:
            return True
        self._early += data
        return bool(data)

    def _send_now(self, data: Any) -> int:
        """Send what there is room for without waiting; return the number of bytes."""
        raise NotImplementedError

    def _check_early(self, *, goes_on: bool) -> None:
        if not goes_on or ends_sending(self._early):
            raise RespondedEarlyError(
                "the plugin responded or hung up before the whole request was sent"
            )

    def _receive(self, size: int, *args: Any) -> bytes:
        """Wait for input, and return at most ``size`` bytes of it, ``b""`` at the end.

        Raises ``TimeoutError`` once the deadline has passed, and any other ``OSError`` of the
        socket.
        """
        raise NotImplementedError

    def _receive_into(self, buffer: Any, *args: Any) -> int:
        """Wait for input, and put it into ``buffer``; return the number of bytes, 0 at the end.

        Raises ``TimeoutError`` once the deadline has passed, and any other ``OSError`` of the
        socket.
        """
        raise NotImplementedError

    def _receive_now(self) -> bytes | None:
        """Return what can be received without waiting, ``None`` if there is nothing."""
        raise NotImplementedError


class DeadlineSocket(Deadline, socket.socket):
    """A socket without TLS, whose operations all share one deadline."""

    def connect(self, where: Any, /) -> None:
        """Connect within the deadline, using the socket's own time-out for this operation."""
        if self._ends is None:
            super().connect(where)
            return
        # Set on the plain socket: the overridden method would set the deadline.
        socket.socket.settimeout(self, min(left_until(self._ends), LONGEST))
        try:
            super().connect(where)
        finally:
            socket.socket.settimeout(self, None)

    def is_readable(self) -> bool:
        """Return whether there is input, or the other end has hung up."""
        return bool(self._early or (self._readable or self._polls_input()).poll(0))

    def send(self, data: Any, *_: Any) -> int:
        """Wait for room, then send some of ``data``; return the number of bytes."""
        while not (sent := self._send_now(data)) and len(data):
            _poll_of(self, select.POLLOUT).poll(_left_to_poll(self._ends))
        return sent

    def send_part(self, part: FilePart) -> None:
        """Send what ``sendfile()`` can copy of the file; the caller reads and sends the rest.

        ``part`` then describes the rest. Raises ``RespondedEarlyError`` if the peer responds first,
        ``TimeoutError`` after the deadline, and any other ``OSError`` of the socket.
        """
        # sendfile() has no MSG_DONTWAIT, so the socket itself must not block.
        socket.socket.settimeout(self, 0)
        try:
            while part.room:
                self.wait_to_send()
                number, size = part.fileno(), min(part.room, _COPIED_BYTES)
                try:
                    sent = os.sendfile(self.fileno(), number, part.offset, size)
                except OSError:
                    # The error does not tell whether the file or the connection failed. The caller
                    # reads and sends the rest, and so gets the error of the one that failed.
                    return
                if not sent:  # the file became shorter; the caller finds out by reading
                    return
                part.take(sent)
        finally:
            socket.socket.settimeout(self, None)

    def _send_now(self, data: Any) -> int:
        if self._ends is not None and self._ends <= time.monotonic():
            raise TimeoutError("timed out")
        try:
            return _send(self, data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _receive(self, size: int, *args: Any) -> bytes:
        if self._ends is None:
            return _recv(self, size, *args)
        while True:
            # The same as ``_await``, inlined because every call passes here.
            left = self._ends - time.monotonic()
            poll = self._readable or self._polls_input()
            if left <= 0 or not poll.poll(min(left, LONGEST) * 1e3):
                raise TimeoutError("timed out")
            try:
                return _recv(self, size, socket.MSG_DONTWAIT)
            except BlockingIOError:  # the kernel dropped it, as it does for a bad checksum
                continue

    def _receive_into(self, buffer: Any, *args: Any) -> int:
        if self._ends is None:
            return _recv_into(self, buffer, *args)
        while True:
            self._await(self._ends)
            try:
                return _recv_into(self, buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue

    def _await(self, ends: float) -> None:
        """Wait until there is input; raise ``TimeoutError`` at the time ``ends``."""
        left = ends - time.monotonic()
        poll = self._readable or self._polls_input()
        if left <= 0 or not poll.poll(min(left, LONGEST) * 1e3):
            raise TimeoutError("timed out")

    def _receive_now(self) -> bytes | None:
        try:
            return _recv(self, EARLY_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None


class OpenSockets:
    """A list of the open sockets of one dialer: ``end`` aborts them, and ``add`` then raises."""

    def __init__(self) -> None:
        self._ended = False
        # Each with the id of the process that created it: after a fork, parent and child share it.
        self._open: dict[weakref.ref[Deadline], int] = {}

    def add(self, sock: Deadline) -> None:
        """Add ``sock`` to the list; raise ``ClosedHereError`` after ``end`` was called."""
        self._open[weakref.ref(sock, self._open.pop)] = os.getpid()
        # Checked after listing, because ``end`` sets the flag before it reads the list.
        if self._ended:
            raise ClosedHereError

    def check(self) -> None:
        """Raise ``ClosedHereError`` after ``end`` was called."""
        if self._ended:
            raise ClosedHereError

    def end(self) -> None:
        """Abort all sockets that this process, not its parent, has added; make ``add`` raise."""
        self._ended = True
        process = os.getpid()
        for reference, made_by in self._open.copy().items():
            sock = reference()
            if sock is not None and made_by == process:
                sock.abort()


def left_until(ends: float) -> float:
    """Return the seconds that are left until ``ends``; raise ``TimeoutError`` if none are."""
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _left_to_poll(ends: float | None) -> float | None:
    """Return the time left in milliseconds, for ``poll()``; raise ``TimeoutError`` if none is."""
    return None if ends is None else min(left_until(ends), LONGEST) * 1e3


def _poll_of(sock: socket.socket, events: int) -> "select.poll":
    number = sock.fileno()
    if number < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    poll = select.poll()
    poll.register(number, events)
    return poll
