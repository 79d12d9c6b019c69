"""Sockets whose time-out bounds all that follows, not each step of it, and that notice a response.

A plugin that sends one byte a second never lets a plain socket's time-out run
out. So these bound every step by what is left until one moment, which ``bound()``
sets, or ``settimeout()``: an engine calls it before it sends.

To change a socket's own time-out is a system call for every step. So a plain socket has
none, but polls for what is left where a step could block, and then takes no more than there is.
TLS waits inside OpenSSL, which knows the socket's own time-out alone: there it is changed.

A plugin may respond before it has read the whole request, and then read no more. So a
socket that waits until it can send also looks for what the plugin sends. It never waits
inside ``send()``, where it could not look. The same holds for a file that the system copies.

``OpenSockets`` ends what the sockets of one dial wait for, from another thread or from a signal
handler. So nothing there waits for a lock.
"""

import errno
import os
import select
import socket
import ssl
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

# Seconds that every system can count; a longer time-out is as good as none.
_LONGEST = 1e6
# What is read at once while a request is being sent, and how much of it may be interim responses.
_EARLY_BYTES = 16 << 10
_MOST_EARLY_BYTES = 64 << 10
# What is copied of a file between two looks for a response.
_COPIED_BYTES = 1 << 20


# Called for every call: ``super()`` would make an object first.
_recv, _recv_into, _send = socket.socket.recv, socket.socket.recv_into, socket.socket.send


class RespondedEarlyError(ConnectionError):
    """The response began, or the connection ended, before the whole request was sent."""


class ClosedHereError(ConnectionAbortedError):
    """The connection was closed at this end, while something waited for the other."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNABORTED, CLOSED_HERE)


def ends_sending(early: bytes) -> bool:
    """Whether ``early``, received while a request is being sent, is a reason to send no more."""
    return len(early) > _MOST_EARLY_BYTES or (bool(early) and begins_final_response(early))


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
        self.bound(None if value is None else time.monotonic() + value)

    def bound(self, ends: float | None) -> None:
        """Have all that follows end at the time ``ends``, or when it likes."""
        self._ends = ends

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
        self._readable = self._ready = None  # they know the number
        with self._guard():
            super().close()
        if self.aborted:  # it stays open as long as a file of it does
            self.abort()

    def _guard(self) -> threading.Lock:
        # Made when it is needed, as ``ssl`` makes sockets without their ``__init__``.
        guard: threading.Lock | None = self.__dict__.get("guard")
        return guard or self.__dict__.setdefault("guard", threading.Lock())

    def recv_into(self, buffer: Any, *args: Any) -> int:
        if self._early:
            view = memoryview(buffer).cast("B")
            data = self.recv(len(view))
            view[: len(data)] = data
            return len(data)
        size = self._receive_into(buffer, *args)
        if self.aborted:
            raise ClosedHereError
        return size

    def recv(self, size: int = _EARLY_BYTES, *args: Any) -> bytes:
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        data = self._receive(size, *args)
        if self.aborted:
            raise ClosedHereError
        return data

    def _polls_input(self) -> "select.poll":
        self._readable = _poll_of(self, select.POLLIN)
        return self._readable

    def sendall(self, data: Any, *_: Any) -> None:
        """Send all of ``data``; ``RespondedEarlyError`` where the peer responds instead.

        What the peer has sent before is not looked for unless this has to wait.
        """
        sent = self._send_now(data)
        if sent < len(data):
            with memoryview(data) as rest:
                while sent < len(rest):
                    self.wait_to_send()
                    sent += self._send_now(rest[sent:])

    def send_part(self, part: FilePart) -> None:
        """Send what the system can copy of a file; what ``part`` keeps is to be read and sent.

        Raises as ``sendall``.
        """
        # Nothing, unless it is a plain socket's.

    def wait_to_send(self) -> None:
        """Wait until there is room to send; ``RespondedEarlyError`` once the peer responds.

        Interim responses are kept for the engine, and end nothing.
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
        """What was received, and not yet by the engine."""
        return self._early

    def receive_early(self) -> bool:
        """Receive what has come, for the engine; false at the end of what the peer sends."""
        data = self._receive_now()
        if data is None:
            return True
        self._early += data
        return bool(data)

    def _send_now(self, data: Any) -> int:
        """Send what there is room for; returns how many bytes that was."""
        raise NotImplementedError

    def _check_early(self, *, goes_on: bool) -> None:
        if not goes_on or ends_sending(self._early):
            raise RespondedEarlyError("the plugin responded before the request was sent")

    def _receive(self, size: int, *args: Any) -> bytes:
        """Receive once there is something, within the deadline."""
        raise NotImplementedError

    def _receive_into(self, buffer: Any, *args: Any) -> int:
        """The same, into ``buffer``."""
        raise NotImplementedError

    def _receive_now(self) -> bytes | None:
        """Receive what there is; ``None`` for nothing."""
        raise NotImplementedError


class DeadlineSocket(_Deadline, socket.socket):
    """A plain socket under a deadline."""

    def connect(self, where: Any, /) -> None:
        """Connect; this one step has a time-out of the socket's own."""
        if self._ends is None:
            super().connect(where)
            return
        # The socket's own, which the deadline's would not be.
        socket.socket.settimeout(self, min(_left(self._ends), _LONGEST))
        try:
            super().connect(where)
        finally:
            socket.socket.settimeout(self, None)

    def is_readable(self) -> bool:
        """Whether there is something to receive, or the other end has hung up."""
        return bool(self._early or (self._readable or self._polls_input()).poll(0))

    def send(self, data: Any, *_: Any) -> int:
        """Send some of ``data``, once there is room."""
        while not (sent := self._send_now(data)) and len(data):
            _poll_of(self, select.POLLOUT).poll(_left_to_poll(self._ends))
        return sent

    def send_part(self, part: FilePart) -> None:
        """Send what the system can copy of a file; what ``part`` keeps is to be read and sent.

        Raises as ``sendall``.
        """
        # There is no MSG_DONTWAIT for it.
        socket.socket.settimeout(self, 0)
        try:
            while part.room:
                self.wait_to_send()
                number, size = part.fileno(), min(part.room, _COPIED_BYTES)
                try:
                    sent = os.sendfile(self.fileno(), number, part.offset, size)
                except OSError:
                    # Whether it is the file's or the connection's is not to be told from it:
                    # to read the rest raises the one, and to send that the other.
                    return
                if not sent:  # the file has become shorter, which reading tells
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
            # As ``_await`` does: this is on the way of every call.
            left = self._ends - time.monotonic()
            poll = self._readable or self._polls_input()
            if left <= 0 or not poll.poll(min(left, _LONGEST) * 1e3):
                raise TimeoutError("timed out")
            try:
                return _recv(self, size, socket.MSG_DONTWAIT)
            except BlockingIOError:  # it was taken back, as a bad checksum is
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
        """Wait until there is something to receive; ``TimeoutError`` at ``ends``."""
        left = ends - time.monotonic()
        poll = self._readable or self._polls_input()
        if left <= 0 or not poll.poll(min(left, _LONGEST) * 1e3):
            raise TimeoutError("timed out")

    def _receive_now(self) -> bytes | None:
        try:
            return _recv(self, _EARLY_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None


class DeadlineSSLSocket(_Deadline, ssl.SSLSocket):
    """The same over TLS: give it to ``SSLContext.sslsocket_class``."""

    cut_off: bool = False

    def bound(self, ends: float | None) -> None:
        """Have all that follows end at the time ``ends``, or when it likes."""
        super().bound(ends)
        # Under a deadline each step sets what is left.
        self._restore()

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

    def send(self, *args: Any) -> int:
        """Send some of the data, once there is room."""
        if self._ends is not None:
            self._narrow(self._ends)
        return ssl.SSLSocket.send(self, *args)

    def is_readable(self) -> bool:
        """Whether there is something to receive, or the other end has hung up."""
        poll = self._readable or self._polls_input()
        return bool(self._early or poll.poll(0) or self.pending())

    def _narrow(self, ends: float) -> None:
        socket.socket.settimeout(self, min(_left(ends), _LONGEST))

    def _end(self) -> None:
        if self.aborted:
            raise ClosedHereError
        self.cut_off = True

    def _receive(self, size: int, *args: Any) -> bytes:
        if self._ends is not None:
            self._narrow(self._ends)
        return ssl.SSLSocket.recv(self, size, *args)

    def _receive_into(self, buffer: Any, *args: Any) -> int:
        if self._ends is not None:
            self._narrow(self._ends)
        return ssl.SSLSocket.recv_into(self, buffer, *args)

    def _receive_now(self) -> bytes | None:
        socket.socket.settimeout(self, 0)
        try:
            return ssl.SSLSocket.recv(self, _EARLY_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None  # a message of TLS itself
        finally:
            self._restore()

    def _send_now(self, data: Any) -> int:
        if self._ends is not None:
            _left(self._ends)
        socket.socket.settimeout(self, 0)
        try:
            return ssl.SSLSocket.send(self, data)
        except ssl.SSLWantWriteError:
            return 0
        finally:
            self._restore()

    def _restore(self) -> None:
        # Under a deadline the next step sets what is left. Skip a redundant settimeout(): the
        # system call releases the GIL.
        if self._ends is None and self.gettimeout() is not None:
            socket.socket.settimeout(self, None)


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


def _left_to_poll(ends: float | None) -> float | None:
    """What is left as ``poll()`` takes it; raises ``TimeoutError`` for nothing."""
    return None if ends is None else min(_left(ends), _LONGEST) * 1e3


def _poll_of(sock: socket.socket, events: int) -> "select.poll":
    number = sock.fileno()
    if number < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    poll = select.poll()
    poll.register(number, events)
    return poll
