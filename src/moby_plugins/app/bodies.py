"""Reading of a response's body within its limit, and sending of an upload.

A body is read in chunks, and at most one byte beyond the limit. ``UploadBase`` has what synchronous
and asynchronous uploads have in common.
"""

import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, TypeAlias, cast

from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.domain.http import (
    OK,
    Body,
    ErrorText,
    FilePart,
    Remaining,
    Response,
    Whole,
    checked_chunks,
    too_large,
)

# The most bytes of a file to read and send at once: twice as many would not fit a socket's buffer.
STEP_BYTES = 128 << 10
Data: TypeAlias = bytes | BinaryIO | Iterable[bytes]


def read_limited(body: Body, limit: int, whole: Whole | None = None) -> bytes:
    """Return the bytes of ``body``; raise ``WireError`` if there are more than ``limit``.

    The body is not closed. Its bytes are added to ``whole``, if that is given, as they are
    received: so a caller has them after an error, too. A body that is complete in memory (a
    ``BytesIO``) is not added.
    """
    if isinstance(body, io.BytesIO):  # the body is complete in memory
        data = body.read(limit + 1)
        if len(data) > limit:
            raise too_large(limit)
        return data
    if whole is None:
        whole = Whole(limit)
    while data := body.read(whole.room):
        whole.add(data)
    return whole.value


def raise_for_status(response: Response, method: str) -> Body:
    """Return the body of a response with status 200; for another status, raise ``StatusError``.

    The error's text is the body, at most 1 MiB of it, and the body is closed. If the body is cut
    off, the error has the part that was received.
    """
    if response.status == OK:
        return response.body
    text = ErrorText()
    try:
        while text.room and (data := response.body.read(text.room)):
            text.add(data)
    except (TransportError, WireError) as error:
        raise text.error(response.status, method) from error
    finally:
        response.body.close()
    raise text.error(response.status, method)


class UploadBase:
    """The data of an upload, a file or an iterable, for all attempts of one call.

    ``length`` is the number of bytes, if it is known beforehand. ``error`` is the exception that
    reading the caller's data raised, or ``None``. The data is not closed. The class has the
    methods of ``FileContent``, with which a transport lets the operating system send a regular
    file.
    """

    def __init__(self, data: Any) -> None:
        self.error: BaseException | None = None
        self.length: int | None = None
        self._data = data
        self._start: int | None = None
        self._is_regular = False
        # The part of a regular file that is still to be sent without being read.
        self._part: FilePart | None = None
        self._touched = False
        # A file of an asynchronous library can only be iterated over, not read like a file.
        self._is_file = hasattr(data, "read") and not isinstance(data, AsyncIterable)
        if self._is_file and cast("BinaryIO", data).seekable():
            file = cast("BinaryIO", data)
            self._start = file.tell()
            self.length = max(file.seek(0, os.SEEK_END) - self._start, 0)
            file.seek(self._start)
            self._is_regular = _is_regular(file)

    def part(self) -> FilePart | None:
        """Return the part of a regular file that is to be sent; ``None`` for all other data."""
        if self._is_regular and self._start is not None and self.length is not None:
            fileno = cast("BinaryIO", self._data).fileno
            self._part = FilePart(fileno, self._start, self.length)
        return self._part

    def rewind(self) -> bool:
        """Prepare another attempt; return false if data that was read cannot be read again."""
        if self._start is not None:
            self._part = None
            cast("BinaryIO", self._data).seek(self._start)
            return True
        # An iterable that is not its own iterator, for example a list, can be read again.
        one_shot = self._is_file or isinstance(self._data, (Iterator, AsyncIterator))
        return not (one_shot and self._touched)

    def account(self, error: TransportError) -> None:
        """Rewind the data; set ``error.body_spent`` if data that was read cannot be read again.

        If ``error.answered`` is true, do neither: the call is not retried.
        """
        error.body_spent = not error.answered and not self.rewind()

    def end(self) -> None:
        """Set a regular file's position to the end of the sent bytes; set ``error`` to ``None``."""
        self.error = None  # its traceback refers to this object: break the cycle
        if self._part is not None:
            with suppress(OSError, ValueError):  # the file was closed
                cast("BinaryIO", self._data).seek(self._part.offset)

    def _chunks(self) -> Iterator[bytes]:
        if not self._is_file:
            yield from self._data
            return
        file, length = cast("BinaryIO", self._data), self.length
        if self._part is not None:
            file.seek(self._part.offset)  # sending without reading did not move its position
            length, self._part = self._part.room, None
        left = Remaining(length, STEP_BYTES)
        while left.room:
            chunk = file.read(left.room)
            left.take(chunk)
            if chunk:
                yield chunk


def is_callers(error: BaseException, body: object) -> bool:
    """Return whether ``error`` was raised by reading the caller's data, and not by this call.

    The data may come from another plugin, so the error may be one of this library.
    """
    return isinstance(body, UploadBase) and body.error is error


def _is_regular(file: Any) -> bool:
    """Return whether reading ``file`` reads exactly the bytes of a regular file.

    ``file`` must be of one of the classes that ``open`` returns: a derived or wrapping class may
    decompress the data, or observe how it is read.
    """
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    return (
        type(raw) is io.FileIO and raw.readable() and stat.S_ISREG(os.fstat(raw.fileno()).st_mode)
    )


class Upload(UploadBase):
    """An upload of ``data``: iterate over it to get the chunks to send in one attempt."""

    error: BaseException | None

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
