"""Requests and responses, and how their bodies are read and sent.

A client sends a ``Request`` and reads a ``Response``; a served plugin is a function that takes
the request and returns the response.
"""

import errno
import io
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from attrs import field, frozen

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain import __version__
from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.json import first_value, fold_keys, only_value
from moby_plugins.domain.text import quoted

_DOOR = AtDoor("moby_plugins.serving", __name__)

OK = 200
CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json"
USER_AGENT = f"moby-plugins/{__version__}"
CHUNK_BYTES = 64 << 10
# Streams are read in larger steps, since each step has a fixed cost.
STREAM_BYTES = 256 << 10
MAX_ERROR_BYTES = 1 << 20
# In a row. A plugin may yield empty chunks to keep a stream alive; an endless loop of them reaches
# this limit in about a second.
MAX_EMPTY_CHUNKS = 1_000_000
# The default bound on a request that a plugin reads whole.
MAX_REQUEST_BYTES = 64 << 20
# The default bound on the memory of all requests of one server.
MAX_INFLIGHT_BYTES = 256 << 20
TOO_LARGE = 413

# Reasons of errors, shared by all transports.
TIMED_OUT = "timed out"
"""The reason of a ``TransportTimeoutError``."""
CLOSED_HERE = "the connection was closed by this process"
CLOSED_EARLY = "the plugin closed the connection without a response"
"""The reason of a ``TransportError`` if the plugin closed the connection before a status line."""
CUT_OFF = "the response's body is cut off or badly chunked"
"""The reason of a ``WireError`` if a body ends before it is complete, or is badly chunked."""
MALFORMED = "malformed response"
"""The reason of a ``TransportError`` if the received bytes are not HTTP."""

# The statuses of responses that every host can read.
STATUSES = range(200, 600)
_BINARY = (bytes, bytearray, memoryview)
_BAD_METHOD = re.compile(r"[^\x21-\x7e]")


class Body(Protocol):
    """The unread body of a response. Only one thread may read it at a time."""

    def read(self, size: int, /) -> bytes:
        """Read a part of the body, and return as soon as any bytes have arrived.

        Args:
            size: The largest number of bytes to return, 1 or more.

        Returns:
            The bytes; ``b""`` at the end of the body.

        Raises:
            TransportTimeoutError: If the time-out expires; ``answered`` is true.
            TransportError: If the connection breaks; ``answered`` is true.
            WireError: If the body is cut off or badly chunked.
        """
        ...

    def close(self) -> None:
        """Release the connection, or close it if the body was not read to its end."""
        ...


Content: TypeAlias = bytes | Iterable[bytes]
"""A request's body: bytes, or an iterable of bytes whose chunks are sent as they are yielded."""


class FilePart:
    """The part of a regular file that is still to be sent as a request's body.

    A transport may send at most ``room`` bytes, starting at ``offset``, with ``os.sendfile`` from
    the descriptor that ``fileno`` returns, and then calls ``take`` with the number of bytes sent.
    Used by one thread at a time.
    """

    def __init__(self, fileno: Callable[[], int], offset: int, room: int) -> None:
        # A function, called at each step: after a close the number may belong to another file.
        self.fileno = fileno
        self.offset: int = offset
        self.room: int = room

    def take(self, size: int) -> None:
        """Advance by ``size`` bytes, which were sent."""
        self.offset += size
        self.room -= size


@runtime_checkable
class FileContent(Protocol):
    """A request's body that may be a part of a regular file.

    A transport that cannot send the file with ``os.sendfile`` iterates over the body instead.
    """

    def part(self) -> FilePart | None:
        """Return the part of the file to send; ``None`` if the body has to be iterated over.

        Transports call this once in each attempt.
        """
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Yield the rest of the body after the bytes that were taken from the part.

        Errors of reading the file are raised here.
        """
        ...


def parts_of(content: Iterable[bytes]) -> Iterable[bytes | FilePart]:
    """Return an iterable of the file part of ``content``, if any, and then of its chunks."""
    part = content.part() if isinstance(content, FileContent) else None
    return content if part is None else chain((part,), content)


def check_method(method: str) -> str:
    """Return ``method`` without its leading slash.

    Raises ``ValueError`` for an empty name or one with white space, control or non-ASCII
    characters, and ``TypeError`` if it is not a string.
    """
    return _checked_method(method)


@lru_cache(maxsize=128)
def _checked_method(method: str) -> str:
    unchecked: object = method  # callers may not be type-checked
    if not isinstance(unchecked, str):
        raise TypeError(f"a method must be a string, not {quoted(unchecked)}")
    method = method.removeprefix("/")
    if not method or _BAD_METHOD.search(method):
        raise ValueError(
            f"{quoted(method)} is not a method: it must be ASCII without spaces or controls"
        )
    return method


# Without slots, like ``Response``: a frozen class with slots takes half as long again to create.
@frozen(slots=False)
class Request:
    """A call: ``POST /method`` with a body (protocol.md A4). Read by one thread at a time.

    Args:
        method: The method to call, for example ``VolumeDriver.Create``; a leading slash is dropped.
        body: Bytes, or an iterable of bytes whose chunks are sent as they are yielded: with a
            Content-Length if ``length`` is given, with chunked encoding otherwise.
        headers: The headers.
        length: How many bytes an iterable yields, if known.
        attempt: The number of this attempt, from 1; not sent.
        max_bytes: The largest body, in bytes, that ``read`` reads whole from an iterable.
        hold: Called with the size of each chunk that ``read`` keeps. A server uses it to bound the
            memory of all requests: it may raise ``StatusError``.

    Raises:
        ValueError: If the method is empty, or has white space, control or non-ASCII characters.
        TypeError: If the method is not a string.
    """

    method: str = field(converter=check_method)
    body: Content = b""
    headers: Mapping[str, str] = field(factory=dict)
    length: int | None = None
    attempt: int = 1
    max_bytes: int | None = field(default=None, eq=False, repr=False)
    hold: Callable[[int], object] | None = field(default=None, eq=False, repr=False)
    # The unread rest of the body, once a part was read.
    _rest: list[Body] = field(init=False, factory=list, eq=False, repr=False)

    def read(self, size: int | None = None) -> bytes:
        """Read the whole body, or a part of it. An iterable body is consumed.

        Args:
            size: The largest number of bytes to return; ``None`` or a negative number to read all.
                ``max_bytes`` does not bound a body that is read in parts.

        Returns:
            The bytes; ``b""`` at the end of the body.

        Raises:
            StatusError: With 413, if a whole body exceeds ``max_bytes``. Errors of ``hold`` are
                raised too.
        """
        if size is not None and size < 0:
            size = None
        if isinstance(self.body, bytes) and size is None and not self._rest:
            return self.body
        if not self._rest:
            self._rest.append(_as_body(self.body))
        rest = self._rest[0]
        if size is not None:
            return rest.read(size)
        # A list of tiny chunks would take many times the size of the body.
        whole = io.BytesIO()
        received = 0
        while chunk := rest.read(CHUNK_BYTES):
            received += len(chunk)
            if self.max_bytes is not None and received > self.max_bytes:
                raise self.too_large(self.max_bytes)
            if self.hold is not None:
                self.hold(len(chunk))
            whole.write(chunk)
        return whole.getvalue()

    def too_large(self, limit: float) -> StatusError:
        """Make the error for a body that is too large.

        Args:
            limit: The bound, in bytes.

        Returns:
            A ``StatusError`` with 413.
        """
        return request_too_large(self.method, limit)

    def json(self) -> Any:
        """Read the body as JSON.

        Returns:
            The first JSON value in the body; ``None`` for an empty body.

        Raises:
            ValueError: If the body is not JSON.
        """
        body = self.read()
        return first_value(body) if body else None


class ChunkCheck:
    """A check of the chunks of one body, in the order in which they are read."""

    _empty = 0

    def checked(self, chunk: bytes) -> bytes:
        """Return ``chunk`` unchanged.

        Raises ``TypeError`` if it is not bytes, and ``ValueError`` for ``MAX_EMPTY_CHUNKS`` empty
        chunks in a row: the reader of an iterator that yields empty chunks without end would never
        return.
        """
        if not isinstance(chunk, _BINARY):
            raise TypeError(f"a body must yield bytes, not {type(chunk).__name__}")
        self._empty = 0 if chunk else self._empty + 1
        if self._empty == MAX_EMPTY_CHUNKS:
            raise ValueError(f"the body yields no bytes: {self._empty:,} empty chunks in a row")
        return chunk


def checked_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks unchanged.

    Raises ``TypeError`` for a chunk that is not bytes, and ``ValueError`` for ``MAX_EMPTY_CHUNKS``
    empty chunks in a row.
    """
    check = ChunkCheck()
    for chunk in chunks:
        yield check.checked(chunk)


def as_bytes(chunk: Any) -> bytes:
    """Return a chunk of any binary type as bytes; raise ``TypeError`` for any other type.

    The items of a ``memoryview`` may have any size.
    """
    if not isinstance(chunk, _BINARY):
        raise TypeError(f"a body must yield bytes, not {type(chunk).__name__}")
    return bytes(chunk)


def bad_status(status: object) -> ValueError:
    """Return the error for a response whose status is not one of ``STATUSES``."""
    return ValueError(f"{quoted(status)} is not a response's status: it must be from 200 to 599")


class _Chunks:
    """An iterable of bytes as a ``Body``."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._source: Iterator[bytes] = iter(chunks)
        self._chunks = checked_chunks(self._source)
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def close(self) -> None:
        if isinstance(self._source, Generator):
            self._source.close()


def _as_body(content: Content | Body) -> Body:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    # A file is iterable too, by lines, so ``read`` takes precedence.
    if hasattr(content, "read"):
        return cast("Body", content)
    return _Chunks(content)


@frozen(slots=False)
class Response:
    """The response to a call: a status, headers and an unread body.

    The client or server that receives the response closes its body. Only one thread may read it at
    a time.

    Args:
        status: The HTTP status.
        body: Bytes, an iterable of bytes, or a ``Body``. The attribute is always a ``Body``: bytes
            become an ``io.BytesIO``.
        headers: The headers.
        new_connection: Whether the transport opened a connection for this call; ``None`` if
            unknown.
    """

    status: int
    body: Body = field(converter=_as_body)
    headers: Mapping[str, str] = field(factory=dict)
    new_connection: bool | None = field(default=None, eq=False, repr=False)


class NoAnswerError(ConnectionResetError):
    """The exception that an app or a response's body raises to send no response, or no more of it.

    The server then closes the connection, as if the plugin had died.

    Args:
        why: The text of the error.
    """

    __module__ = _DOOR

    def __init__(self, why: str) -> None:
        super().__init__(errno.ECONNRESET, why)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle with ``why`` alone: ``OSError`` would add an errno."""
        return type(self), (self.strerror,)


def request_too_large(method: str, limit: float) -> StatusError:
    """Return the error, with status 413, for a request whose body exceeds ``limit`` bytes."""
    return StatusError(TOO_LARGE, method, f"the body is larger than {limit} bytes")


# A served plugin, as servers and MemoryTransport call it, possibly from several threads at once.
App: TypeAlias = Callable[[Request], Response]


def status_error(status: int, method: str, body: bytes) -> StatusError:
    """Return the error for a response with another status than 200 (protocol.md A4).

    The error's message is ``Err`` of the JSON object in ``body``, or the text of ``body`` if there
    is no such ``Err`` or if anything follows the JSON value.
    """
    message = body.decode(errors="replace").strip()
    try:
        value = only_value(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        text = fold_keys(value).get("err")
        if isinstance(text, str) and text:
            message = text
    return StatusError(status, method, message)


def too_large(limit: int) -> WireError:
    """Return the error for a response whose body exceeds ``limit`` bytes."""
    return WireError(f"the response is larger than {limit} bytes")


class Whole:
    """The collected body of a response, of at most ``limit`` bytes.

    The caller reads at most ``room`` bytes and passes them to ``add``, until the body ends.
    """

    def __init__(self, limit: int) -> None:
        # How many bytes to read next: up to one byte over the limit, to tell a body of exactly
        # that size from a longer one.
        self.room: int = min(CHUNK_BYTES, limit + 1)
        self._limit = limit
        self._left = limit + 1
        # A list of tiny chunks would take many times the size of the body.
        self._data = io.BytesIO()

    def add(self, data: bytes) -> None:
        """Append ``data``; raise ``WireError`` if the body exceeds the limit."""
        self._data.write(data)
        self._left -= len(data)
        if self._left <= 0:
            raise too_large(self._limit)
        self.room = min(CHUNK_BYTES, self._left)

    @property
    def size(self) -> int:
        """How many bytes of the body were received so far."""
        return self._limit + 1 - self._left

    @property
    def value(self) -> bytes:
        """The bytes of the body that were received so far."""
        return self._data.getvalue()


class ErrorText:
    """The collected body of a response with another status than 200, cut at ``MAX_ERROR_BYTES``.

    The caller reads at most ``room`` bytes and passes them to ``add``, until the body ends or
    ``room`` is 0. If reading fails, the text is what was received before.
    """

    def __init__(self) -> None:
        self._text = bytearray()

    @property
    def room(self) -> int:
        """How many bytes to read next; 0 once ``MAX_ERROR_BYTES`` were received."""
        return CHUNK_BYTES if len(self._text) < MAX_ERROR_BYTES else 0

    def add(self, data: bytes) -> None:
        """Append ``data``."""
        self._text += data

    def error(self, status: int, method: str) -> StatusError:
        """Return the ``StatusError`` for the response, with its status and the collected text."""
        return status_error(status, method, bytes(self._text[:MAX_ERROR_BYTES]))


class Remaining:
    """A count of the bytes of a file that are still to be sent.

    At first these are ``length`` bytes, or all up to the file's end if that is ``None``. The caller
    reads at most ``room`` bytes and passes each chunk to ``take``, until ``room`` is 0. ``room`` is
    never more than ``step``.
    """

    def __init__(self, length: int | None, step: int) -> None:
        self._left = length
        self._step = step
        self._ended = False

    @property
    def room(self) -> int:
        """How many bytes of the file to read next; 0 if none are left to send."""
        if self._left is None:
            return 0 if self._ended else self._step
        return min(self._step, self._left)

    def take(self, chunk: bytes) -> None:
        """Subtract the bytes of ``chunk``, which was read; an empty one means the end of the file.

        Raises ``ValueError`` if the file ended before ``length`` bytes were read.
        """
        if chunk:
            self._left = None if self._left is None else self._left - len(chunk)
        elif self._left is None:
            self._ended = True
        else:
            raise ValueError(f"the file became shorter by {self._left} bytes while it was sent")
