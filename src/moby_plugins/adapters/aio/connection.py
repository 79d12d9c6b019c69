"""One HTTP connection in an event loop, under the parser and the rules of ``adapters/http``.

What comes is received as soon as the loop sees it, in whatever state a call is: a response that
begins while its request is being sent ends the sending, and what comes while no call is there ends
the connection. A body that is not read stops the receiving once enough of it is kept.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable
from copy import copy

from moby_plugins.adapters.aio.links import Link, TLSLink
from moby_plugins.adapters.aio.pool import Call, Place
from moby_plugins.adapters.http.deadline_socket import ClosedHereError, ends_sending
from moby_plugins.adapters.http.dialing import STOPPED_READING
from moby_plugins.adapters.http.heads import RefusedError, head_of
from moby_plugins.adapters.http.httptools import (
    ERRORS,
    FIRST_BYTES,
    LAST_CHUNK,
    Answer,
    as_chunk,
    translate,
)
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.http import CHUNK_BYTES

# Received at once of a body, and kept of one before the receiving stops.
_STEP, _MOST_KEPT = 128 << 10, 256 << 10
# Between two turns of the loop while an iterable is sent: what a part counts for at least, towards
# the size of a chunk, and seconds.
_LEAST_PART, _MOST_BETWEEN = 64, 1e-3


class _Incoming:
    """What has come of a body, and is to be read yet."""

    def __init__(self, came: bytes) -> None:
        self.parts: deque[memoryview] = deque()
        self.size: int = 0
        # What ended the body before it was whole; none where it is over and well.
        self.failure: Exception | None = None
        self.is_over = False
        self.add(came)

    def add(self, data: bytes) -> None:
        """Take what came."""
        if data:
            self.parts.append(memoryview(data))
            self.size += len(data)

    def take(self, size: int) -> bytes:
        """At most ``size`` bytes of what came first."""
        part = self.parts.popleft()
        if len(part) > size:
            self.parts.appendleft(part[size:])
            part = part[:size]
        self.size -= len(part)
        return bytes(part)


class AsyncConnection:
    """A connection over ``link`` to the plugin at ``address``, for one call of ``place`` at a time.

    For the thread of its loop, but for ``close``.
    """

    def __init__(self, address: Address, link: Link, place: Place["AsyncConnection"]) -> None:
        self._address = address
        self._host = address.host_header
        self._link = link
        self._place = place
        # One for all responses: to make a parser takes longer than to parse.
        self._answer = Answer()
        self._call: Call | None = None
        self._incoming: _Incoming | None = None
        # What was received while a request was being sent, and whether that ends the sending.
        self._is_sending = self._responded = False
        self._early = b""
        # Of a request that was to be sent at once, what there was no room for.
        self._unsent: memoryview | None = None
        self._failure: Exception | None = None
        # Whether the other end has hung up, or sent what was not asked for.
        self.is_readable: Callable[[], bool] = link.is_readable
        link.start(self._on_readable)
        if isinstance(link, TLSLink) and link.has_unread:  # of which the loop does not know
            link.loop.call_soon(self._on_readable)

    async def exchange(self, request: AsyncRequest, call: Call) -> AsyncResponse:
        """Send ``request``, and receive the head of its response, for ``call``.

        Raises our errors, and closes itself then. What the caller's own iterable raises passes
        as it is.
        """
        self._call, call.carrier = call, self
        answer = self._answer
        try:
            whole = self._sent_at_once(request)
            if whole is None:
                self._is_sending = True
                whole = await self._send(request, call)
            answer.begin()
            if self._is_sending:
                self._receive_early()
            try:
                while not answer.status:
                    if self._failure is not None:
                        raise copy(self._failure)  # its traceback would refer back to this
                    await call.wait()
            except ERRORS as error:
                answered = isinstance(error, OSError) and answer.answered
                raise translate(error, self._address, answered=answered) from error
        except BaseException:
            self._call = None
            self.close()
            raise
        answer.reusable = answer.reusable and whole
        came = answer.take()
        if answer.complete:
            self._finish()
            return AsyncResponse(answer.status, came, answer.headers())
        self._incoming = incoming = _Incoming(came)
        self._check_body(incoming)
        body = UnreadBody(self, incoming, call, self._address)
        return AsyncResponse(answer.status, body, answer.headers())

    def resume(self) -> None:
        """Go on receiving, where that was stopped for what had been kept."""
        if not self._link.ended:
            self._link.resume()

    def close(self) -> None:
        """Hang up; in any thread where no call is there, which lets go of it otherwise."""
        self._link.close()
        if self._incoming is not None and self._call is not None:
            call, self._call, self._incoming = self._call, None, None
            self._place.end(call)
        if self._call is None:
            self._answer.finish()

    def _sent_at_once(self, request: AsyncRequest) -> bool | None:
        """Send it in one piece, if it is small: true where that was all, ``None`` where not.

        False where the plugin has stopped reading.
        """
        body = request.body
        if not isinstance(body, bytes) or len(body) > CHUNK_BYTES:
            return None
        data = head_of(request, self._host, len(body)) + body
        try:
            sent = self._link.send(data)
            if sent == len(data) and self._link.flush():
                return True
        except STOPPED_READING:
            return False
        except OSError as error:
            raise translate(error, self._address, answered=False) from error
        self._unsent = memoryview(data)[sent:]
        return None

    async def _send(self, request: AsyncRequest, call: Call) -> bool:
        """Send what was not sent at once; false where the plugin responds, or reads no more."""
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
        """Send a body as it comes: the deadline and the response end the iterable too."""
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
        """Send all parts of ``body``; false as ``_send``."""
        loop = self._link.loop
        unseen, due = 0, loop.time() + _MOST_BETWEEN
        async for part in body:
            # Another task's turn, and a look at what the plugin sends: an iterable that never
            # waits, and a plugin that reads as fast, would leave no time for either.
            unseen += len(part) + _LEAST_PART
            if unseen >= CHUNK_BYTES or loop.time() >= due:
                await asyncio.sleep(0)
                unseen, due = 0, loop.time() + _MOST_BETWEEN
            # An empty chunk would be the last.
            if part and not await self._put(as_chunk(part) if chunked else part):
                return False
        return not chunked or await self._put(LAST_CHUNK)

    async def _put(self, data: bytes | memoryview) -> bool:
        """Send all of ``data``; false as ``_send``."""
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
        except STOPPED_READING:
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
        if self._call is None:
            if data is not None:  # the end, or more than a response
                self._lose()
        elif self._is_sending:
            self._take_early(data)
        else:
            self._take(data)
        # Where more is waited for: of a connection that was reset, the loop need not tell again.
        if (
            self._call is not None
            and (self._is_sending or not self._answer.complete)
            and link.is_receiving
            and link.is_broken()
        ):
            link.loop.call_soon(self._on_readable)

    def _take(self, data: bytes | None) -> None:
        """Take what came of a response."""
        call = self._call
        if data:
            self._feed(data)
        if self._link.ended:
            self._link.pause()
            self._take_end()
        if call is not None:
            call.wake()

    def _lose(self) -> None:
        self._place.shared.discard(self)
        self.close()

    def _take_early(self, data: bytes | None) -> None:
        """Keep what came while a request is being sent, and see whether that ends the sending."""
        self._early += data or b""
        if self._link.ended or ends_sending(self._early):
            self._responded = True
            self._link.pause()
            if self._call is not None:
                self._call.interrupt()

    def _receive_early(self) -> None:
        """Parse what came while the request was being sent, and go on receiving."""
        self._is_sending = self._responded = False
        early, self._early = self._early, b""
        if early:
            self._feed(early)
        if self._link.ended:
            self._take_end()
        else:
            self._link.resume()

    def _feed(self, data: bytes) -> None:
        answer, incoming = self._answer, self._incoming
        try:
            answer.feed(data)
        except ERRORS as error:
            answer.begin()  # what was made of a head that is refused does not count
            self._break(error)
            return
        if incoming is not None:
            incoming.add(answer.take())
            self._check_body(incoming)

    def _check_body(self, incoming: _Incoming) -> None:
        """See what the last of what came is for the body: its end, a failure, or enough for now."""
        answer = self._answer
        if answer.failure is not None:
            self._end_body(incoming, answer.failure)
        elif answer.complete:
            incoming.is_over = True
            self._finish()
        elif self._failure is not None or self._link.ended:
            self._take_end()
        elif incoming.size >= _MOST_KEPT:
            self._link.pause()

    def _take_end(self) -> None:
        """The plugin sends no more: see what that is for the response."""
        answer, incoming = self._answer, self._incoming
        if not answer.status:
            if self._failure is None:
                self._failure = answer.ended()
        elif incoming is not None and not incoming.is_over:
            failure = self._failure
            if failure is None and (answer.ends_itself or self._link.cut_off):
                failure = RefusedError("the connection ended before the body")
            self._end_body(incoming, failure)

    def _end_body(self, incoming: _Incoming, failure: Exception | None) -> None:
        incoming.failure, incoming.is_over = failure, True
        self._answer.reusable = False
        self._finish()

    def _break(self, error: Exception) -> None:
        """Take what went wrong in receiving: it is raised once what came before is read."""
        # Without a traceback, and errors that have one, which would refer back to this.
        self._failure = error.with_traceback(None)
        error.__cause__ = error.__context__ = None
        self._link.close()
        if self._call is None:
            self._lose()
        elif self._is_sending:
            self._responded = True
            self._call.interrupt()
        else:
            if self._incoming is not None:
                self._take_end()
            if self._call is not None:
                self._call.wake()

    def _finish(self) -> None:
        """All has come: be there for another call, or hang up."""
        call, self._call, self._incoming = self._call, None, None
        if call is not None:
            self._place.end(call)
            call.wake()
        link = self._link
        if self._answer.reusable and not (link.ended or link.is_closed):
            if not link.is_receiving:
                link.resume()
            self._place.keep(self)
        else:
            self.close()


class UnreadBody:
    """What comes of a body, as ``connection`` receives it for ``call``."""

    def __init__(
        self, connection: AsyncConnection, incoming: _Incoming, call: Call, address: Address
    ) -> None:
        self._connection = connection
        self._incoming = incoming
        self._call = call
        self._address = address

    async def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes: see ``AsyncBody``."""
        incoming = self._incoming
        while not incoming.parts:
            try:
                if incoming.failure is not None:
                    raise copy(incoming.failure)  # its traceback would refer back to this
                if incoming.is_over:
                    return b""
                await self._call.wait()
            except ERRORS as error:
                raise translate(error, self._address, answered=True) from error
            except BaseException:
                # Of a task that was cancelled here, nothing is left that the rest could come by.
                self._call.fail(ClosedHereError)
                raise
        data = incoming.take(size)
        if not incoming.is_over and incoming.size < _MOST_KEPT:
            self._connection.resume()
        return data

    def close(self) -> None:
        """Give the connection up, where there is more to come; what waits for that is ended."""
        if not self._incoming.is_over:
            self._incoming.is_over = True
            self._incoming.parts.clear()
            self._call.fail(ClosedHereError)

    def __del__(self) -> None:
        # Of a task that was cancelled just as it got this: the loop would keep the connection.
        if not self._incoming.is_over:
            self._call.abandon()
