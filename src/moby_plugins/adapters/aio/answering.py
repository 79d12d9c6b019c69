"""Serve a request with an asynchronous app: for this library's server, and for ASGI.

``domain/outgoing.py`` checks responses, and ``adapters/server/answering.py`` builds those for
errors; here the app and the bodies are awaited. If the server cancels the task, no response is
sent.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from moby_plugins.adapters.server.answering import (
    SMALL_BYTES,
    Held,
    failed,
    log_cut,
    only_post,
    unreadable,
)
from moby_plugins.async_ports import is_cancelled
from moby_plugins.domain.async_http import AsyncApp, AsyncBytes, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.http import CHUNK_BYTES, CUT_OFF, NoAnswerError, Response
from moby_plugins.domain.outgoing import Outgoing
from moby_plugins.domain.text import quoted
from moby_plugins.failures import log_failure

# Seconds after which a response that never waits gives other tasks a turn.
MAX_TURN = 1e-3


class AsyncStartedResponse:
    """A response whose first chunk ``begin`` reads, so that its status is certain before sending.

    The server must close it with ``aclose``, also if the host has hung up.
    """

    def __init__(self, response: AsyncResponse, method: str) -> None:
        self._response = response
        self._method = method
        self._first = b""

    async def begin(self) -> None:
        """Check the head, and read the first chunk of the body.

        An exception of the app passes unchanged. Raises ``ValueError`` for a status, header or
        length that no host could read.
        """
        response = self._response
        if isinstance(response.body, AsyncBytes):
            whole = response.body.whole
            self.head: Outgoing = Outgoing(response.status, response.headers, len(whole))
            if len(whole) <= CHUNK_BYTES:
                self._first = self.head.count(whole)
                return
        else:
            self.head = Outgoing(response.status, response.headers, None)
        self._first = self.head.count(await response.body.read(CHUNK_BYTES))

    @property
    def is_whole(self) -> bool:
        """Whether the app has returned the whole body, so that it reads no more of the request."""
        return isinstance(self._response.body, AsyncBytes)

    @property
    def first(self) -> bytes:
        """The first chunk of the body."""
        return self._first

    async def rest(self) -> AsyncIterator[bytes]:
        """Yield the chunks after the first one; log an exception of the app, and raise it.

        ``SystemExit`` and the like are raised as a ``WireError``. Other tasks, and the loop, run
        every ``MAX_TURN`` seconds, even if neither the body nor the server ever waits: otherwise it
        would not be seen that the host has hung up.
        """
        now = asyncio.get_running_loop().time
        ends = now() + MAX_TURN
        while not self.head.ended:
            try:
                chunk = self.head.count(await self._response.body.read(CHUNK_BYTES))
            except BaseException as error:
                # Already logged by the app if necessary.
                if is_cancelled(error) or isinstance(error, (NoAnswerError, WireError)):
                    raise
                log_cut(self._method, error)
                if isinstance(error, Exception):
                    raise
                # sys.exit() in a plugin must not end the server.
                raise WireError(CUT_OFF) from error
            if chunk:
                yield chunk
            if now() >= ends:
                await asyncio.sleep(0)
                ends = now() + MAX_TURN

    async def aclose(self) -> None:
        """Close the body, and return once its source has been closed."""
        try:
            await self._response.aclose()
        except BaseException as error:  # the response was already sent, or was cut off
            if is_cancelled(error):
                raise
            log_failure(f"closing the response of /{self._method} failed", error)


async def answer(
    app: AsyncApp, verb: str, read: Callable[[], Awaitable[AsyncRequest]]
) -> AsyncStartedResponse:
    """Return the response of ``app`` to the request that ``read`` returns, if ``verb`` is POST.

    Another ``verb`` is answered with 405. Exceptions are answered with the same statuses as by the
    threaded server (``adapters/server/answering.py``), except for a cancellation by the server and
    for ``NoAnswerError``, which pass unchanged.
    """
    if verb != "POST":
        return await _of(only_post())
    try:
        request = await read()
    except (StatusError, ValueError) as error:
        return await _of(unreadable(error))
    method = request.method.partition("?")[0]
    try:
        response: object = await app(request)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            await _absorb_own_cancellation()
        if not isinstance(response, AsyncResponse):
            raise TypeError(f"an application returns an AsyncResponse, not {quoted(response)}")
        begun = AsyncStartedResponse(response, method)
        try:
            await begun.begin()
        except BaseException:
            await begun.aclose()
            raise
    except NoAnswerError:
        raise
    except BaseException as error:
        if is_cancelled(error):
            raise
        return await _of(failed(error, method))
    return begun


async def _absorb_own_cancellation() -> None:
    """Absorb a cancellation of this task by the app, which would interrupt sending the response.

    A cancellation by the server passes.
    """
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError as error:
        if is_cancelled(error):
            raise


async def _of(response: Response) -> AsyncStartedResponse:
    started = AsyncStartedResponse(
        AsyncResponse(response.status, response.body.read(CHUNK_BYTES), response.headers), ""
    )
    await started.begin()
    return started


async def read_request(
    method: str,
    headers: Mapping[str, str],
    length: int | None,
    chunks: Callable[[], AsyncIterator[bytes]],
    held: Held,
) -> AsyncRequest:
    """Return a request whose body is read from ``chunks()``, of ``length`` bytes or to its end.

    Bytes that are kept in memory are added to ``held``. Raises ``ValueError`` for an invalid method
    name, ``WireError`` for a small body that cannot be read, and ``StatusError`` if a small body
    exceeds the memory limit. Reading a large body raises ``WireError`` and ``StatusError`` later.
    """
    if length is None or length > min(SMALL_BYTES, held.max_request_bytes):
        return AsyncRequest(
            method,
            chunks(),
            headers,
            length,
            max_bytes=held.max_request_bytes,
            hold=held.hold,
        )
    if not length:
        return AsyncRequest(method, b"", headers, 0)
    held.hold(length)
    body = b"".join([chunk async for chunk in chunks()])
    return AsyncRequest(method, body, headers, length)
