"""Requests and responses of asynchronous programs, as counterparts of those in ``http.py``.

An asynchronous client sends an ``AsyncRequest`` and reads an ``AsyncResponse``; a served
asynchronous plugin is a coroutine function that takes the request and returns the response.
The rules for methods, the bounds and the texts of errors are those of ``http.py``. No particular
event loop is needed.
"""

import io
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
)
from typing import Any, Protocol, TypeAlias, cast

from attrs import field, frozen

from moby_plugins.domain.errors import StatusError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    ChunkCheck,
    check_method,
    request_too_large,
)
from moby_plugins.domain.json import first_value


class AsyncBody(Protocol):
    """The unread body of an asynchronous response. Only one task may read it at a time."""

    async def read(self, size: int, /) -> bytes:
        """Read a part of the body, and return as soon as any bytes have arrived.

        Args:
            size: The largest number of bytes to return, 1 or more.

        Returns:
            The bytes; ``b""`` at the end of the body.

        Raises:
            TransportTimeoutError: If the time-out expires; ``answered`` is true.
            TransportError: If the connection breaks; ``answered`` is true.
            WireError: If the body is cut off or badly chunked.
        """
        ...

    def close(self) -> None:
        """Release the connection, or close it if the body was not read to its end. Never waits."""
        ...


class ClosingBody(AsyncBody, Protocol):
    """A body whose source is closed asynchronously, for example an asynchronous generator."""

    async def aclose(self) -> None:
        """Close the source, and return when it has ended."""


AsyncContent: TypeAlias = bytes | AsyncIterable[bytes]
"""A body to send: bytes, or an asynchronous iterable whose chunks are sent as they are yielded."""


class AsyncBytes:
    """Bytes as an ``AsyncBody``."""

    def __init__(self, data: bytes) -> None:
        # All bytes, including those that were already read.
        self.whole: bytes = data
        self._read = 0

    async def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, the rest if it is negative; ``b""`` at the end."""
        start = self._read
        self._read = len(self.whole) if size < 0 else start + size
        return self.whole[start : self._read]

    def close(self) -> None:
        """Do nothing: no connection is held."""


class _AsyncChunks:
    """An asynchronous iterable of bytes as an ``AsyncBody``."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._source: AsyncIterator[bytes] = aiter(chunks)
        self._check = ChunkCheck()
        self._rest = memoryview(b"")

    async def read(self, size: int, /) -> bytes:
        while not self._rest:
            try:
                chunk = await anext(self._source)
            except StopAsyncIteration:
                return b""
            self._rest = memoryview(self._check.checked(chunk))
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def close(self) -> None:
        """Do nothing: closing an asynchronous generator waits, so ``aclose`` does it."""

    async def aclose(self) -> None:
        """Close the source if it is an asynchronous generator."""
        if isinstance(self._source, AsyncGenerator):
            await self._source.aclose()


def _as_async_body(content: AsyncContent | AsyncBody) -> AsyncBody:
    if isinstance(content, bytes):
        return AsyncBytes(content)
    if hasattr(content, "read"):
        return cast("AsyncBody", content)
    return _AsyncChunks(content)


# Without slots, like ``AsyncResponse``: a frozen class with slots takes longer to create.
@frozen(slots=False)
class AsyncRequest:
    """A call: ``POST /method`` with a body (protocol.md A4). Read by one task at a time.

    Args:
        method: The method to call, for example ``VolumeDriver.Create``; a leading slash is dropped.
        body: Bytes, or an asynchronous iterable whose chunks are sent as they are yielded: with a
            Content-Length if ``length`` is given, with chunked encoding otherwise.
        headers: The headers.
        length: How many bytes an iterable yields, if known.
        attempt: The number of this attempt, from 1; not sent.
        max_bytes: The largest body, in bytes, that ``read`` reads whole from an iterable.
        hold: Called with the size of each chunk that ``read`` keeps. A server uses it to bound the
            memory of all requests: it may raise ``StatusError``.

    Raises:
        ValueError: If the method is empty, or has white space, control or non-ASCII characters.
        TypeError: If the method is not a string.
    """

    method: str = field(converter=check_method)
    body: AsyncContent = b""
    headers: Mapping[str, str] = field(factory=dict)
    length: int | None = None
    attempt: int = 1
    max_bytes: int | None = field(default=None, eq=False, repr=False)
    hold: Callable[[int], object] | None = field(default=None, eq=False, repr=False)
    # The unread rest of the body, once a part was read.
    _rest: list[AsyncBody] = field(init=False, factory=list, eq=False, repr=False)

    async def read(self, size: int | None = None) -> bytes:
        """Read the whole body, or a part of it. An iterable body is consumed.

        Args:
            size: The largest number of bytes to return; ``None`` or a negative number to read all.
                ``max_bytes`` does not bound a body that is read in parts.

        Returns:
            The bytes; ``b""`` at the end of the body.

        Raises:
            StatusError: With 413, if a whole body exceeds ``max_bytes``. Errors of ``hold`` are
                raised too.
        """
        if size is not None and size < 0:
            size = None
        if isinstance(self.body, bytes) and size is None and not self._rest:
            return self.body
        if not self._rest:
            self._rest.append(_as_async_body(self.body))
        rest = self._rest[0]
        if size is not None:
            return await rest.read(size)
        whole = io.BytesIO()
        received = 0
        while chunk := await rest.read(CHUNK_BYTES):
            received += len(chunk)
            if self.max_bytes is not None and received > self.max_bytes:
                raise self.too_large(self.max_bytes)
            if self.hold is not None:
                self.hold(len(chunk))
            whole.write(chunk)
        return whole.getvalue()

    def too_large(self, limit: float) -> StatusError:
        """Make the error for a body that is too large.

        Args:
            limit: The bound, in bytes.

        Returns:
            A ``StatusError`` with 413.
        """
        return request_too_large(self.method, limit)

    async def json(self) -> Any:
        """Read the body as JSON.

        Returns:
            The first JSON value in the body; ``None`` for an empty body.

        Raises:
            ValueError: If the body is not JSON.
        """
        body = await self.read()
        return first_value(body) if body else None


@frozen(slots=False)
class AsyncResponse:
    """The response to a call: a status, headers and an unread body.

    The client or server that receives the response closes its body. Only one task may read it at a
    time.

    Args:
        status: The HTTP status.
        body: Bytes, an asynchronous iterable of bytes, or an ``AsyncBody``. The attribute is always
            an ``AsyncBody``: bytes become ``AsyncBytes``.
        headers: The headers.
        new_connection: Whether the transport opened a connection for this call; ``None`` if
            unknown.
    """

    status: int
    body: AsyncBody = field(converter=_as_async_body)
    headers: Mapping[str, str] = field(factory=dict)
    new_connection: bool | None = field(default=None, eq=False, repr=False)

    async def aclose(self) -> None:
        """Close the body; return when its source, if it is an async generator, has ended."""
        if isinstance(self.body, AsyncBytes):
            return
        if hasattr(self.body, "aclose"):
            await cast("ClosingBody", self.body).aclose()
        else:
            self.body.close()


# A served asynchronous plugin, as servers call it.
AsyncApp: TypeAlias = Callable[[AsyncRequest], Awaitable[AsyncResponse]]
