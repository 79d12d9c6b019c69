"""Connected sockets in an event loop, in plain text and under TLS: none of them ever waits.

They are on ``loop.add_reader`` and not on an ``asyncio.Protocol``. A transport of asyncio closes
its socket where a plugin has stopped reading, and loses the response that came before that. TLS
is OpenSSL over memory, above the same socket, so that both behave alike in every loop.

An event loop is for one thread, so ``close`` may be called from others, and leaves the rest to it.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context

from moby_plugins.adapters.http.pool import PROCESS

# What is encrypted at once, and received of what is to be decrypted.
_TLS_BYTES = 64 << 10
_WOULD_BLOCK = (BlockingIOError, InterruptedError)


def is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this thread is inside ``loop``."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def may_touch(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this thread may change what ``loop`` waits for: it runs here, or nowhere."""
    return is_running_here(loop) or not loop.is_running()


def _nothing() -> None:
    """Do nothing for what came to a link that is not in use."""


class Link:
    """A connected socket that does not block, in plain text. Closed by its owner.

    Attributes:
        loop: The event loop that it belongs to.
        ended: Whether the other end sends no more.
        cut_off: Whether that end came as TLS does not allow.
        is_closed: Whether it was closed at this end.
        is_receiving: Whether the loop tells of what there is to receive.
    """

    # Looked at in every call: a property would be a function more.
    ended: bool = False
    cut_off: bool = False
    is_closed: bool = False
    is_receiving: bool = False

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.loop = loop
        self._sock = sock
        self._process = PROCESS.number
        self._number = sock.fileno()
        self._on_readable: Callable[[], object] = _nothing
        self._writes = False
        self._poll: select.poll | None = None

    def start(self, on_readable: Callable[[], object]) -> None:
        """Call ``on_readable`` whenever there is something to receive."""
        self._on_readable = on_readable
        self.is_receiving = False
        self.resume()

    def resume(self) -> None:
        """Go on calling it."""
        if not (self.is_receiving or self.is_closed):
            self.is_receiving = True
            # In no caller's context: the connection lives longer than the call that dials it.
            number, on_readable = self._number, self._on_readable
            Context().run(lambda: self.loop.add_reader(number, on_readable))

    def pause(self) -> None:
        """Call it no more, until ``resume``."""
        if self.is_receiving:
            self.is_receiving = False
            self.loop.remove_reader(self._number)

    def watch_room(self, on_room: Callable[[], object]) -> None:
        """Call ``on_room`` whenever there is room to send, until ``unwatch_room``."""
        if not self.is_closed:
            self._writes = True
            self.loop.add_writer(self._number, on_room)

    def unwatch_room(self) -> None:
        """Call nothing for room to send."""
        if self._writes:
            self._writes = False
            self.loop.remove_writer(self._number)

    def receive(self, size: int) -> bytes | None:
        """Receive what has come, about ``size`` bytes at most.

        ``None`` for nothing yet, ``b""`` for the end. Raises ``OSError``.
        """
        try:
            data = self._sock.recv(size)
        except _WOULD_BLOCK:
            return None
        if not data:
            self.ended = True
        return data

    def send(self, data: bytes | memoryview) -> int:
        """Send as much of ``data`` as there is room for; returns how many bytes that was."""
        try:
            return self._sock.send(data)
        except _WOULD_BLOCK:
            return 0

    def flush(self) -> bool:
        """Send what ``send`` took, as far as there is room; true where nothing is left."""
        return True

    def is_readable(self) -> bool:
        """Whether something came that was not asked for: the end, or more than a response."""
        if self.is_closed or self.ended:
            return True
        return bool((self._poll or self._polls()).poll(0)) and self._has_content()

    def is_broken(self) -> bool:
        """Whether the other end has reset it. What came before is received first.

        uvloop tells of that once, and then of nothing more, as libuv has it.
        """
        if self.is_closed:
            return False
        return any(events & select.POLLERR for _, events in (self._poll or self._polls()).poll(0))

    def close(self) -> None:
        """Hang up; in any thread, and after a fork without a trace in the parent's loop."""
        if self.is_closed:
            return
        loop = self.loop
        self._on_readable = _nothing  # the other refers back to this
        if self._process != PROCESS.number or loop.is_closed():
            self.is_closed = True
            self._sock.close()
        elif may_touch(loop):
            self.pause()
            self.unwatch_room()
            self.is_closed = True
            self._sock.close()
        else:
            try:
                loop.call_soon_threadsafe(self.close)
            except RuntimeError:  # it was closed since
                self.close()

    def _has_content(self) -> bool:
        return True

    def _polls(self) -> "select.poll":
        self._poll = select.poll()
        self._poll.register(self._number, select.POLLIN)
        return self._poll


class TLSLink(Link):
    """The same under TLS, once ``shake_hands`` has returned true."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        context: ssl.SSLContext,
        host: str,
    ) -> None:
        super().__init__(loop, sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=host
        )
        # Encrypted, and not sent yet.
        self._unsent = memoryview(b"")

    @property
    def has_unread(self) -> bool:
        """Whether more than the handshake came with its end."""
        return bool(self._incoming.pending)

    def shake_hands(self) -> bool:
        """Go on with the handshake as far as that needs no wait; true once it is done.

        Raises ``OSError``, ``ssl.SSLError`` among them.
        """
        self._take(_TLS_BYTES)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return False
        except ssl.SSLError:
            with suppress(OSError):  # an alert to the other end, if it is still there
                self.flush()
            raise
        self.flush()
        return True

    def receive(self, size: int) -> bytes | None:
        """Receive what has come, decrypted: see ``Link.receive``."""
        if not self._take(min(size, _TLS_BYTES)) and not self._incoming.pending:
            return None
        data = self._decrypted()
        if self._outgoing.pending:  # an answer of TLS itself
            with suppress(OSError):  # the other end sends and reads no more
                self.flush()
        return data or (b"" if self.ended else None)

    def send(self, data: bytes | memoryview) -> int:
        """Send some of ``data``; what is encrypted and not sent bounds how much."""
        if not self.flush():
            return 0
        size = self._tls.write(memoryview(data)[:_TLS_BYTES])
        self.flush()
        return size

    def flush(self) -> bool:
        """Send what is encrypted, as far as there is room; true where nothing is left."""
        while True:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
                if not self._unsent:
                    return True
            sent = super().send(self._unsent)
            if not sent:
                return False
            self._unsent = self._unsent[sent:]

    def _has_content(self) -> bool:
        # Tickets, by which a session could be resumed, are no content.
        try:
            return self.receive(_TLS_BYTES) is not None
        except OSError:
            return True

    def _take(self, size: int) -> bool:
        """Give OpenSSL what has come; false for nothing."""
        try:
            data = self._sock.recv(size)
        except _WOULD_BLOCK:
            return False
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return True

    def _decrypted(self) -> bytes:
        parts: list[bytes] = []
        try:
            while part := self._tls.read(_TLS_BYTES):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLEOFError:
            self.ended = self.cut_off = True
        except ssl.SSLError:
            if not parts:
                raise
            self.ended = self.cut_off = True
        return parts[0] if len(parts) == 1 else b"".join(parts)
