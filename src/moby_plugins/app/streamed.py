"""A method of a subsystem whose answer is a stream."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from moby_plugins.app.answer import Stream
from moby_plugins.app.remote import Proxy, Remote
from moby_plugins.domain.http import OK, Body, Content, Request, Response


class Streamed(Remote):
    """A call whose answer is no JSON but a stream, of any size and without a time-out.

    A subclass says in ``read`` and ``write`` what it is a stream of.
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
        return Response(OK, self.write(getattr(part, self.name)(*self.read_message(request))))

    def read(self, stream: Stream) -> Iterable[Any]:
        """The items in a stream of bytes: its chunks."""
        return stream

    def write(self, items: Any) -> Content | Body:
        """The stream of bytes for items: bytes, a file or chunks, as they are."""
        content: Content | Body = items
        return content
