"""An asynchronous transport in memory, whose plugin is a function or a table of replies.

Replies, faults and recorded calls are those of ``replies.py`` and ``calls.py``. The plugin's end of
a call is one task (``plugin_task.py``), as in a served plugin: a caller that is cancelled stops
waiting, and cancels that task.
"""

import asyncio
import os
from collections.abc import AsyncIterable
from typing import Self, TypeAlias

from attrs import define, evolve

from moby_plugins.adapters.disk.recording_file import load_recording
from moby_plugins.adapters.memory.plugin_task import LoopExchange, PluginTask
from moby_plugins.adapters.memory.replay import Match, Replay, same_body
from moby_plugins.adapters.memory.replies import Fault, Replies, reply_to
from moby_plugins.adapters.memory.transport import MemoryPlugin
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.async_http import AsyncApp, AsyncBody, AsyncRequest, AsyncResponse
from moby_plugins.domain.http import ChunkCheck, NoAnswerError, Request

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
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def replay(
        cls,
        file: str | os.PathLike[str],
        match: Match = same_body,
        *,
        addr: str = "memory://plugin",
    ) -> Self:
        """Create a transport that gives the responses of a recording, each of them once.

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
        no reply, and the reply itself if it is an exception.

        Args:
            request: The call.
            timeout: Seconds on the loop's clock; ``None`` for no limit.

        Returns:
            The response, with its body unread.
        """
        loop = asyncio.get_running_loop()
        # Rounded like the time of a FakeTimeLoop, so that the two compare equal.
        ends = None if timeout is None else round(loop.time() + timeout, 9)
        called = Request(request.method, b"", request.headers, request.length, request.attempt)
        exchange = LoopExchange(called, self._address, ends, self._ended, loop)
        exchange.check(answered=False)
        reply = reply_to(request.method, self._plugin)
        body = request.body if isinstance(request.body, bytes) else None
        if isinstance(reply, Fault) and reply.errno:
            self._record(request.method, body or b"", request.attempt, loop.time())
            exchange.unreachable(reply.errno)
        if body is not None:
            self._record(request.method, body, request.attempt, loop.time())
        plugin = PluginTask(exchange, reply, body, request.length)
        self._tasks.add(plugin.task)
        plugin.task.add_done_callback(self._tasks.discard)
        try:
            if not isinstance(request.body, bytes):
                await self._upload(request, request.body, exchange, plugin)
            await exchange.bounded(asyncio.wait({plugin.begun}), answered=False)
            exchange.check(answered=False)
            response = plugin.response()
        except BaseException:
            plugin.leave()
            raise
        return evolve(response, body=_UnreadBody(response.body, exchange, plugin))

    async def _upload(
        self,
        request: AsyncRequest,
        chunks: AsyncIterable[bytes],
        exchange: LoopExchange,
        plugin: PluginTask,
    ) -> None:
        """Send the chunks of an iterable to the plugin, until it responds, and record the call."""
        check, sent = ChunkCheck(), bytearray()

        async def send_all() -> None:
            async for chunk in chunks:
                sent.extend(check.checked(chunk))
                await plugin.upload.put(bytes(chunk))
            self._record(request.method, bytes(sent), request.attempt, exchange.now())
            plugin.upload.end()

        await exchange.bounded(send_all(), answered=False, until=plugin.begun)
        if not plugin.upload.is_over:
            self._record(request.method, bytes(sent), request.attempt, exchange.now())


@define
class _UnreadBody:
    """A response's body, which the plugin may still send; reads fail after the deadline."""

    _body: AsyncBody
    _exchange: LoopExchange
    _plugin: PluginTask
    _ended: bool = False
    # Whether a read was cancelled: its bytes may be lost, so the rest must not be read.
    _broken: bool = False

    async def read(self, size: int, /) -> bytes:
        if self._ended:
            return b""
        if self._broken:
            self._exchange.close(answered=True)
        try:
            data = await self._exchange.bounded(self._body.read(size), answered=True)
            self._exchange.check(answered=True)
        except NoAnswerError:
            self._exchange.cut_off()
        except asyncio.CancelledError:
            self._broken = True
            self._plugin.leave()
            raise
        self._ended = not data
        return data or b""

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._plugin.leave()

    def __del__(self) -> None:
        # A task may be cancelled just as it gets the response, which it then never closes.
        if not self._ended:
            self._exchange.soon(self._plugin.leave)
