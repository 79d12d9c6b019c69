"""One HTTP connection in an event loop, with the parser and the rules of ``adapters/http``.

Bytes are received as soon as the loop reports them, in any state of a call: a response that begins
while its request is being sent stops the sending, and bytes that arrive between two calls close
the connection. Receiving pauses once a certain amount of an unread body is kept.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterable, Callable
from copy import copy

from moby_plugins.adapters.aio.links import Link, TLSLink
from moby_plugins.adapters.aio.pool import Call, LoopPool
from moby_plugins.adapters.http.deadline_socket import ClosedHereError, ends_sending
from moby_plugins.adapters.http.dialing import STOPPED_READING
from moby_plugins.adapters.http.heads import RefusedError, head_of
from moby_plugins.adapters.http.httptools import (
    ERRORS,
    FIRST_BYTES,
    LAST_CHUNK,
    ResponseParser,
    as_chunk,
    translate,
)
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.http import CHUNK_BYTES

# Bytes of a body per receive, and the most that are kept before receiving pauses.
_STEP, _MOST_KEPT = 128 << 10, 256 << 10
# While an iterable is sent, the loop gets a turn after CHUNK_BYTES, where each part counts as this
# many bytes more, or after this many seconds.
_LEAST_PART, _MOST_BETWEEN = 64, 1e-3
# What sending over a link raises then; a link raises the errors of OpenSSL unchanged.
_STOPPED_READING = (*STOPPED_READING, ssl.SSLEOFError)


class _Incoming:
    """A buffer of the bytes of a body that were received but not read yet."""

    def __init__(self, received: bytes) -> None:
        self.parts: deque[memoryview] = deque()
        self.size: int = 0
        # The error that ended the body early, if any.
        self.failure: Exception | None = None
        self.is_over = False
        self.add(received)

    def add(self, data: bytes) -> None:
        """Add ``data``, which was received."""
        if data:
            self.parts.append(memoryview(data))
            self.size += len(data)

    def take(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``."""
        part = self.parts.popleft()
        if len(part) > size:
            self.parts.appendleft(part[size:])
            part = part[:size]
        self.size -= len(part)
        return bytes(part)


class AsyncConnection:
    """A connection over ``link`` to the plugin at ``address``, for one call of ``pool`` at a time.

    Only ``close`` may be called from other threads than that of its loop.
    """

    def __init__(self, address: Address, link: Link, pool: LoopPool["AsyncConnection"]) -> None:
        self._address = address
        self._host = address.host_header
        self._link = link
        self._pool = pool
        # One for all responses: creating a parser takes longer than parsing.
        self._parser = ResponseParser()
        self._call: Call | None = None
        self._incoming: _Incoming | None = None
        # Whether a request is being sent, and whether early bytes have ended the sending.
        self._is_sending = self._responded = False
        self._early = b""
        # The rest of a small request for which the socket had no room.
        self._unsent: memoryview | None = None
        self._failure: Exception | None = None
        self._is_new = True
        # Whether the other end has hung up, or sent data that was not requested.
        self.is_readable: Callable[[], bool] = link.is_readable
        link.start(self._on_readable)
        if isinstance(link, TLSLink) and link.has_unread:  # which the loop does not report
            link.loop.call_soon(self._on_readable)

    async def exchange(self, request: AsyncRequest, call: Call) -> AsyncResponse:
        """Send ``request`` for ``call``, and return the response once its head was received.

        After an exception, the connection is closed. A failure of the connection is raised as a
        ``PluginError``; an exception of the caller's own iterable passes unchanged.
        """
        self._call, call.carrier = call, self
        parser = self._parser
        try:
            whole = self._sent_at_once(request)
            if whole is None:
                self._is_sending = True
                whole = await self._send(request, call)
            parser.begin()
            if self._is_sending:
                self._receive_early()
            try:
                while not parser.status:
                    if self._failure is not None:
                        raise copy(self._failure)  # its traceback would refer to this object
                    await call.woken()
                    if call.failure is not None:
                        call.check()
            except ERRORS as error:
                answered = isinstance(error, OSError) and parser.answered
                raise translate(error, self._address, answered=answered) from error
        except BaseException:
            self._call = call.waiter = None
            self.close()
            raise
        parser.reusable = parser.reusable and whole
        is_new, self._is_new = self._is_new, False
        received = parser.take()
        if parser.complete:
            self._finish()
            return AsyncResponse(parser.status, received, parser.headers(), is_new)
        self._pool.pass_turn(call)
        self._incoming = incoming = _Incoming(received)
        self._check_body(incoming)
        body = UnreadBody(self, incoming, call, self._address)
        return AsyncResponse(parser.status, body, parser.headers(), is_new)

    def resume(self) -> None:
        """Resume receiving, after a pause because enough of the body was kept."""
        if not self._link.ended:
            self._link.resume()

    def close(self) -> None:
        """Close the connection and end its call.

        Any thread may call this while the connection has no call.
        """
        self._link.close()
        if self._incoming is not None and self._call is not None:
            call, self._call, self._incoming = self._call, None, None
            self._pool.end(call)
        if self._call is None:
            self._parser.finish()

    def _sent_at_once(self, request: AsyncRequest) -> bool | None:
        """Send a small request in one system call; return true if all of it was sent.

        Returns false if the plugin has stopped reading, and ``None`` if ``_send`` has to send the
        request, or the rest of it.
        """
        body = request.body
        if not isinstance(body, bytes) or len(body) > CHUNK_BYTES:
            return None
        data = head_of(request, self._host, len(body)) + body
        try:
            sent = self._link.send(data)
            if sent == len(data) and self._link.is_flushed:
                return True
        except _STOPPED_READING:
            return False
        except OSError as error:
            raise translate(error, self._address, answered=False) from error
        self._unsent = memoryview(data)[sent:]
        return None

    async def _send(self, request: AsyncRequest, call: Call) -> bool:
        """Send the rest of ``request``; return false if the plugin responds or stops reading."""
        body = request.body
        if not isinstance(body, bytes):
            return await self._send_parts(request, body, call)
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            return await self._put(unsent)
        return await self._put(head_of(request, self._host, len(body))) and await self._put(body)

    async def _send_parts(
        self, request: AsyncRequest, body: AsyncIterable[bytes], call: Call
    ) -> bool:
        """Send the chunks of an iterable; return false if the plugin responds or stops reading.

        The deadline and an early response also end a wait for the caller's next chunk.
        """
        chunked = request.length is None
        if not await self._put(head_of(request, self._host, request.length)):
            return False
        whole = False
        async with call.interruptible() as block:
            whole = await self._put_all(body, chunked=chunked)
        if block.interrupted:
            self._check(call)
        return whole

    async def _put_all(self, body: AsyncIterable[bytes], *, chunked: bool) -> bool:
        """Send all chunks of ``body``; return false if the plugin responds or stops reading."""
        loop = self._link.loop
        unseen, due = 0, loop.time() + _MOST_BETWEEN
        async for part in body:
            # Give the loop a turn for other tasks and for the plugin's input: if the iterable never
            # waits and the plugin reads as fast, nothing else would.
            unseen += len(part) + _LEAST_PART
            if unseen >= CHUNK_BYTES or loop.time() >= due:
                await asyncio.sleep(0)
                unseen, due = 0, loop.time() + _MOST_BETWEEN
            # An empty chunk would end the body.
            if part and not await self._put(as_chunk(part) if chunked else part):
                return False
        return not chunked or await self._put(LAST_CHUNK)

    async def _put(self, data: bytes | memoryview) -> bool:
        """Send all of ``data``; return false if the plugin responds or has stopped reading."""
        link, call = self._link, self._call
        assert call is not None  # noqa: S101  for mypy
        view = memoryview(data)
        try:
            while True:
                call.check()
                if self._responded:
                    return False
                if view:
                    view = view[link.send(view[:_STEP]) :]
                if not view and link.flush():
                    return True
                link.watch_room(call.wake)
                try:
                    await call.wait()
                finally:
                    link.unwatch_room()
        except _STOPPED_READING:
            return False
        except OSError as error:
            raise translate(error, self._address, answered=False) from error

    def _check(self, call: Call) -> None:
        try:
            call.check()
        except OSError as error:
            raise translate(error, self._address, answered=False) from error

    def _on_readable(self) -> None:
        link = self._link
        if link.is_closed:
            return
        size = FIRST_BYTES if self._incoming is None else _STEP
        try:
            data = link.receive(size)
        except OSError as error:
            self._break(error)
            return
        call = self._call
        if call is None:
            if data is not None:  # the end of the connection, or data that was not requested
                self._lose()
            return
        if self._is_sending:
            self._take_early(data)
            self._look_again()
            return
        if data:
            self._feed(data)
        if link.ended:
            link.pause()
            self._take_end()
        if not self._parser.complete:
            self._look_again()
        if len(self._pool.calls) > 1:
            self._pool.resume_together(call)
        else:
            call.resume()  # last, as the task goes on in it

    def _look_again(self) -> None:
        """Receive soon if the connection is broken: the loop may not report a reset again."""
        # After a reset, the loop may not report the connection again.
        link = self._link
        if self._call is not None and link.is_receiving and link.is_broken():
            link.loop.call_soon(self._on_readable)

    def _lose(self) -> None:
        self._pool.shared.discard(self)
        self.close()

    def _take_early(self, data: bytes | None) -> None:
        """Keep bytes received while a request is sent; stop sending if they are a response."""
        self._early += data or b""
        if self._link.ended or ends_sending(self._early):
            self._responded = True
            self._link.pause()
            if self._call is not None:
                self._call.interrupt()

    def _receive_early(self) -> None:
        """Parse the bytes received while the request was being sent, and resume receiving."""
        self._is_sending = self._responded = False
        early, self._early = self._early, b""
        if early:
            self._feed(early)
        if self._link.ended:
            self._take_end()
        else:
            self._link.resume()

    def _feed(self, data: bytes) -> None:
        parser, incoming = self._parser, self._incoming
        try:
            parser.feed(data)
        except ERRORS as error:
            parser.begin()  # reset what was parsed of a refused head
            self._break(error)
            return
        if incoming is not None:
            incoming.add(parser.take())
            self._check_body(incoming)

    def _check_body(self, incoming: _Incoming) -> None:
        """Update the body after parsing: it may have ended or failed, or receiving must pause."""
        parser = self._parser
        if parser.failure is not None:
            self._end_body(incoming, parser.failure)
        elif parser.complete:
            incoming.is_over = True
            self._finish()
        elif self._failure is not None or self._link.ended:
            self._take_end()
        elif incoming.size >= _MOST_KEPT:
            self._link.pause()

    def _take_end(self) -> None:
        """Handle the end of the connection: it may end the body, or be an error."""
        parser, incoming = self._parser, self._incoming
        if not parser.status:
            if self._failure is None:
                self._failure = parser.ended()
        elif incoming is not None and not incoming.is_over:
            failure = self._failure
            if failure is None and (parser.ends_itself or self._link.cut_off):
                failure = RefusedError("the connection ended before the end of the body")
            self._end_body(incoming, failure)

    def _end_body(self, incoming: _Incoming, failure: Exception | None) -> None:
        incoming.failure, incoming.is_over = failure, True
        self._parser.reusable = False
        self._finish()

    def _break(self, error: Exception) -> None:
        """Store an error of receiving, which is raised after the bytes before it were read."""
        # Without traceback, cause and context, which would refer to this object.
        self._failure = error.with_traceback(None)
        error.__cause__ = error.__context__ = None
        self._link.close()
        call = self._call
        if call is None:
            self._lose()
        elif self._is_sending:
            self._responded = True
            call.interrupt()
        else:
            if self._incoming is not None:
                self._take_end()
            call.wake()

    def _finish(self) -> None:
        """End the call after its last byte; keep the connection for another, or close it."""
        call, self._call, self._incoming = self._call, None, None
        if call is not None:
            self._pool.end(call)
        link = self._link
        if self._parser.reusable and not (link.ended or link.is_closed):
            if not link.is_receiving:
                link.resume()
            self._pool.keep(self)
        else:
            self.close()


class UnreadBody:
    """The body of a response, as ``connection`` receives it for ``call``."""

    def __init__(
        self, connection: AsyncConnection, incoming: _Incoming, call: Call, address: Address
    ) -> None:
        self._connection = connection
        self._incoming = incoming
        self._call = call
        self._address = address

    async def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes as soon as any have arrived, ``b""`` at the end.

        Raises ``TransportTimeoutError`` if the time-out expires, ``TransportError`` if the
        connection breaks or ``close`` is called during this read, and ``WireError`` if the plugin
        ends the body too early or chunks it badly.
        """
        incoming = self._incoming
        while not incoming.parts:
            try:
                if incoming.failure is not None:
                    raise copy(incoming.failure)  # its traceback would refer to this object
                if incoming.is_over:
                    return b""
                await self._call.wait()
            except ERRORS as error:
                raise translate(error, self._address, answered=True) from error
            except BaseException:
                # After a cancellation, the rest of the body is not read by any task.
                self._call.fail(ClosedHereError)
                raise
        data = incoming.take(size)
        if not incoming.is_over and incoming.size < _MOST_KEPT:
            self._connection.resume()
        return data

    def close(self) -> None:
        """Close the connection and end pending reads, unless the whole body was received."""
        if not self._incoming.is_over:
            self._incoming.is_over = True
            self._incoming.parts.clear()
            self._call.fail(ClosedHereError)

    def __del__(self) -> None:
        # If a task was cancelled just as it got this, the loop would keep the connection open.
        if not self._incoming.is_over:
            self._call.abandon()
