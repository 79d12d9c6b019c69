"""Methods that respond with a stream: one definition for both ends, as ``subsystem.py`` has it.

``Streamed`` says how a stream is asked for and given. What it is a stream of, ``reader`` and
``piece`` say: chunks of bytes, unless a subclass makes more of them.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol

from moby_plugins.app.accounting import Follow
from moby_plugins.app.client import Stream
from moby_plugins.app.results import mismatch
from moby_plugins.app.subsystem import Remote, Subsystem
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import OK, STREAM_BYTES, Body, Content, Response

# What a chunk of a stream is.
_BINARY = (bytes, bytearray, memoryview)


class ItemReader(Protocol):
    """Makes items of bytes as they come. ``room`` is how many to ask for at most."""

    @property
    def room(self) -> int:
        """How many bytes to ask for next, at most."""

    def feed(self, data: bytes, /) -> Sequence[Any]:
        """The items that are whole with ``data``; ``WireError`` for what is none."""

    def end(self) -> None:
        """Take the end; ``WireError`` where a part of an item lacks."""


class _ChunkReader:
    """Takes each chunk for an item."""

    room = STREAM_BYTES

    def feed(self, data: bytes, /) -> Sequence[bytes]:
        return (data,)

    def end(self) -> None:
        """Any chunk may be the last."""


class Streamed(Remote):
    """A call whose response is no JSON but a stream, of any size and without a time-out.

    A subclass says in ``reader`` and ``piece`` what it is a stream of. What is no item of such a
    stream is an error before it is sent: the one before it was the last that is whole.

    Args:
        wire: Its name in paths; the method's, title-cased, unless given.
    """

    def __init__(self, wire: str = "") -> None:
        # An answer that follows what goes on ends when it likes (B11, trap 17).
        super().__init__(wire, timeout=math.inf)

    def check_result(self) -> None:
        """Any iterable will do."""

    def plan(self, *arguments: Any) -> Follow:
        """The call whose answer is followed."""
        return Follow(self.method, self.message(*arguments))

    def call(self, proxy: Subsystem, *arguments: Any) -> Iterator[Any]:
        """The items as they come: sent at the first; giving the iterator up ends the call."""
        plan = self.plan(*arguments)
        with proxy.client.stream(
            plan.method, plan.message, timeout=proxy.timeout_of(self)
        ) as stream:
            yield from self.read(stream)

    def respond(self, result: Any) -> Response:
        """The items as the plugin gives them."""
        if not (isinstance(result, Iterable) or hasattr(result, "read")):
            raise WireError(mismatch("a stream", result), self.method)
        return Response(OK, self.write(result))

    def reader(self) -> ItemReader:
        """What makes items of a stream of bytes: its chunks, unless a subclass knows better."""
        return _ChunkReader()

    def read(self, stream: Stream) -> Iterable[Any]:
        """The items in a stream of bytes."""
        reader = self.reader()
        while data := stream.read(reader.room):
            yield from reader.feed(data)
        reader.end()

    def write(self, items: Any) -> Content | Body:
        """The stream of bytes for items: bytes and files as they are, others as ``piece`` says."""
        if isinstance(items, _BINARY):
            return bytes(items)
        if hasattr(items, "read"):
            return _BinaryFile(items, self.method)
        return self.pieces(items)

    def pieces(self, items: Iterable[Any]) -> Iterator[bytes]:
        """The items one by one, as bytes."""
        try:
            for index, item in enumerate(items):
                yield self.piece(index, item)
        finally:
            if isinstance(items, Generator):
                items.close()

    def piece(self, index: int, item: Any) -> bytes:
        """One item of the stream as bytes: ``WireError`` for what is none, with its ``index``."""
        return bytes(self.checked(index, item, _BINARY, "bytes"))

    def checked(self, index: int, item: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
        """Return ``item``, which is of ``kind``; ``WireError`` for another, saying which."""
        if not isinstance(item, kind):
            raise WireError(f"[{index}]: {mismatch(wanted, item)}", self.method)
        return item


class _BinaryFile:
    """A file as a ``Body``: one that was opened as text is an error."""

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
