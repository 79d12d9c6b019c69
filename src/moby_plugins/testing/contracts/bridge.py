"""Use an asynchronous transport as a ``Transport``, with its loop in a thread.

This runs the suites of the synchronous transports, and whole synchronous hosts, on asynchronous
ones. It is only for tests, because each call waits for another thread twice.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Self, TypeVar

from moby_plugins.async_ports import AsyncConnect, AsyncTransport
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.async_http import AsyncBody, AsyncRequest
from moby_plugins.domain.http import Request, Response

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread during a ``with`` block, after which its tasks are cancelled.

    Args:
        factory: Creates the loop: ``asyncio.new_event_loop``, ``uvloop.new_event_loop``.
    """

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._runner = asyncio.Runner(loop_factory=factory)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` in the loop; return its result, or raise its exception unchanged."""
        assert self._loop is not None, "the loop is not running yet"
        # Lists, as a future would copy a TimeoutError, and a KeyboardInterrupt would end the loop.
        outcome: list[T] = []
        raised: list[BaseException] = []

        async def boxed() -> None:
            try:
                outcome.append(await coroutine)
            except BaseException as error:
                raised.append(error)

        asyncio.run_coroutine_threadsafe(boxed(), self._loop).result()
        if raised:
            try:
                raise raised.pop()
            finally:
                del raised  # its traceback refers to this frame
        return outcome.pop()

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with self._runner as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._begun.set()
        await self._stop.wait()


class BridgedConnect:
    """A ``Connect`` that makes ``BridgedTransport`` values of the transports of ``connect``."""

    def __init__(self, connect: AsyncConnect, thread: LoopThread) -> None:
        self._connect = connect
        self._thread = thread

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> "BridgedTransport":
        """Return a transport for ``address``, which is not connected yet."""
        return BridgedTransport(self._connect(address, tls), self._thread)


class BridgedTransport:
    """A ``Transport`` that uses the asynchronous ``transport``, in the loop of ``thread``."""

    def __init__(self, transport: AsyncTransport, thread: LoopThread) -> None:
        self._transport = transport
        self._thread = thread

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send a request, and return the response; raise ``TransportError`` if there is none."""
        body = request.body
        async_request = AsyncRequest(
            request.method,
            body if isinstance(body, bytes) else _each(body),
            request.headers,
            request.length,
            request.attempt,
        )
        response = self._thread.run(self._transport.send(async_request, timeout))
        body_of = _BridgedBody(response.body, self._thread)
        return Response(response.status, body_of, response.headers, response.new_connection)

    def close(self) -> None:
        """Close the transport from this thread, although its loop runs in another thread."""
        self._transport.close()


class _BridgedBody:
    """A ``Body`` that reads an asynchronous body."""

    def __init__(self, body: AsyncBody, thread: LoopThread) -> None:
        self._body = body
        self._thread = thread

    def read(self, size: int, /) -> bytes:
        return self._thread.run(self._body.read(size))

    def close(self) -> None:
        self._thread.run(self._close())

    async def _close(self) -> None:
        self._body.close()


async def _each(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks; an iterator that blocks also blocks the loop of the thread."""
    for chunk in chunks:
        yield chunk
