"""One exchange over one connection, blocking or as one of many that a single thread polls.

A ``PendingExchange`` connects, sends its request and receives the response, each step as soon as
it does not block. It only counts the bytes of the response; once all have been received, the
HTTP library parses them from memory. If the size is not known from the head (see
``domain/http_grammar.py``), or is large, the HTTP library reads the rest from the socket, in a
thread that may block.

TLS connections are not begun this way: their handshake is done in a thread that may block, rather
than in steps between other exchanges.
"""

import errno
import os
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from moby_plugins.adapters.http.deadline_socket import LONGEST, DeadlineSocket
from moby_plugins.domain.http import Request, Response
from moby_plugins.domain.http_grammar import response_size
from moby_plugins.ports import PendingResponse

# The most bytes of a response that are received before the HTTP library reads it.
MOST_BYTES = 64 << 10
_HUNG_UP = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Release(Protocol):
    """A callback that returns a connection to its pool, once its response was read."""

    def __call__(self, connection: "Connection", /, *, reusable: bool) -> None:
        """Keep ``connection`` for another request if it is ``reusable``, else close it."""
        ...


class Connection(Protocol):
    """One connection of an HTTP library; one thread owns it from ``send`` until its release."""

    def send(self, request: Request, ends: float | None) -> bool:
        """Send ``request``; return false if the plugin responds or stops reading before its end.

        The whole exchange has to end by the monotonic time ``ends``; ``None`` means no limit.
        Raises ``TransportError``, ``TransportTimeoutError`` at that time. Closes the connection if
        it raises.
        """
        ...

    def receive(self, release: Release, *, whole: bool) -> Response:
        """Receive the response, by the deadline of ``send``; ``whole`` is what ``send`` returned.

        Calls ``release`` when the body was read or closed. Closes the connection if it raises.
        """
        ...

    def is_readable(self) -> bool:
        """Return whether the idle connection has ended, or received data that was not requested."""
        ...

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        ...


class SocketBody(ABC):
    """The base of response bodies that are read from a socket.

    ``abort`` ends what waits for the socket. ``release`` is called once, at the body's end or when
    the body is closed before it. A body that is closed by one thread while another reads it is
    released by the reader, as only then the socket's descriptor may be used again.
    """

    def __init__(self, abort: Callable[[], None], release: Callable[..., None]) -> None:
        self._abort = abort
        self._release = release
        self._is_over = self._is_reading = self._is_closing = False

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes as soon as any have arrived, ``b""`` at the end.

        Raises ``TransportTimeoutError`` if the time-out expires, ``TransportError`` if the
        connection breaks or another thread closes it, and ``WireError`` if the plugin ends the body
        too early or chunks it badly.
        """
        self._is_reading = True
        try:
            return self._next(size)
        finally:
            self._is_reading = False
            if self._is_closing:
                self._end(reusable=False)

    def close(self) -> None:
        """Close the connection, unless the body was read to its end; any thread may call this."""
        if not self._is_over:
            self._is_closing = True
            self._abort()
            if not self._is_reading:
                self._end(reusable=False)

    @abstractmethod
    def _next(self, size: int) -> bytes:
        """Do what ``read`` promises, and call ``_end`` at the body's end."""

    def _end(self, *, reusable: bool) -> None:
        """Release the connection, unless that was done before."""
        if not self._is_over:
            self._is_over = True
            self._release(reusable=reusable and not self._is_closing)


class PendingExchange:
    """An exchange of ``request`` over ``connection``, whose ``sock`` may still be connecting.

    It times out at the monotonic time ``ends``; ``None`` means never. ``release`` is called with
    ``connection`` once the response was read. ``translate`` returns the ``PluginError`` for a
    failure to connect.
    """

    def __init__(
        self,
        sock: DeadlineSocket,
        connection: Connection,
        request: Request,
        ends: float | None,
        release: Release,
        *,
        translate: Callable[[OSError], Exception],
    ) -> None:
        self._sock = sock
        self._connection = connection
        self._request: Request | None = request
        # The monotonic time at which it times out, ``None`` for never.
        self.ends: float | None = ends
        self._release = release
        self._translate = translate
        self._sent = True
        # Whether ``finish`` will return or raise without waiting.
        self.is_whole: bool = False
        self._is_over = False
        self._failure: Exception | None = None

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

    def events(self) -> int:
        """Return the events of ``poll`` to wait for: output until all is sent, then input."""
        return select.POLLIN if self._request is None else select.POLLOUT

    def send(self) -> None:
        """Send the request; the socket must be connected."""
        request, self._request = self._request, None
        assert request is not None  # noqa: S101  for mypy: it is sent once
        self._sent = self._connection.send(request, self.ends)

    def advance(self, events: int) -> bool:
        """Send or receive what is possible without waiting; return true when polling is over.

        Then ``finish`` is to be called. ``events`` are those that ``poll`` returned for the socket,
        or 0 if the time-out has expired.
        """
        if not events or events & _HUNG_UP:
            self.is_whole = True
        elif self._request is None:
            return self._receive()
        else:
            try:
                self.send()
            except Exception as error:  # raised again by ``finish``
                self._failure = error
                self.is_whole = True
        return self.is_whole

    def finish(self) -> Response:
        """Wait for the response, and return it.

        Raises ``TransportError`` if no status line is received.
        """
        self._is_over = True
        if self._failure is not None:
            raise self._failure
        if self._request is not None:
            self._check_connected()
            self.send()
        return self._connection.receive(self._release, whole=self._sent)

    def close(self) -> None:
        """Close the connection, unless ``finish`` was called: then the response owns it."""
        if not self._is_over:
            self._connection.close()

    def _receive(self) -> bool:
        try:
            goes_on = self._sock.receive_early()
        except OSError:  # the HTTP library gets the error when it receives
            goes_on = False
        early = self._sock.early
        received = len(early)
        size = response_size(early) if goes_on else 0
        self.is_whole = not goes_on or (size is not None and 0 < size <= received)
        # The size is 0 while the head is incomplete.
        return self.is_whole or size is None or max(size, received) > MOST_BYTES

    def _check_connected(self) -> None:
        failure = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not failure and self.ends is not None and self.ends <= time.monotonic():
            failure = errno.ETIMEDOUT
        if failure:
            self._connection.close()
            error = OSError(failure, os.strerror(failure))
            raise self._translate(error) from error


class PollSelector:
    """A ``Selector`` that waits with ``poll`` for many responses; for one thread at a time."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._pending: dict[int, PendingResponse] = {}

    def add(self, pending: PendingResponse, /) -> None:
        """Add ``pending`` to those that ``wait`` waits for."""
        number = pending.fileno()
        self._pending[number] = pending
        self._poll.register(number, pending.events())

    def wait(self) -> list[PendingResponse]:
        """Wait until one or more responses can be finished; remove and return them.

        Returns an empty list if there are none to wait for.
        """
        while self._pending:
            polled = self._poll.poll(self._milliseconds())
            ready = [number for number, events in polled if self._advance(number, events)]
            settled = [self._remove(number) for number in ready]
            settled += [self._remove(number) for number in self._late()]
            if settled:
                return settled
        return []

    def _advance(self, number: int, events: int) -> bool:
        pending = self._pending[number]
        if pending.advance(events):
            return True
        self._poll.modify(number, pending.events())
        return False

    def _late(self) -> list[int]:
        now = time.monotonic()
        return [
            number
            for number, pending in self._pending.items()
            if pending.ends is not None and pending.ends <= now and pending.advance(0)
        ]

    def _remove(self, number: int) -> PendingResponse:
        self._poll.unregister(number)
        return self._pending.pop(number)

    def _milliseconds(self) -> float | None:
        ends = [pending.ends for pending in self._pending.values() if pending.ends is not None]
        if not ends:
            return None
        return min(max(min(ends) - time.monotonic(), 0.0), LONGEST) * 1000 + 1
