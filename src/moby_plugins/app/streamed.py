"""Definitions of methods that respond with a stream, for both ends of the protocol.

``Streamed`` defines how a host requests a stream and how a plugin sends it. Its methods ``reader``
and ``piece`` define the items of the stream: chunks of bytes, unless a subclass overrides them.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol

from moby_plugins.app.accounting import Follow
from moby_plugins.app.client import Stream
from moby_plugins.app.results import mismatch
from moby_plugins.app.subsystem import RemoteMethod, Subsystem
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import OK, STREAM_BYTES, Body, Content, Response

# The types that a chunk of bytes may have.
_BINARY = (bytes, bytearray, memoryview)


class ItemReader(Protocol):
    """A parser that makes items from the bytes of a stream, while they are received."""

    @property
    def room(self) -> int:
        """The most bytes of the stream to read and pass to ``feed`` next."""

    def feed(self, data: bytes, /) -> Sequence[Any]:
        """Return the items that ``data`` completes; raise ``WireError`` for an invalid item."""

    def end(self) -> None:
        """Accept the end of the stream; raise ``WireError`` if an item is incomplete."""


class _ChunkReader:
    """An ``ItemReader`` for streams of bytes, for which each chunk is an item."""

    room = STREAM_BYTES

    def feed(self, data: bytes, /) -> Sequence[bytes]:
        return (data,)

    def end(self) -> None:
        """Accept the end of the stream, as any chunk may be the last."""


class Streamed(RemoteMethod):
    """A method whose response is a stream instead of JSON, of any size and without a time-out.

    A subclass defines the stream's items in ``reader`` and ``piece``. Each item is checked before
    it is sent, so that a host receives only whole, valid items.

    Args:
        wire: The method's name in paths; by default its Python name, title-cased.
    """

    def __init__(self, wire: str = "") -> None:
        # A stream that reports ongoing events may last for any time (trap 17 in docs/protocol.md).
        super().__init__(wire, timeout=math.inf)

    def check_result(self) -> None:
        """Accept any result type, because any iterable is a stream."""

    def plan(self, *arguments: Any) -> Follow:
        """Return the call to make with these arguments."""
        return Follow(self.method, self.message(*arguments))

    def call(self, proxy: Subsystem, *arguments: Any) -> Iterator[Any]:
        """Yield the items while they are received.

        The request is sent when the first item is requested. Closing the iterator ends the call.
        """
        plan = self.plan(*arguments)
        with proxy.client.stream(
            plan.method, plan.message, timeout=proxy.timeout_of(self)
        ) as stream:
            yield from self.read(stream)

    def respond(self, result: Any) -> Response:
        """Return a response that streams the items in ``result``.

        Raises ``WireError`` if ``result`` is neither iterable nor a file.
        """
        if not (isinstance(result, Iterable) or hasattr(result, "read")):
            raise WireError(mismatch("a stream", result), self.method)
        return Response(OK, self.write(result))

    def reader(self) -> ItemReader:
        """Return a parser of items; by default each chunk of bytes is an item."""
        return _ChunkReader()

    def read(self, stream: Stream) -> Iterable[Any]:
        """Yield the items in a stream of bytes."""
        reader = self.reader()
        while data := stream.read(reader.room):
            yield from reader.feed(data)
        reader.end()

    def write(self, items: Any) -> Content | Body:
        """Return a body of ``items``: bytes, a file, or an iterable that ``piece`` encodes."""
        if isinstance(items, _BINARY):
            return bytes(items)
        if hasattr(items, "read"):
            return _BinaryFile(items, self.method)
        return self.pieces(items)

    def pieces(self, items: Iterable[Any]) -> Iterator[bytes]:
        """Yield the bytes of each item."""
        try:
            for index, item in enumerate(items):
                yield self.piece(index, item)
        finally:
            if isinstance(items, Generator):
                items.close()

    def piece(self, index: int, item: Any) -> bytes:
        """Return the bytes of one item; raise ``WireError``, naming ``index``, if it is invalid."""
        return bytes(self.checked(index, item, _BINARY, "bytes"))

    def checked(self, index: int, item: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
        """Return ``item`` if its type is ``kind``; else raise ``WireError``, naming ``index``."""
        if not isinstance(item, kind):
            raise WireError(f"[{index}]: {mismatch(wanted, item)}", self.method)
        return item


class _BinaryFile:
    """A file as a ``Body``; reading raises ``WireError`` if the file was opened as text."""

    def __init__(self, file: Body, method: str) -> None:
        self._file = file
        self._method = method

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        if not isinstance(data, bytes):
            raise WireError(mismatch("a file of bytes", data), self._method)
        return data

    def close(self) -> None:
        self._file.close()
