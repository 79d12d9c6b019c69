"""The body of a request in memory, which the plugin reads from the host's own iterable."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import checked_chunks

# The most bytes of a request that are unread, as if they were in a socket's buffers: the host of a
# loop waits beyond them, and so many are still sent after the plugin has responded early.
MOST_UNREAD = 256 << 10


class Upload:
    """A request's ``body`` on its way to the plugin; ``check`` is called around each chunk.

    If the iterable or ``check`` raises, the host gets this exception, by ``raise_error``, and the
    plugin a ``WireError``, as from a server. ``sent`` are the bytes so far, and ``is_over`` is true
    once there are no more.
    """

    def __init__(self, body: bytes | Iterable[bytes], check: Callable[[], object]) -> None:
        self.sent: bytearray = bytearray()
        self.is_over: bool = False
        self._chunks = checked_chunks([body] if isinstance(body, bytes) else body)
        self._check = check
        self._unread: deque[bytes] = deque()
        self._error: BaseException | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks that were not read yet; raise ``WireError`` if they break off."""
        while self._unread or not self.is_over:
            if not self._unread:
                self._send_next()
            else:
                yield self._unread.popleft()

    def read(self) -> bytes:
        """Return the rest of the body; raise an exception of the iterable or of ``check``."""
        self._send(math.inf)
        return b"".join(self.chunks())

    def end(self) -> None:
        """Read as much as a host sends before it sees a response.

        Raise an exception of the iterable or of ``check``.
        """
        self._send(MOST_UNREAD)

    def raise_error(self) -> None:
        """Raise the exception of the iterable or of ``check``, if there was one."""
        if self._error is not None:
            raise self._error

    def _send(self, most: float) -> None:
        unread = 0
        while not self.is_over and unread < most:
            with suppress(WireError):
                unread += self._send_next()
        self.raise_error()

    def _send_next(self) -> int:
        try:
            self._check()
            chunk = next(self._chunks, None)
            self._check()
        except BaseException as error:
            self.is_over, self._error = True, error
            raise WireError("the request's body cannot be read: it is cut off") from error
        if chunk is None:
            self.is_over = True
            return 0
        self.sent += chunk
        self._unread.append(bytes(chunk))
        return len(chunk)
