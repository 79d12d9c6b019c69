"""Connected non-blocking sockets in an event loop, in plain text and under TLS.

These links use ``loop.add_reader`` rather than an ``asyncio.Protocol``: a transport of asyncio
closes its socket if a plugin has stopped reading, and loses the response before that. TLS is
OpenSSL with memory buffers on top of the same kind of socket, so that both behave alike in every
loop.

A link is for the thread of its loop. Only ``close`` may be called in other threads; it then lets
the loop close the socket.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context

from moby_plugins.adapters.http.pool import PROCESS
from moby_plugins.adapters.http.tls import is_unclean_end

# The most bytes that are encrypted, or received for decryption, at once.
_TLS_BYTES = 64 << 10
_WOULD_BLOCK = (BlockingIOError, InterruptedError)


def is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether ``loop`` is running in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def may_touch(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether this thread may change the callbacks of ``loop``: no other thread runs it."""
    return is_running_here(loop) or not loop.is_running()


def _nothing() -> None:
    """Do nothing, for a link that is closed."""


class Link:
    """A connected non-blocking socket in plain text, which its owner closes.

    Attributes:
        loop: The event loop that the link belongs to.
        ended: Whether the other end has stopped sending.
        cut_off: Whether it stopped sending without the ``close_notify`` that TLS requires.
        is_closed: Whether this process has closed the link.
        is_receiving: Whether the loop calls ``on_readable`` when the socket is readable.
        is_flushed: Whether the last ``send`` has left no bytes for ``flush``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        # Attributes of the instance, read in every call: a property or a default of the class
        # would take longer.
        self.ended: bool = False
        self.cut_off: bool = False
        self.is_closed: bool = False
        self.is_receiving: bool = False
        self.is_flushed: bool = True
        self.loop = loop
        self._sock = sock
        self._process = PROCESS.number
        self._number = sock.fileno()
        self._on_readable: Callable[[], object] = _nothing
        self._writes = False
        self._poll: select.poll | None = None

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 once it is closed."""
        return self._sock.fileno()

    def start(self, on_readable: Callable[[], object]) -> None:
        """Call ``on_readable`` whenever the socket is readable."""
        self._on_readable = on_readable
        self.is_receiving = False
        self.resume()

    def resume(self) -> None:
        """Call ``on_readable`` again whenever the socket is readable."""
        if not (self.is_receiving or self.is_closed):
            self.is_receiving = True
            # In an empty context, as the connection outlives the call that dials it.
            number, on_readable = self._number, self._on_readable
            Context().run(lambda: self.loop.add_reader(number, on_readable))

    def pause(self) -> None:
        """Stop the calls of ``on_readable`` until ``resume``."""
        if self.is_receiving:
            self.is_receiving = False
            self.loop.remove_reader(self._number)

    def watch_room(self, on_room: Callable[[], object]) -> None:
        """Call ``on_room`` whenever there is room to send, until ``unwatch_room``."""
        if not self.is_closed:
            self._writes = True
            self.loop.add_writer(self._number, on_room)

    def unwatch_room(self) -> None:
        """Stop the calls of the callback that was passed to ``watch_room``."""
        if self._writes:
            self._writes = False
            self.loop.remove_writer(self._number)

    def receive(self, size: int) -> bytes | None:
        """Receive what is available without waiting.

        Returns at most ``size`` bytes; over TLS, the rest of a record may add up to 16 KiB. Returns
        ``None`` if nothing was received yet, and ``b""`` at the end of the input. Raises
        ``OSError`` if the connection is broken.
        """
        try:
            data = self._sock.recv(size)
        except _WOULD_BLOCK:
            return None
        if not data:
            self.ended = True
        return data

    def send(self, data: bytes | memoryview) -> int:
        """Send as much of ``data`` as there is room for; return the number of bytes."""
        try:
            return self._sock.send(data)
        except _WOULD_BLOCK:
            return 0

    def flush(self) -> bool:
        """Send bytes that ``send`` has kept, if there is room; return true if none is left."""
        return True

    def is_readable(self) -> bool:
        """Return whether the connection has ended, or received data that was not requested."""
        if self.is_closed or self.ended:
            return True
        return bool((self._poll or self._polls()).poll(0)) and self._has_content()

    def is_broken(self) -> bool:
        """Return whether the other end has reset the connection.

        Bytes received before the reset can still be read. uvloop reports a reset only once, and
        then nothing more, as libuv does.
        """
        if self.is_closed:
            return False
        return any(events & select.POLLERR for _, events in (self._poll or self._polls()).poll(0))

    def close(self) -> None:
        """Close the socket, in any thread; after a fork, the parent's loop is not affected."""
        if self.is_closed:
            return
        loop = self.loop
        self._on_readable = _nothing  # the previous callback refers to the owner of this link
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
            except RuntimeError:  # the loop has just been closed
                self.close()

    def _has_content(self) -> bool:
        return True

    def _polls(self) -> "select.poll":
        self._poll = select.poll()
        self._poll.register(self._number, select.POLLIN)
        return self._poll


class TLSLink(Link):
    """A link under TLS; it can be used once ``shake_hands`` has returned true."""

    ended: bool
    cut_off: bool
    is_flushed: bool

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
        # Encrypted, but not sent yet.
        self._unsent = memoryview(b"")

    @property
    def has_unread(self) -> bool:
        """Whether data was received together with the end of the handshake."""
        return bool(self._incoming.pending)

    def shake_hands(self) -> bool:
        """Continue the handshake as far as possible without waiting; return true once it is done.

        Raises ``OSError``, ``ssl.SSLError`` among them.
        """
        self._take(_TLS_BYTES)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return False
        except ssl.SSLError:
            with suppress(OSError):  # send an alert, if the other end still reads
                self.flush()
            raise
        self.flush()
        return True

    def receive(self, size: int) -> bytes | None:
        """Receive and decrypt what is available; ``None`` if nothing is, ``b""`` at the end."""
        if not self._take(min(size, _TLS_BYTES)) and not self._incoming.pending:
            return None
        data = self._decrypted()
        if self._outgoing.pending:  # a TLS record without application data
            with suppress(OSError):  # the other end has gone
                self.flush()
        return data or (b"" if self.ended else None)

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and send some of ``data``; return the number of bytes, 0 for a full buffer."""
        if not self.flush():
            return 0
        size = self._tls.write(memoryview(data)[:_TLS_BYTES])
        self.is_flushed = self.flush()
        return size

    def flush(self) -> bool:
        """Send encrypted bytes, as far as there is room; return true if none is left."""
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
        # Session tickets are not content.
        try:
            return self.receive(_TLS_BYTES) is not None
        except OSError:
            return True

    def _take(self, size: int) -> bool:
        """Pass received bytes or the end of the input to OpenSSL; return false if neither came."""
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
        except ssl.SSLError as error:
            if not (parts or is_unclean_end(error)):
                raise
            self.ended = True
            self.cut_off = True
        return parts[0] if len(parts) == 1 else b"".join(parts)
