"""Methods of a subsystem that respond with a stream: logs, layers."""

import math
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from moby_plugins.app.client import Stream
from moby_plugins.app.results import mismatch
from moby_plugins.app.subsystem import Proxy, Remote
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import OK, Body, Content, Request, Response

# What a chunk of a stream is.
_BINARY = (bytes, bytearray, memoryview)


class Streamed(Remote):
    """A call whose response is no JSON but a stream, of any size and without a time-out.

    A subclass says in ``read`` and ``write`` what it is a stream of. What is no item of such a
    stream is an error before it is sent: the one before it was the last that is whole.

    Args:
        wire: Its name in paths; the method's, title-cased, unless given.
    """

    def __init__(self, wire: str = "") -> None:
        # An answer that follows what goes on ends when it likes (B11, trap 17).
        super().__init__(wire, timeout=math.inf)

    def check_result(self) -> None:
        """Any iterable will do."""

    def call(self, proxy: Proxy, *arguments: Any) -> Iterator[Any]:
        """The items as they come: sent at the first; giving the iterator up ends the call."""
        message = self.message(*arguments)
        with proxy.client.stream(self.method, message, timeout=proxy.timeout_of(self)) as stream:
            yield from self.read(stream)

    def answer(self, part: object, request: Request) -> Response:
        """The items as the plugin gives them."""
        items = getattr(part, self.name)(*self.read_message(request))
        if not (isinstance(items, Iterable) or hasattr(items, "read")):
            raise WireError(mismatch("a stream", items), self.method)
        return Response(OK, self.write(items))

    def read(self, stream: Stream) -> Iterable[Any]:
        """The items in a stream of bytes: its chunks."""
        return stream

    def write(self, items: Any) -> Content | Body:
        """The stream of bytes for items: bytes, a file or chunks, as they are."""
        if isinstance(items, _BINARY):
            return bytes(items)
        if hasattr(items, "read"):
            return _BinaryFile(items, self.method)
        return self.each(items, _BINARY, "bytes")

    def each(
        self, items: Iterable[Any], kind: type | tuple[type, ...], wanted: str
    ) -> Iterator[Any]:
        """The items one by one, each of ``kind``; ``WireError`` for another, saying which."""
        try:
            for index, item in enumerate(items):
                if not isinstance(item, kind):
                    raise WireError(f"[{index}]: {mismatch(wanted, item)}", self.method)
                yield item
        finally:
            if isinstance(items, Generator):
                items.close()


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
