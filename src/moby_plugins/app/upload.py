"""A request's body that is sent as it is read, and whether it can be sent again."""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeAlias, cast

# What is read of a file, and sent, at once: twice as much would no longer fit a socket.
STEP_BYTES = 128 << 10

Data: TypeAlias = bytes | BinaryIO | Iterable[bytes]


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
            for chunk in self._chunks():
                if not isinstance(chunk, (bytes, bytearray, memoryview)):
                    raise TypeError(f"a body is made of bytes, not of {type(chunk).__name__}")
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
