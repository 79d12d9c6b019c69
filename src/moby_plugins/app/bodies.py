"""How bodies are read and sent: a response within its bound, an upload as it is read.

A body is read in pieces, and never more of it than is still allowed. ``UploadBase`` is what an
upload decides, whether a thread reads it or a task.
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

# What is read of a file, and sent, at once: twice as much would no longer fit a socket.
STEP_BYTES = 128 << 10
Data: TypeAlias = bytes | BinaryIO | Iterable[bytes]


def read_whole(body: Body, limit: int) -> bytes:
    """All of ``body``, in at most ``limit`` bytes; more is a ``WireError``. Closes nothing."""
    if isinstance(body, io.BytesIO):  # all of it is here
        data = body.read(limit + 1)
        if len(data) > limit:
            raise too_large(limit)
        return data
    whole = Whole(limit)
    while data := body.read(whole.room):
        whole.add(data)
    return whole.value


def accepted(response: Response, method: str) -> Body:
    """The body of an answer with status 200; any other is closed and raised as ``StatusError``.

    Its text is cut after 1 MiB, and where it breaks off, what came of it counts.
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
    """``data``, a file or an iterable, for all attempts of one call.

    ``length`` is the number of bytes where that is known beforehand. ``error``
    is what reading the caller's data raised, if it did. The data stays open. It is a
    ``FileContent``: a regular file need not be read.
    """

    def __init__(self, data: Any) -> None:
        self.error: BaseException | None = None
        self.length: int | None = None
        self._data = data
        self._start: int | None = None
        self._is_regular = False
        # What is left to send of a regular file, until it is read.
        self._part: FilePart | None = None
        self._touched = False
        # A file of an asynchronous library can be iterated over alone.
        self._is_file = hasattr(data, "read") and not isinstance(data, AsyncIterable)
        if self._is_file and cast("BinaryIO", data).seekable():
            file = cast("BinaryIO", data)
            self._start = file.tell()
            self.length = file.seek(0, os.SEEK_END) - self._start
            file.seek(self._start)
            self._is_regular = _is_regular(file)

    def part(self) -> FilePart | None:
        """Return what there is to send of a regular file; ``None`` for all other data."""
        if self._is_regular and self._start is not None and self.length is not None:
            fileno = cast("BinaryIO", self._data).fileno
            self._part = FilePart(fileno, self._start, self.length)
        return self._part

    def rewind(self) -> bool:
        """Make ready for another attempt; false where a part that was read is gone."""
        if self._start is not None:
            self._part = None
            cast("BinaryIO", self._data).seek(self._start)
            return True
        # An iterable that is not its own iterator, a list say, begins anew by itself.
        one_shot = self._is_file or isinstance(self._data, (Iterator, AsyncIterator))
        return not (one_shot and self._touched)

    def account(self, error: TransportError) -> None:
        """Say in ``error`` whether a part of the body was read that is gone, and rewind it."""
        error.body_spent = not error.answered and not self.rewind()

    def end(self) -> None:
        """Leave a file where what was sent of it ends, and refer to no error any more."""
        self.error = None  # its traceback refers to this
        if self._part is not None:
            with suppress(OSError, ValueError):  # it was closed
                cast("BinaryIO", self._data).seek(self._part.offset)

    def _chunks(self) -> Iterator[bytes]:
        if not self._is_file:
            yield from self._data
            return
        file, length = cast("BinaryIO", self._data), self.length
        if self._part is not None:
            file.seek(self._part.offset)  # what was sent without being read has not moved it
            length, self._part = self._part.room, None
        left = Remaining(length, STEP_BYTES)
        while left.room:
            chunk = file.read(left.room)
            left.take(chunk)
            if chunk:
                yield chunk


def _is_regular(file: Any) -> bool:
    """Whether to read ``file`` is to read a regular file of the system, and nothing else.

    So it is of exactly the classes that ``open`` gives: one derived from them, or around them,
    may decompress what it reads, or follow it.
    """
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    return (
        type(raw) is io.FileIO and raw.readable() and stat.S_ISREG(os.fstat(raw.fileno()).st_mode)
    )


class Upload(UploadBase):
    """``data`` as an iterable of chunks."""

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
