"""An answer's body: read whole within a bound, or bit by bit as it comes."""

import io
from collections.abc import Iterator
from typing import Self

from moby_plugins.domain.errors import PluginError, TransportError, WireError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    MAX_ERROR_BYTES,
    OK,
    STREAM_BYTES,
    Body,
    Response,
    status_error,
)


def read_whole(body: Body, limit: int) -> bytes:
    """All of ``body``, in at most ``limit`` bytes; more is a ``WireError``. Closes nothing."""
    # A list of pieces would cost many times their size where a plugin sends tiny ones.
    whole = io.BytesIO()
    size = 0
    # One byte over the limit is read, to tell a body that ends there from a longer one.
    while data := body.read(min(CHUNK_BYTES, limit + 1 - size)):
        whole.write(data)
        size += len(data)
        if size > limit:
            raise WireError(f"the answer is larger than {limit} bytes")
    return whole.getvalue()


def accepted(response: Response, method: str) -> Body:
    """The body of an answer with status 200; any other is closed and raised as ``StatusError``.

    Its text is cut after 1 MiB, and where it breaks off, what came of it counts.
    """
    if response.status == OK:
        return response.body
    text = bytearray()
    try:
        while len(text) < MAX_ERROR_BYTES and (data := response.body.read(CHUNK_BYTES)):
            text += data
    except (TransportError, WireError) as error:
        raise status_error(response.status, method, bytes(text)) from error
    finally:
        response.body.close()
    raise status_error(response.status, method, bytes(text[:MAX_ERROR_BYTES]))


class Stream:
    """A streamed answer: ``with client.stream(…) as stream``; iterating gives chunks.

    One thread at a time reads it. ``close`` gives the connection back if all was
    read, and gives it up otherwise; leaving the ``with`` block closes.
    """

    def __init__(self, body: Body, method: str, address: str, plugin: str) -> None:
        self._body = body
        self._names = {"method": method, "address": address, "plugin": plugin}

    def read(self, size: int = STREAM_BYTES) -> bytes:
        """At most ``size`` bytes, as soon as there are any; ``b""`` at the end.

        Raises ``TransportError`` with ``answered`` when the connection breaks or
        the time-out runs out, and ``WireError`` for a body that is cut off.
        """
        if size < 1:
            raise ValueError("a stream is read by one byte or more at a time")
        try:
            return self._body.read(size)
        except PluginError as error:
            vars(error).update(self._names)
            raise

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def close(self) -> None:
        """Give the connection back or up; may be called twice."""
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
