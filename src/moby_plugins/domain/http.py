"""One call as it crosses the wire: what is asked, and what comes back.

Both ends speak these two values: a client sends a ``Request`` and reads a
``Response``; a served plugin is a function from the one to the other.
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
# A stream is read in larger steps: each costs as much as copying a part of it.
STREAM_BYTES = 256 << 10
MAX_ERROR_BYTES = 1 << 20
# In a row. An author may yield some to show that a stream goes on; a loop is through in a second.
MAX_EMPTY_CHUNKS = 1_000_000
# Of a request that a plugin reads whole, unless set.
MAX_REQUEST_BYTES = 64 << 20
# Of what all requests of one server keep in memory, unless set.
MAX_INFLIGHT_BYTES = 256 << 20
TOO_LARGE = 413

# How transports say what went wrong, so that all of them say the same.
TIMED_OUT = "timed out"
"""The reason of a ``TransportTimeoutError``."""
CLOSED_HERE = "the connection was closed at this end"
CLOSED_EARLY = "the plugin closed the connection without an answer"
"""The reason of a ``TransportError`` where the plugin hung up before a status line."""
CUT_OFF = "the answer's body is cut off or badly chunked"
"""The reason of a ``WireError`` where a body ends before it is whole, or is badly chunked."""
MALFORMED = "malformed answer"
"""The reason of a ``TransportError`` where what came is no HTTP."""

_BINARY = (bytes, bytearray, memoryview)
_BAD_METHOD = re.compile(r"[^\x21-\x7e]")


class Body(Protocol):
    """What a transport returns as a body: unread, and read by one thread at a time."""

    def read(self, size: int, /) -> bytes:
        """Read a part of the body, as soon as there is any.

        Args:
            size: How many bytes to return at most, 1 or more.

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            TransportTimeoutError: When the time-out runs out; ``answered`` is true.
            TransportError: When the connection breaks; ``answered`` is true.
            WireError: For a body that is cut off or badly chunked.
        """
        ...

    def close(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        ...


Content: TypeAlias = bytes | Iterable[bytes]
"""What a request's body is given as: bytes, or an iterable of bytes that is sent as it comes."""


class FilePart:
    """The part of a regular file that is left to send of a request's body.

    A transport may have the system copy at most ``room`` bytes from ``offset`` on, out of the
    descriptor that ``fileno`` returns, and ``take`` what was sent. For one thread at a time.
    """

    def __init__(self, fileno: Callable[[], int], offset: int, room: int) -> None:
        # Asked for at each step: the number of a file that was closed may be another file's.
        self.fileno = fileno
        self.offset = offset
        self.room = room

    def take(self, size: int) -> None:
        """Count what was sent."""
        self.offset += size
        self.room -= size


@runtime_checkable
class FileContent(Protocol):
    """A request's body that may be a part of a regular file.

    A transport that cannot have the system copy it iterates over it, as over any other body.
    """

    def part(self) -> FilePart | None:
        """Return the part, once for an attempt; ``None`` where the body has to be read."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Yield what was not taken of the part. What reading the file raises comes from here."""
        ...


def parts_of(content: Iterable[bytes]) -> Iterable[bytes | FilePart]:
    """The file that ``content`` is, where it is one, and then what was not taken of it."""
    part = content.part() if isinstance(content, FileContent) else None
    return content if part is None else chain((part,), content)


def check_method(method: str) -> str:
    """A method's name without its leading slash; ``ValueError`` for one that breaks the line."""
    return _checked_method(method)


@lru_cache(maxsize=128)
def _checked_method(method: str) -> str:
    given: object = method  # of a program that nothing has checked
    if not isinstance(given, str):
        raise TypeError(f"a method is a string, not {quoted(given)}")
    method = method.removeprefix("/")
    if not method or _BAD_METHOD.search(method):
        raise ValueError(f"{quoted(method)} is not a method: no white space, controls or non-ASCII")
    return method


# Without slots, as the next: to fill those of a frozen value takes half as long again.
@frozen(slots=False)
class Request:
    """A call: ``POST /method`` with a body (protocol.md A4). Read by one thread at a time.

    Args:
        method: What is called, ``VolumeDriver.Create`` say; a leading slash is dropped.
        body: Bytes, or an iterable of bytes that is sent as it comes: with a Content-Length where
            ``length`` is known, in chunks otherwise.
        headers: The headers.
        length: How many bytes an iterable yields, where that is known.
        attempt: Which attempt this is, from 1; not sent.
        max_bytes: How many bytes ``read`` takes of an iterable at most, when it reads all.
        hold: Called with the size of each part that ``read`` keeps; may raise ``StatusError``: a
            server's bound on what all requests keep in memory.

    Raises:
        ValueError: For a method with white space, controls, or what is no ASCII.
    """

    method: str = field(converter=check_method)
    body: Content = b""
    headers: Mapping[str, str] = field(factory=dict)
    length: int | None = None
    attempt: int = 1
    max_bytes: int | None = field(default=None, eq=False, repr=False)
    hold: Callable[[int], object] | None = field(default=None, eq=False, repr=False)
    # What is left of the body, once a part of it was read.
    _rest: list[Body] = field(init=False, factory=list, eq=False, repr=False)

    def read(self, size: int | None = None) -> bytes:
        """Read the whole body, or a part. Where the body is an iterable, this uses it up.

        Args:
            size: How many bytes to return at most; ``None`` or less than 0, as files have it, for
                all. What is read in parts has no bound.

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            StatusError: With 413, for a whole body over ``max_bytes``; and what ``hold`` raises.
        """
        is_part = size is not None and size >= 0
        if isinstance(self.body, bytes) and not (is_part or self._rest):
            return self.body
        if not self._rest:
            self._rest.append(_as_body(self.body))
        rest = self._rest[0]
        if is_part:
            return rest.read(cast("int", size))
        # Joined from a list, a body in tiny chunks would take many times its size.
        whole = io.BytesIO()
        came = 0
        while chunk := rest.read(CHUNK_BYTES):
            came += len(chunk)
            if self.max_bytes is not None and came > self.max_bytes:
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
            Its first JSON value; ``None`` for an empty body.

        Raises:
            ValueError: Where it is no JSON.
        """
        body = self.read()
        return first_value(body) if body else None


class ChunkCheck:
    """Checks the chunks of one body, one after the other, as they are read."""

    _empty = 0

    def checked(self, chunk: bytes) -> bytes:
        """Return ``chunk`` as it is.

        Raises ``ValueError`` for the last of ``MAX_EMPTY_CHUNKS`` empty ones in a row: an iterator
        that yields nothing else would keep its reader for ever. ``TypeError`` for what is not
        bytes.
        """
        if not isinstance(chunk, _BINARY):
            raise TypeError(f"a body is made of bytes, not of {type(chunk).__name__}")
        self._empty = 0 if chunk else self._empty + 1
        if self._empty == MAX_EMPTY_CHUNKS:
            raise ValueError(f"a body yields no bytes: {self._empty:,} empty chunks in a row")
        return chunk


def checked_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks as they are; raises what ``ChunkCheck`` raises."""
    check = ChunkCheck()
    for chunk in chunks:
        yield check.checked(chunk)


def as_bytes(chunk: Any) -> bytes:
    """Return a part of a body as bytes, whatever units it counts in; ``TypeError`` for none."""
    if not isinstance(chunk, _BINARY):
        raise TypeError(f"a body is made of bytes, not of {type(chunk).__name__}")
    return bytes(chunk)


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
    # A file is iterable too, by lines: what can be read is read.
    if hasattr(content, "read"):
        return cast("Body", content)
    return _Chunks(content)


@frozen(slots=False)
class Response:
    """The response to a call: a status, and a body that is yet to be read.

    The body is closed by whatever holds the response. Read by one thread at a time.

    Args:
        status: The HTTP status.
        body: Bytes, an iterable of bytes, or a ``Body``.
        headers: The headers.
        new_connection: Whether a transport dialled for it; ``None`` where it does not say.
    """

    status: int
    body: Body = field(converter=_as_body)
    headers: Mapping[str, str] = field(factory=dict)
    new_connection: bool | None = field(default=None, eq=False, repr=False)


class NoAnswerError(ConnectionResetError):
    """Raised by an app, or while a response's body is read, where there is no response to give.

    A server then closes the connection, as it is closed when a plugin dies.

    Args:
        why: Why there is none: its text.
    """

    __module__ = _DOOR

    def __init__(self, why: str) -> None:
        super().__init__(errno.ECONNRESET, why)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by ``why`` alone: ``OSError`` would give its number as well."""
        return type(self), (self.strerror,)


def request_too_large(method: str, limit: float) -> StatusError:
    """Return the 413 for a request of ``method`` whose body is over ``limit`` bytes."""
    return StatusError(TOO_LARGE, method, f"the body is larger than {limit} bytes")


# What a served plugin is. Servers and MemoryTransport take one; it may be called by threads.
App: TypeAlias = Callable[[Request], Response]


def status_error(status: int, method: str, body: bytes) -> StatusError:
    """Return the error for an answer other than 200: its ``Err``, or its text (protocol.md A4).

    Where anything follows the JSON value, the whole text is the message.
    """
    message = body.decode(errors="replace").strip()
    try:
        answer = only_value(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        told = fold_keys(answer).get("err")
        if isinstance(told, str) and told:
            message = told
    return StatusError(status, method, message)


def too_large(limit: int) -> WireError:
    """Return the error for a response's body over ``limit`` bytes."""
    return WireError(f"the answer is larger than {limit} bytes")


class Whole:
    """A response's body that is read whole, within ``limit`` bytes.

    Ask for ``room`` bytes at most, and ``add`` what comes, until nothing does.
    """

    def __init__(self, limit: int) -> None:
        # How much to ask for next: up to one byte over the limit, to tell a body that ends there
        # from a longer one.
        self.room: int = min(CHUNK_BYTES, limit + 1)
        self._limit = limit
        self._left = limit + 1
        # A list of pieces would cost many times their size where a plugin sends tiny ones.
        self._data = io.BytesIO()

    def add(self, data: bytes) -> None:
        """Take what came; ``WireError`` once it is more than the limit."""
        self._data.write(data)
        self._left -= len(data)
        if self._left <= 0:
            raise too_large(self._limit)
        self.room = min(CHUNK_BYTES, self._left)

    @property
    def value(self) -> bytes:
        """All that came."""
        return self._data.getvalue()


class ErrorText:
    """The body of a response other than 200, which is cut after ``MAX_ERROR_BYTES``.

    Ask for ``room`` bytes at most, and ``add`` what comes, until nothing does or there is no
    room. Where it breaks off, what came counts.
    """

    def __init__(self) -> None:
        self._text = bytearray()

    @property
    def room(self) -> int:
        """How much to ask for next; 0 once enough has come."""
        return CHUNK_BYTES if len(self._text) < MAX_ERROR_BYTES else 0

    def add(self, data: bytes) -> None:
        """Take what came."""
        self._text += data

    def error(self, status: int, method: str) -> StatusError:
        """Return the error that the response is."""
        return status_error(status, method, bytes(self._text[:MAX_ERROR_BYTES]))


class Remaining:
    """What is still to be sent of a file that is ``length`` bytes long, or ends when it ends.

    Read ``room`` bytes at most, and ``take`` each chunk, until there is no room. At most ``step``
    bytes are read at once.
    """

    def __init__(self, length: int | None, step: int) -> None:
        self._left = length
        self._step = step
        self._ended = False

    @property
    def room(self) -> int:
        """How much to read next; 0 at the end."""
        if self._left is None:
            return 0 if self._ended else self._step
        return min(self._step, self._left)

    def take(self, chunk: bytes) -> None:
        """Count what was read, none for the end; ``ValueError`` where the file became shorter."""
        if chunk:
            self._left = None if self._left is None else self._left - len(chunk)
        elif self._left is None:
            self._ended = True
        else:
            raise ValueError(f"the file became shorter by {self._left} bytes while it was sent")
