"""The plugin's end of an asynchronous call in memory: one task, and a pipe in each direction.

As in a served plugin, one task runs the app and its whole response, from the beginning of a
generator to its end. So context variables, task groups and time-outs of the app's own work in it.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from io import BytesIO
from typing import Any, NoReturn, TypeVar

from attrs import evolve, frozen

from moby_plugins.adapters.memory.replies import (
    Delayed,
    Dripped,
    Reply,
    is_open,
    opened,
    settled,
)
from moby_plugins.adapters.memory.transport import MemoryExchange
from moby_plugins.adapters.memory.upload import MOST_UNREAD
from moby_plugins.domain.async_http import AsyncBytes, AsyncRequest, AsyncResponse
from moby_plugins.domain.http import CHUNK_BYTES, CUT_OFF, OK, NoAnswerError
from moby_plugins.domain.typed import is_coroutine_function
from moby_plugins.ports import RunningCall

T = TypeVar("T")


class Pipe:
    """Bytes on their way from one task, which puts them, to another one, which reads them.

    The task that puts them waits while ``most`` bytes are unread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        self._loop = loop
        self._most = most
        self._parts: deque[bytes] = deque()
        self._unread = 0
        self.is_over: bool = False
        self._failure: BaseException | None = None
        # Of the one task that waits: a pipe is not empty and full.
        self._waiter: asyncio.Future[None] | None = None

    async def put(self, data: bytes) -> None:
        """Add ``data``, and wait while too many bytes are unread."""
        if data:
            self._parts.append(data)
            self._unread += len(data)
            self._wake()
        while self._unread >= self._most:
            await self._woken()

    def end(self, failure: BaseException | None = None) -> None:
        """Mark the end: reads raise ``failure``, or return ``b""``, once all bytes are read."""
        self.is_over, self._failure = True, failure
        self._wake()

    async def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes as soon as there are any, ``b""`` at the end."""
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self.is_over:
                return b""
            await self._woken()
        part = self._parts.popleft()
        if len(part) > size:
            self._parts.appendleft(part[size:])
            part = part[:size]
        self._unread -= len(part)
        self._wake()
        return part

    def close(self) -> None:
        """Do nothing: the task that puts bytes is cancelled instead."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes until the end."""
        while part := await self.read(CHUNK_BYTES):
            yield part

    async def _woken(self) -> None:
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


@frozen
class LoopExchange(MemoryExchange):
    """A running call of a plugin in memory, by a task in the event loop ``loop``."""

    loop: asyncio.AbstractEventLoop

    def now(self) -> float:
        """Return the loop's time."""
        return self.loop.time()

    def pause(self, seconds: float, *, answered: bool) -> NoReturn:  # noqa: ARG002
        """Raise ``TypeError``, because a pause would block the event loop."""
        raise TypeError(
            f"a fault that pauses, here for {seconds:g} s, would block the event loop: "
            "return hangs(seconds, then) or drips(body) from the fault"
        )

    async def bounded(
        self,
        awaitable: Awaitable[T],
        *,
        answered: bool,
        until: asyncio.Future[None] | None = None,
    ) -> T | None:
        """Await ``awaitable`` in this task, and return its result.

        If the deadline passes or the transport is closed first, raise the error for that; if
        ``until`` is done first, return ``None``.
        """
        bound = asyncio.timeout_at(self.ends)
        if until is not None:
            until.add_done_callback(lambda _: self._expire(bound))
        try:
            async with bound:
                with self.ended.calling(partial(self.soon, self._expire, bound)):
                    return await awaitable
        except TimeoutError:
            if not bound.expired():
                raise
            self.check(answered=answered)
            if until is None or not until.done():
                self.time_out(answered=answered)
            return None

    def soon(self, call: Callable[..., object], *args: object) -> None:
        """Have the loop call a function, from any thread; do nothing if the loop is closed."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(call, *args)

    def _expire(self, bound: asyncio.Timeout) -> None:
        with suppress(RuntimeError):  # it has already ended
            bound.reschedule(self.loop.time())


class _Call(RunningCall):
    hangs_up_first = True


class PluginTask:
    """A task that makes the response to the call ``exchange`` from ``reply``, and sends its body.

    ``body`` is the request's body; if it is ``None``, the host's task puts the body into
    ``upload``. ``begun`` is done once
    there is a response, or a failure in its place.
    """

    def __init__(
        self, exchange: LoopExchange, reply: Reply, body: bytes | None, length: int | None
    ) -> None:
        loop = exchange.loop
        self.upload: Pipe = Pipe(loop, MOST_UNREAD)
        self.begun: asyncio.Future[None] = loop.create_future()
        self.call: RunningCall = _Call()
        self._exchange = exchange
        self._body = body
        self._length = length
        self._sent = Pipe(loop, 1)
        self._response: AsyncResponse | None = None
        self._failure: BaseException | None = None
        self._is_app = self._is_left = False
        name = f"{exchange.request.method} at {exchange.address.text}"
        self.task: asyncio.Task[None] = loop.create_task(self._run(reply), name=name)
        self.task.add_done_callback(_take_failure)

    def response(self) -> AsyncResponse:
        """Return the response, once ``begun`` is done; raise what the plugin raised instead."""
        if self._response is not None:
            return self._response
        if self._failure is None or isinstance(self._failure, NoAnswerError):
            self._exchange.hang_up()
        raise self._failure

    def leave(self) -> None:
        """Cancel the task, because the host has hung up; later calls do nothing."""
        if not self._is_left:
            self._is_left = True
            self.call.hang_up()
            if not self._exchange.loop.is_closed():
                self.task.cancel()

    async def _run(self, reply: Reply) -> None:
        exchange = self._exchange
        with ExitStack() as stack:
            stack.enter_context(exchange.ended.calling(partial(exchange.soon, self.leave)))
            if exchange.ends is not None:
                stack.callback(exchange.loop.call_at(exchange.ends, self.leave).cancel)
            stack.enter_context(self.call)
            try:
                response = await self._respond(reply)
                try:
                    await self._send(response)
                finally:
                    await response.aclose()
            except asyncio.CancelledError:
                self._fail(NoAnswerError(CUT_OFF))
                raise
            except BaseException as error:  # raised in the host's task
                self._fail(error)

    def _begin(self, response: AsyncResponse) -> None:
        if not self.begun.done():
            self._response = response
            self.begun.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._is_left:
            return  # its host has an error of its own
        if self.begun.done():
            self._sent.end(error)
        else:
            self._failure = error
            self.begun.set_result(None)

    async def _send(self, response: AsyncResponse) -> None:
        """Put the body into the pipe that the host reads, unless it is in memory."""
        body = response.body
        if isinstance(body, AsyncBytes):
            self._begin(response)
            return
        sending = evolve(response, body=self._sent)
        if not self._is_app:
            self._begin(sending)
        # A server begins the response of an app once it has the first bytes of the body.
        while part := await _result(body.read(CHUNK_BYTES)):
            self._begin(sending)
            await self._sent.put(part)
        self._begin(sending)
        self._sent.end()

    async def _received(self) -> bytes:
        if self._body is None:
            self._body = b"".join([chunk async for chunk in self.upload.chunks()])
        return self._body

    async def _respond(self, reply: Reply) -> AsyncResponse:
        while True:
            if isinstance(reply, Delayed):
                await self._received()
                await asyncio.sleep(reply.seconds)
                reply = reply.then
            elif inspect.isawaitable(reply):
                reply = await reply
            elif is_coroutine_function(reply):
                self._is_app = True
                reply = reply(self._request())
            elif is_open(reply):
                request = evolve(self._exchange.request, body=await self._received())
                reply = opened(reply, evolve(self._exchange, request=request))
            else:
                break
        if not self._is_app:  # an app reads as much of the request as it likes
            await self._received()
        if isinstance(reply, Dripped):
            return AsyncResponse(reply.status, _dripping(reply))
        if isinstance(reply, AsyncIterator):
            return AsyncResponse(OK, reply)
        if isinstance(reply, AsyncResponse):
            # A new reader of a body in memory for each call, so that a value can be used twice.
            whole = reply.body.whole if isinstance(reply.body, AsyncBytes) else None
            return reply if whole is None else evolve(reply, body=whole)
        response = settled(reply)
        body: Any = response.body  # which may be read without waiting
        body = body.getvalue() if isinstance(body, BytesIO) else body
        return AsyncResponse(response.status, body, response.headers)

    def _request(self) -> AsyncRequest:
        request = self._exchange.request
        body = self.upload.chunks() if self._body is None else self._body
        return AsyncRequest(
            request.method, body, request.headers, self._length, attempt=request.attempt
        )


async def _result(value: bytes | Awaitable[bytes]) -> bytes:
    return value if isinstance(value, bytes) else await value


async def _dripping(reply: Dripped) -> AsyncIterator[bytes]:
    for byte in reply.pieces():
        await asyncio.sleep(reply.every)
        yield byte


def _take_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # taken, so that asyncio does not log it: no host gets it
