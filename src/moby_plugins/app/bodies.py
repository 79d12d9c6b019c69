"""Bodies of requests and responses, as a client reads and sends them.

``read_whole`` and ``accepted`` read that of a response, within a bound; ``Upload`` is that of a
request, sent as it is read.
"""

import io
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeAlias, cast

from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    MAX_ERROR_BYTES,
    OK,
    Body,
    Response,
    checked_chunks,
    status_error,
)

# What is read of a file, and sent, at once: twice as much would no longer fit a socket.
STEP_BYTES = 128 << 10
Data: TypeAlias = bytes | BinaryIO | Iterable[bytes]


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


class Upload:
    """``data`` as an iterable of chunks, for all attempts of one call.

    ``length`` is the number of bytes where that is known beforehand. ``error``
    is what reading the caller's data raised, if it did. The data stays open.
    """

    def __init__(self, data: BinaryIO | Iterable[bytes]) -> None:
        self.error: BaseException | None = None
        self.length: int | None = None
        self._data = data
        self._start: int | None = None
        self._touched = False
        if hasattr(data, "read") and cast("BinaryIO", data).seekable():
            file = cast("BinaryIO", data)
            self._start = file.tell()
            self.length = file.seek(0, os.SEEK_END) - self._start
            file.seek(self._start)

    def __iter__(self) -> Iterator[bytes]:
        self._touched = True
        try:
            for chunk in checked_chunks(self._chunks()):
                yield bytes(chunk)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    def rewind(self) -> bool:
        """Make ready for another attempt; false where a part that was read is gone."""
        if self._start is not None:
            cast("BinaryIO", self._data).seek(self._start)
            return True
        # An iterable that is not its own iterator, a list say, begins anew by itself.
        one_shot = hasattr(self._data, "read") or isinstance(self._data, Iterator)
        return not (one_shot and self._touched)

    def _chunks(self) -> Iterator[bytes]:
        if not hasattr(self._data, "read"):
            yield from self._data
            return
        file, left = cast("BinaryIO", self._data), self.length
        while left is None or left > 0:
            chunk = file.read(STEP_BYTES if left is None else min(STEP_BYTES, left))
            if chunk:
                yield chunk
                left = None if left is None else left - len(chunk)
            elif left is None:
                return
            else:
                raise ValueError(f"the file became shorter by {left} bytes while it was sent")
