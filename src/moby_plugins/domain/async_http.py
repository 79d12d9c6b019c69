"""One call as an asynchronous program sends or serves it: the values of ``http.py``, awaited.

An asynchronous client sends an ``AsyncRequest`` and reads an ``AsyncResponse``; a served
asynchronous plugin is a coroutine function from the one to the other. The rules about methods,
bounds and texts are those of ``http.py``; nothing here knows an event loop.
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
    """What an asynchronous transport returns as a body: unread, and read by one task at a time."""

    async def read(self, size: int, /) -> bytes:
        """Read a part of the body, as soon as there is any.

        Args:
            size: How many bytes to return at most, 1 or more.

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            TransportTimeoutError: When the time-out runs out; ``answered`` is true.
            TransportError: When the connection breaks; ``answered`` is true.
            WireError: For a body that is cut off or badly chunked.
        """
        ...

    def close(self) -> None:
        """Give the connection back, or close it where not all was read. Never waits."""
        ...


class ClosingBody(AsyncBody, Protocol):
    """A body whose source has an end that is waited for: that of a generator say."""

    async def aclose(self) -> None:
        """Close the source, and return when that has ended."""


AsyncContent: TypeAlias = bytes | AsyncIterable[bytes]
"""What a body is given as: bytes, or an asynchronous iterable of bytes that is sent as it comes."""


class AsyncBytes:
    """Bytes as an ``AsyncBody``."""

    def __init__(self, data: bytes) -> None:
        # All of them, whatever was read.
        self.whole: bytes = data
        self._read = 0

    async def read(self, size: int, /) -> bytes:
        """Read a part; ``b""`` at the end."""
        start = self._read
        self._read = len(self.whole) if size < 0 else start + size
        return self.whole[start : self._read]

    def close(self) -> None:
        """There is nothing to give back."""


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
        """Leave the iterable: closing an asynchronous generator waits, so ``aclose`` does it."""

    async def aclose(self) -> None:
        """Close the source, where it is a generator."""
        if isinstance(self._source, AsyncGenerator):
            await self._source.aclose()


def _as_async_body(content: AsyncContent | AsyncBody) -> AsyncBody:
    if isinstance(content, bytes):
        return AsyncBytes(content)
    if hasattr(content, "read"):
        return cast("AsyncBody", content)
    return _AsyncChunks(content)


@frozen
class AsyncRequest:
    """A call: ``POST /method`` with a body (protocol.md A4). Read by one task at a time.

    Args:
        method: What is called, ``VolumeDriver.Create`` say; a leading slash is dropped.
        body: Bytes, or an asynchronous iterable of bytes that is sent as it comes: with a
            Content-Length where ``length`` is known, in chunks otherwise.
        headers: The headers.
        length: How many bytes an iterable yields, where that is known.
        attempt: Which attempt this is, from 1; not sent.
        max_bytes: How many bytes ``read`` takes of an iterable at most, when it reads all.
        hold: Called with the size of each part that ``read`` keeps; may raise ``StatusError``: a
            server's bound on what all requests keep in memory.

    Raises:
        ValueError: For a method with white space, controls, or what is no ASCII.
    """

    method: str = field(converter=check_method)
    body: AsyncContent = b""
    headers: Mapping[str, str] = field(factory=dict)
    length: int | None = None
    attempt: int = 1
    max_bytes: int | None = field(default=None, eq=False, repr=False)
    hold: Callable[[int], object] | None = field(default=None, eq=False, repr=False)
    # What is left of the body, once a part of it was read.
    _rest: list[AsyncBody] = field(init=False, factory=list, eq=False, repr=False)

    async def read(self, size: int | None = None) -> bytes:
        """Read the whole body, or a part. Where the body is an iterable, this uses it up.

        Args:
            size: How many bytes to return at most; ``None`` or less than 0, as files have it, for
                all. What is read in parts has no bound.

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            StatusError: With 413, for a whole body over ``max_bytes``; and what ``hold`` raises.
        """
        is_part = size is not None and size >= 0
        if isinstance(self.body, bytes) and not (is_part or self._rest):
            return self.body
        if not self._rest:
            self._rest.append(_as_async_body(self.body))
        rest = self._rest[0]
        if is_part:
            return await rest.read(cast("int", size))
        whole = io.BytesIO()
        came = 0
        while chunk := await rest.read(CHUNK_BYTES):
            came += len(chunk)
            if self.max_bytes is not None and came > self.max_bytes:
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
            Its first JSON value; ``None`` for an empty body.

        Raises:
            ValueError: Where it is no JSON.
        """
        body = await self.read()
        return first_value(body) if body else None


@frozen
class AsyncResponse:
    """The response to a call: a status, and a body that is yet to be read.

    The body is closed by whatever holds the response. Read by one task at a time.

    Args:
        status: The HTTP status.
        body: Bytes, an asynchronous iterable of bytes, or an ``AsyncBody``.
        headers: The headers.
        new_connection: Whether a transport dialled for it; ``None`` where it does not say.
    """

    status: int
    body: AsyncBody = field(converter=_as_async_body)
    headers: Mapping[str, str] = field(factory=dict)
    new_connection: bool | None = field(default=None, eq=False, repr=False)

    async def aclose(self) -> None:
        """Close the body; return when its source has ended, where that is a generator."""
        if isinstance(self.body, AsyncBytes):
            return
        if hasattr(self.body, "aclose"):
            await cast("ClosingBody", self.body).aclose()
        else:
            self.body.close()


# What a served asynchronous plugin is.
AsyncApp: TypeAlias = Callable[[AsyncRequest], Awaitable[AsyncResponse]]
