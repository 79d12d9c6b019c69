"""How tasks read and send bodies: the decisions of ``app/bodies.py`` and ``domain/http.py``."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import BinaryIO, NoReturn, TypeAlias

from moby_plugins.app.bodies import UploadBase
from moby_plugins.domain.async_http import AsyncBody, AsyncResponse
from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.domain.http import ChunkCheck, ErrorText, Whole

AsyncData: TypeAlias = bytes | BinaryIO | Iterable[bytes] | AsyncIterable[bytes]


async def read_whole(body: AsyncBody, limit: int) -> bytes:
    """All of ``body``, in at most ``limit`` bytes, closed; more is a ``WireError``."""
    try:
        whole = Whole(limit)
        while data := await body.read(whole.room):
            whole.add(data)
        return whole.value
    finally:
        body.close()


async def refuse(response: AsyncResponse, method: str) -> NoReturn:
    """Raise an answer with another status than 200 as ``StatusError``, and close it.

    Its text is cut after 1 MiB, and where it breaks off, what came of it counts.
    """
    text = ErrorText()
    try:
        while text.room and (data := await response.body.read(text.room)):
            text.add(data)
    except (TransportError, WireError) as error:
        raise text.error(response.status, method) from error
    finally:
        response.body.close()
    raise text.error(response.status, method)


class AsyncUpload(UploadBase):
    """``data`` as an asynchronous iterable of chunks.

    A file, and an iterable, are read in the event loop's thread: an asynchronous iterable is how
    to read without blocking it.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._touched = True
        if isinstance(self._data, AsyncIterable):
            return _Chunks(self, aiter(self._data))
        return _Chunks(self, self._chunks())


class _Chunks:
    """The chunks of one attempt. No generator: one that is left half-read would be left open."""

    def __init__(self, upload: AsyncUpload, source: AsyncIterator[bytes] | Iterator[bytes]) -> None:
        self._upload = upload
        self._source = source
        self._check = ChunkCheck()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        source = self._source
        try:
            chunk = await anext(source) if isinstance(source, AsyncIterator) else next(source)
            return bytes(self._check.checked(chunk))
        except (StopAsyncIteration, StopIteration):
            raise StopAsyncIteration from None
        except asyncio.CancelledError:  # of the task, or at the end of a transport's time-out
            raise
        except BaseException as error:
            self._upload.error = error
            raise
