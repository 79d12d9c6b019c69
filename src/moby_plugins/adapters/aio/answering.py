"""Serve a request with an asynchronous app: for a server of our own, and for ASGI.

``answering.py`` of the threaded end decides what a response may be and what a failure says; here
the app and the bodies are awaited. A task that is cancelled by the server passes: nothing is
answered then.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from moby_plugins.adapters.server.answering import (
    SMALL_BYTES,
    Held,
    Outgoing,
    failed,
    log_cut,
    only_post,
    unreadable,
)
from moby_plugins.async_ports import is_cancelled
from moby_plugins.domain.async_http import AsyncApp, AsyncBytes, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.http import CHUNK_BYTES, CUT_OFF, NoAnswerError, Response
from moby_plugins.domain.text import quoted
from moby_plugins.failures import log_failure


class AsyncAnswer:
    """A response that has begun: its first part is there, so its status can be told.

    Whatever has it closes it with ``aclose``, also where the host has gone.
    """

    def __init__(self, response: AsyncResponse, method: str) -> None:
        self._response = response
        self._method = method
        self._first = b""

    async def begin(self) -> None:
        """Read the first part; raises what the app raises, and ``ValueError`` for no response."""
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
    def first(self) -> bytes:
        """The first part of the body."""
        return self._first

    async def rest(self) -> AsyncIterator[bytes]:
        """The other parts, as they come; what they raise is logged."""
        while not self.head.ended:
            try:
                chunk = self.head.count(await self._response.body.read(CHUNK_BYTES))
            except BaseException as error:
                # An app of ours has logged what there was to log.
                if is_cancelled(error) or isinstance(error, (NoAnswerError, WireError)):
                    raise
                log_cut(self._method, error)
                if isinstance(error, Exception):
                    raise
                # sys.exit() in a plugin is no order to a server.
                raise WireError(CUT_OFF) from error
            if chunk:
                yield chunk

    async def aclose(self) -> None:
        """Close the body, and return when what it is made of has ended."""
        try:
            await self._response.aclose()
        except BaseException as error:  # the response has left already, or was cut off
            if is_cancelled(error):
                raise
            log_failure(f"closing the response of /{self._method} failed", error)


async def answer(
    app: AsyncApp, verb: str, read: Callable[[], Awaitable[AsyncRequest]]
) -> AsyncAnswer:
    """What ``app`` answers to the request that ``read`` gives, if ``verb`` is POST.

    Whatever the app raises is answered, as ``answer`` of the threaded end says, but what ends the
    task: its cancellation by the server, and ``NoAnswerError``.
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
        if not isinstance(response, AsyncResponse):
            raise TypeError(f"an application returns an AsyncResponse, not {quoted(response)}")
        begun = AsyncAnswer(response, method)
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


async def _of(response: Response) -> AsyncAnswer:
    made = AsyncAnswer(
        AsyncResponse(response.status, response.body.read(CHUNK_BYTES), response.headers), ""
    )
    await made.begin()
    return made


async def read_request(
    method: str,
    headers: Mapping[str, str],
    length: int | None,
    chunks: Callable[[], AsyncIterator[bytes]],
    held: Held,
) -> AsyncRequest:
    """The request whose body of ``length`` bytes, or up to its end, comes in ``chunks()``.

    What is kept of it counts as ``held``. Raises ``ValueError`` for a method that is
    none, ``WireError`` for a small body that cannot be read, and ``StatusError`` where
    there is no room for it; a large one raises both later.
    """
    if length is None or length > SMALL_BYTES:
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
