"""Reading and sending of bodies in tasks, by the rules of ``app/bodies.py``."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import BinaryIO, NoReturn, TypeAlias

from moby_plugins.app.bodies import UploadBase
from moby_plugins.domain.async_http import AsyncBody, AsyncResponse
from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.domain.http import ChunkCheck, ErrorText, Whole

AsyncData: TypeAlias = bytes | BinaryIO | Iterable[bytes] | AsyncIterable[bytes]


async def read_limited(body: AsyncBody, limit: int) -> bytes:
    """Read and close ``body``; return its bytes, or raise ``WireError`` for more than ``limit``."""
    try:
        whole = Whole(limit)
        while data := await body.read(whole.room):
            whole.add(data)
        return whole.value
    finally:
        body.close()


async def refuse(response: AsyncResponse, method: str) -> NoReturn:
    """Close a response with another status than 200, and raise it as ``StatusError``.

    The error's text is at most 1 MiB. If the body is cut off, the error has the part that was
    received.
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
    """An upload of ``data``: an asynchronous iterable of the chunks to send.

    A file or an iterable is read in the event loop's thread, and blocks it; an asynchronous
    iterable does not.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._touched = True
        if isinstance(self._data, AsyncIterable):
            return _Chunks(self, aiter(self._data))
        return _Chunks(self, self._chunks())


class _Chunks:
    """An iterator of one attempt's chunks; not a generator, which could be left unfinished."""

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
        except asyncio.CancelledError:  # by a caller, or by the transport's time-out
            raise
        except BaseException as error:
            self._upload.error = error
            raise
