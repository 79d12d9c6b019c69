"""An asynchronous transport in memory, whose plugin is a function or a table of replies.

Replies, faults and recorded calls are those of ``replies.py`` and ``calls.py``. Asynchronous code
of a plugin runs in its own task, as it would in another process: a caller that is cancelled
stops waiting, and cancels that task.
"""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, Self, TypeAlias, TypeVar

from attrs import define, evolve, frozen

from moby_plugins.adapters.disk.recording_file import load_recording
from moby_plugins.adapters.memory.replay import Match, Replay, same_body
from moby_plugins.adapters.memory.replies import (
    Delayed,
    Dripped,
    Fault,
    Replies,
    Reply,
    is_open,
    opened,
    reply_to,
    settled,
)
from moby_plugins.adapters.memory.transport import MemoryExchange, MemoryPlugin
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.async_http import (
    AsyncApp,
    AsyncBody,
    AsyncBytes,
    AsyncRequest,
    AsyncResponse,
)
from moby_plugins.domain.http import OK, Body, NoAnswerError, Request
from moby_plugins.ports import RunningCall

T = TypeVar("T")

# The sources of a test's plugin, asynchronous ones included.
AsyncReplies: TypeAlias = Replies | AsyncApp


class AsyncMemoryTransport(MemoryPlugin):
    """An asynchronous transport that answers calls in memory, in place of a plugin.

    Time-outs and faults use the running event loop's time: on a ``FakeTimeLoop`` they take no
    real time. Tasks and loops may share it. The client closes what ``connect`` returns.

    Args:
        plugin: The same as for ``MemoryTransport``: a ``PluginApp``, a table from method to reply,
            a ``script`` or a fault; or an ``AsyncPluginApp``, or any coroutine function from
            ``AsyncRequest`` to ``AsyncResponse``. A table or a script may also have a coroutine
            function that returns any reply, an asynchronous iterator of bytes, or an
            ``AsyncResponse``.
        addr: The address that errors name.

    Attributes:
        calls: Every attempt, in order: a ``Calls``.

    Raises:
        TypeError: For any other kind of plugin.
        SpecError: For an invalid address.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import new_client
        from moby_plugins.testing import AsyncMemoryTransport, FakeTimeLoop, refused, script

        shelf = AsyncMemoryTransport({"Shelf.List": script(refused(), ["books"])})


        async def main():
            async with new_client("unix:///shelf.sock", connect=shelf.connect) as client:
                assert await client.call("Shelf.List") == ["books"]


        with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
            runner.run(main())
        shelf.calls.assert_called("Shelf.List", times=2)
        ```
    """

    __module__ = AtDoor("moby_plugins.testing", __name__)

    def __init__(self, plugin: AsyncReplies, *, addr: str = "memory://plugin") -> None:
        super().__init__(plugin, addr)  # type: ignore[arg-type]  # handled here
        # The plugin's running tasks, because an event loop keeps no task alive.
        self._tasks: set[asyncio.Future[Any]] = set()

    @classmethod
    def replay(
        cls,
        file: str | os.PathLike[str],
        match: Match = same_body,
        *,
        addr: str = "memory://plugin",
    ) -> Self:
        """Create a plugin that gives the responses of a recording, each recorded call once.

        Args:
            file: The path of the recording.
            match: Takes the recorded and the actual body, and returns whether the recorded
                response may be given: ``same_body``, or ``any_body`` to match by order only.
            addr: The address that errors name.

        Returns:
            The transport.

        Raises:
            RecordingError: If the file cannot be read.
        """
        return cls(Replay(load_recording(file), match), addr=addr)

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        """Return the reply to a request.

        Raises ``TransportError`` for a fault of the connection or after ``close``,
        ``TransportTimeoutError`` if the time-out expires first, ``UnexpectedCallError`` if there is
        no reply, and an exception that is the reply.

        Args:
            request: The call.
            timeout: Seconds on the loop's clock; ``None`` for no limit.

        Returns:
            The response, with its body unread.
        """
        loop = asyncio.get_running_loop()
        # Rounded like the time of a FakeTimeLoop, so that the two compare equal.
        ends = None if timeout is None else round(loop.time() + timeout, 9)
        ended, method = self._ended, request.method
        called = Request(method, b"", request.headers, request.length, request.attempt)
        exchange = _LoopExchange(called, self._address, ends, ended, loop, self._tasks)
        exchange.check(answered=False)
        reply = reply_to(method, self._plugin)
        body = request.body if isinstance(request.body, bytes) else b""
        if isinstance(reply, Fault) and reply.errno:
            self._record(method, body, request.attempt, loop.time())
            exchange.unreachable(reply.errno)
        if not isinstance(request.body, bytes):
            body = await exchange.bounded(request.read(), answered=False)
        self._record(method, body, request.attempt, loop.time())
        received = evolve(exchange, request=evolve(called, body=body))
        call = RunningCall()
        try:
            response = await _respond(reply, received, call)
        except NoAnswerError:
            exchange.hang_up()
        exchange.check(answered=False)
        return evolve(response, body=_BoundedBody(response.body, exchange, call))


async def _respond(reply: Reply, exchange: "_LoopExchange", call: RunningCall) -> AsyncResponse:
    """Return the response of ``reply`` in ``exchange``; raise its error, or the exchange's."""
    while True:
        if isinstance(reply, Delayed):
            await exchange.bounded(asyncio.sleep(reply.seconds), answered=False)
            exchange.check(answered=False)
            reply = reply.then
        elif inspect.isawaitable(reply):
            reply = await exchange.awaited(reply, answered=False)
        elif _is_asynchronous(reply):
            request = exchange.request
            reply = reply(
                AsyncRequest(
                    request.method, request.read(), request.headers, attempt=request.attempt
                )
            )
        elif is_open(reply):
            with exchange.ended.calling(call.hang_up), call:
                reply = opened(reply, exchange)
        else:
            break
    if isinstance(reply, Dripped):
        return AsyncResponse(reply.status, _dripping(reply))
    if isinstance(reply, AsyncIterator):
        return AsyncResponse(OK, reply)
    if isinstance(reply, AsyncResponse):
        # A new reader of a body in memory for each call, so that a value can be used twice.
        whole = reply.body.whole if isinstance(reply.body, AsyncBytes) else None
        return reply if whole is None else evolve(reply, body=whole)
    response = settled(reply)
    return AsyncResponse(response.status, response.body, response.headers)  # type: ignore[arg-type]


def _is_asynchronous(reply: Reply) -> bool:
    return callable(reply) and any(map(inspect.iscoroutinefunction, (reply, type(reply).__call__)))


async def _dripping(reply: Dripped) -> AsyncIterator[bytes]:
    for byte in reply.pieces():
        await asyncio.sleep(reply.every)
        yield byte


@frozen
class _LoopExchange(MemoryExchange):
    """A running call in a task of ``loop``; ``tasks`` are the tasks of the plugin's code."""

    loop: asyncio.AbstractEventLoop
    tasks: set[asyncio.Future[Any]]

    def now(self) -> float:
        return self.loop.time()

    def pause(self, seconds: float, *, answered: bool) -> NoReturn:  # noqa: ARG002
        raise TypeError(
            f"a fault that pauses, here for {seconds:g} s, would block the event loop: "
            "return hangs(seconds, then) or drips(body) from it"
        )

    async def bounded(self, awaitable: Awaitable[T], *, answered: bool) -> T:
        """Await ``awaitable`` in this task; if the exchange ends first, raise its error."""
        try:
            async with asyncio.timeout_at(self.ends) as bound:
                with self.ended.calling(partial(self._end, bound)):
                    return await awaitable
        except TimeoutError:
            if not bound.expired():
                raise
            self.check(answered=answered)
            self.time_out(answered=answered)

    async def awaited(self, awaitable: Awaitable[T], *, answered: bool) -> T:
        """Await code of the plugin in its own task, and return the result.

        Raise the error of the exchange if its time-out or its transport's ``close`` comes first.
        """
        task = asyncio.ensure_future(awaitable)
        if isinstance(task, asyncio.Task):
            task.set_name(f"{self.request.method} at {self.address.text}")
        self.tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            await self.bounded(asyncio.wait({task}), answered=answered)
        except BaseException:
            task.cancel()
            raise
        if task.cancelled():
            self.hang_up()
        return task.result()

    def _end(self, bound: asyncio.Timeout) -> None:
        # Called in any thread. In a closed loop, nothing is waiting.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._expire, bound)

    def _expire(self, bound: asyncio.Timeout) -> None:
        with suppress(RuntimeError):  # it has already ended
            bound.reschedule(self.loop.time())

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it


@define
class _BoundedBody:
    """A body of the plugin, asynchronous or not, under the exchange's time-out."""

    _body: AsyncBody | Body
    _exchange: _LoopExchange
    _call: RunningCall
    _ended: bool = False
    # Whether a read was cancelled: its bytes are lost, so the rest must not be read.
    _broken: bool = False

    async def read(self, size: int, /) -> bytes:
        if self._ended:
            return b""
        if self._broken:
            self._exchange.close(answered=True)
        try:
            with self._exchange.ended.calling(self._call.hang_up), self._call:
                data = self._body.read(size)
            if not isinstance(data, bytes):
                data = await self._exchange.awaited(data, answered=True)
        except NoAnswerError:
            self._exchange.cut_off()
        except asyncio.CancelledError:
            self._broken = True
            raise
        self._exchange.check(answered=True)
        self._ended = not data
        return data

    def close(self) -> None:
        if not self._ended:
            self._call.hang_up()
        with self._call:
            self._body.close()
        # Closing an asynchronous generator of the plugin has to be awaited, in its own task.
        aclose = getattr(self._body, "aclose", None)
        loop, tasks = self._exchange.loop, self._exchange.tasks
        if not self._ended and aclose is not None and not loop.is_closed():
            self._ended = True
            task = loop.create_task(aclose())
            tasks.add(task)
            task.add_done_callback(self._exchange._forget)  # noqa: SLF001  the same module
