"""The LogDriver subsystem, and the encoding of log entries as frames (protocol.md B6).

A frame is a length and a protobuf message. Frames are the format of the FIFO that an engine writes,
and of the response to ReadLogs. The three small proto3 messages are encoded and decoded here,
without a protobuf library.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from attrs import evolve, field, frozen

from moby_plugins.app.results import mismatch
from moby_plugins.app.streamed import Streamed
from moby_plugins.app.subsystem import Subsystem, remote, timed, wire_name
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.formats import timestamp
from moby_plugins.domain.json_decoding import string_without_halves
from moby_plugins.domain.text import quoted, shown

MAX_FRAME_BYTES = 16 << 20

# The protobuf wire types of the fields of an entry.
_VARINT, _BYTES = 0, 2
# The sizes of the other wire types: such fields are unknown, and skipped.
_FIXED = {1: 8, 5: 4}
# The field numbers of the messages that an entry contains.
_PIECE, _ATTRS = 5, 6
_LENGTH = struct.Struct(">I")
_Value: TypeAlias = int | bytes
T = TypeVar("T")
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1

# The text of a time that is not set.
NO_TIME = "0001-01-01T00:00:00Z"
# The value of ``ReadConfig.tail`` for all lines.
ALL_LINES = -1
SOURCES = ("stdout", "stderr")


@frozen
class PartialLog:
    """The position of one piece of a log line that is longer than 16 KiB.

    All pieces of a line have the same ``id``. ``ordinal`` is the piece's number, from 1; ``last``
    is true for the last piece.
    """

    last: bool = False
    id: str = ""
    ordinal: int = 0


@frozen
class LogEntry:
    """A log line, or a piece of one.

    ``source`` is "stdout" or "stderr", ``time_nano`` the time in nanoseconds since 1970. In the
    FIFO a ``line`` has no newline at its end. In the response to ReadLogs it must have one, or the
    engine would join the lines (trap 16 in docs/protocol.md); ``read_logs`` adds a missing newline.
    """

    source: str = ""
    time_nano: int = 0
    line: bytes = b""
    partial: bool = False
    partial_log_metadata: PartialLog | None = None
    attrs: Mapping[str, str] = field(factory=dict)


# The types of the fields, checked because a value of another type would be encoded wrongly.
_ENTRY_TYPES: tuple[tuple[str, Any], ...] = (
    ("source", str),
    ("time_nano", int),
    ("line", bytes),
    ("partial", bool),
    ("partial_log_metadata", PartialLog | None),
    ("attrs", Mapping),
)
_PIECE_TYPES: tuple[tuple[str, Any], ...] = (("last", bool), ("id", str), ("ordinal", int))


def encode_frame(entry: LogEntry) -> bytes:
    """Return an entry as a frame.

    Raise ``TypeError`` if a field is not of its declared type, and ``ValueError`` if a number or
    the line is too large for a frame.
    """
    _check_entry(entry)
    return _frame(entry)


def _frame(entry: LogEntry) -> bytes:
    piece = entry.partial_log_metadata
    message = _message((1, _utf8(entry.source)), (2, entry.time_nano), (3, entry.line))
    message += _message((4, int(entry.partial)))
    if piece is not None:
        inner = _message((1, int(piece.last)), (2, _utf8(piece.id)), (3, piece.ordinal))
        message += _tagged(_PIECE, inner)
    for key, value in entry.attrs.items():
        message += _tagged(_ATTRS, _message((1, _utf8(key)), (2, _utf8(value))))
    if len(message) > MAX_FRAME_BYTES:
        raise ValueError(f"a log frame of {len(message)} bytes; the limit is {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(message)) + message


def _check_entry(entry: LogEntry) -> None:
    _check_fields(entry, _ENTRY_TYPES)
    if entry.partial_log_metadata is not None:
        _check_fields(entry.partial_log_metadata, _PIECE_TYPES)
    for text in (*entry.attrs, *entry.attrs.values()):
        if not isinstance(text, str):
            raise TypeError(f"a log entry's attrs: {mismatch('a string', text)}")


def _check_fields(value: object, types: Iterable[tuple[str, Any]]) -> None:
    for name, kind in types:
        item = getattr(value, name)
        if not isinstance(item, kind) or (kind is int and isinstance(item, bool)):
            raise TypeError(
                f"a log entry's {name}: {mismatch(getattr(kind, '__name__', str(kind)), item)}"
            )
        if kind is int and not _SMALLEST <= item <= _LARGEST:
            raise ValueError(f"a log entry's {name} is a number of more than 64 bits")


class FrameReader:
    """A parser of frames that is fed bytes in chunks of any size.

    ``room`` is the number of bytes that are missing until the next entry, or its length, is
    complete. Reading more at once could wait for a frame that is not written yet.
    """

    def __init__(self) -> None:
        self.room: int = _LENGTH.size
        self._data = bytearray()
        # The size of the next message, once it is known.
        self._size: int | None = None
        # Why no further frame can be read, or "".
        self._failure = ""

    def feed(self, data: bytes) -> list[LogEntry]:
        """Return the entries that ``data`` completes.

        Raise ``WireError`` if a frame is too large or not an entry. If valid entries precede that
        frame, return them, and raise in the next call.
        """
        self._data += data
        entries: list[LogEntry] = []
        try:
            self._check()
            while (message := self._next()) is not None:
                entries.append(decode_entry(message))
        except WireError as error:
            self._failure = error.reason
            if not entries:
                raise
        return entries

    def end(self) -> None:
        """Accept the end of the data; raise ``WireError`` if the last frame is incomplete."""
        self._check()
        if self._data or self._size is not None:
            raise WireError("a truncated log frame")

    def _check(self) -> None:
        if self._failure:
            raise WireError(self._failure)

    def _next(self) -> bytes | None:
        # Return the next message, or None if it is not complete yet.
        if self._size is None and len(self._data) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._data)
            if size > MAX_FRAME_BYTES:
                raise WireError(f"a log frame of {size} bytes; the limit is {MAX_FRAME_BYTES}")
            del self._data[: _LENGTH.size]
            self._size = size
        whole = _LENGTH.size if self._size is None else self._size
        if self._size is None or len(self._data) < whole:
            self.room = whole - len(self._data)
            return None
        with memoryview(self._data) as data, data[:whole] as part:
            message = bytes(part)
        del self._data[:whole]
        self._size, self.room = None, _LENGTH.size
        return message


def decode_frames(read: Callable[[int], bytes]) -> Iterator[LogEntry]:
    """Yield the entries in a stream of frames.

    ``read(n)`` returns the next bytes of the stream, at most ``n``, and ``b""`` at its end. Raise
    ``WireError`` if a frame is cut off, too large, or not an entry.
    """
    frames = FrameReader()
    while data := read(frames.room):
        yield from frames.feed(data)
    frames.end()


def decode_entry(message: bytes) -> LogEntry:
    """Return the entry in a frame's message; raise ``WireError`` if the message is not an entry."""
    fields: dict[int, _Value] = {}
    attributes = {}
    try:
        for number, value in _fields(message):
            if number == _ATTRS:
                pair = dict(_fields(_of(bytes, value)))
                attributes[_text(pair.get(1, b""))] = _text(pair.get(2, b""))
            else:
                fields[number] = value
        return LogEntry(
            source=_text(fields.get(1, b"")),
            time_nano=_signed(_of(int, fields.get(2, 0))),
            line=_of(bytes, fields.get(3, b"")),
            partial=bool(_of(int, fields.get(4, 0))),
            partial_log_metadata=_piece(_of(bytes, fields[_PIECE])) if _PIECE in fields else None,
            attrs=attributes,
        )
    except ValueError as error:
        raise WireError(f"not a log entry: {shown(error)}") from error


def _piece(message: bytes) -> PartialLog:
    fields = dict(_fields(message))
    return PartialLog(
        bool(_of(int, fields.get(1, 0))),
        _text(fields.get(2, b"")),
        _signed(_of(int, fields.get(3, 0))),
    )


def _utf8(text: str) -> bytes:
    # Half of a surrogate pair becomes U+FFFD, as in JSON that is sent.
    try:
        return text.encode()
    except UnicodeEncodeError:
        return string_without_halves(text).encode()


def _message(*fields: tuple[int, _Value]) -> bytes:
    # proto3 omits fields that are zero or empty.
    return b"".join(_tagged(number, value) for number, value in fields if value)


def _tagged(number: int, value: _Value) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:  # noqa: PLR2004  seven bits at a time
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _fields(message: bytes) -> Iterator[tuple[int, _Value]]:
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        if tag & 7 == _VARINT:
            value, position = _read_varint(message, position)
            yield tag >> 3, value
            continue
        size = _FIXED.get(tag & 7)
        if tag & 7 == _BYTES:
            size, position = _read_varint(message, position)
        if size is None or position + size > len(message):
            raise ValueError("a field is cut off or of an unknown wire type")
        if tag & 7 == _BYTES:
            yield tag >> 3, message[position : position + size]
        position += size


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position == len(message):
            raise ValueError("a truncated number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  the last group
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise ValueError("a number of more than 10 bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(value: _Value) -> str:
    return _of(bytes, value).decode(errors="replace")


def _of(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError("a field of a log entry has the wrong protobuf wire type")  # noqa: TRY004
    return value


@frozen
class LogInfo:
    """The container whose output is logged. ``container_name`` has a leading slash.

    ``container_created`` is a ``datetime`` or an RFC 3339 text, and kept as text.
    """

    config: Mapping[str, str] = field(factory=dict)
    container_id: str = field(default="", metadata=wire_name("ContainerID"))
    container_name: str = ""
    container_entrypoint: str = ""
    container_args: tuple[str, ...] = ()
    container_image_id: str = field(default="", metadata=wire_name("ContainerImageID"))
    container_image_name: str = ""
    container_created: str = field(default=NO_TIME, converter=timestamp, metadata=timed())
    container_env: tuple[str, ...] = ()
    container_labels: Mapping[str, str] = field(factory=dict)
    log_path: str = ""
    daemon_name: str = "docker"


@frozen
class ReadConfig:
    """The lines to read: ``tail`` is the number of last lines, or -1 for all.

    ``since`` and ``until`` are a ``datetime`` or an RFC 3339 text, and kept as text. With
    ``follow``, later lines are read too.
    """

    since: str = field(default=NO_TIME, converter=timestamp, metadata=timed())
    until: str = field(default=NO_TIME, converter=timestamp, metadata=timed())
    tail: int = ALL_LINES
    follow: bool = False


@frozen
class LogCapabilities:
    """The capabilities of a log driver.

    ``read_logs`` is whether the driver implements that method; otherwise the engine keeps a copy of
    the logs.
    """

    read_logs: bool = False


class _Entries(Streamed):
    """A method whose response is a stream of log entries in frames."""

    def reader(self) -> FrameReader:
        """Return a parser of frames."""
        return FrameReader()

    def write(self, items: Iterable[LogEntry]) -> Iterator[bytes]:
        """Yield the entries as frames."""
        return self.pieces(items)

    def piece(self, index: int, item: Any) -> bytes:
        """Return one entry as a frame; add a newline that is missing at the end of a line.

        Raises ``TypeError``, ``ValueError`` or ``WireError`` for an invalid entry.
        """
        entry: LogEntry = self.checked(index, item, LogEntry, "a LogEntry")
        _check_entry(entry)
        return _frame(_readable(entry))


def _readable(entry: LogEntry) -> LogEntry:
    # An engine joins lines without a newline, and drops entries with another source: trap 16 in
    # docs/protocol.md.
    if entry.source not in SOURCES:
        raise ValueError(f"a log entry's source is not stdout or stderr: {quoted(entry.source)}")
    piece = entry.partial_log_metadata
    ends = not entry.partial or (piece is not None and piece.last)
    if not ends or entry.line.endswith(b"\n"):
        return entry
    return evolve(entry, line=entry.line + b"\n")


class LogDriver(Subsystem):
    """A driver that reads the output of containers from FIFOs, and returns it on request."""

    @remote()
    def start_logging(self, file: str, info: LogInfo) -> None:
        """Open the FIFO ``file`` and return; read frames from it in the background until it ends.

        A full FIFO blocks the container.
        """
        raise NotImplementedError

    @remote()
    def stop_logging(self, file: str) -> None:
        """Stop reading the FIFO ``file``.

        Return without waiting for the end of the FIFO: the engine closes it only after this call
        has returned (trap 15 in docs/protocol.md).
        """
        raise NotImplementedError

    @remote(sends_body=False, result="Cap", default_on_error=LogCapabilities())
    def capabilities(self) -> LogCapabilities:
        """Return what the driver can do.

        On a host, no ``PluginError`` is raised: after a failed call the result is
        ``LogCapabilities()``, which says that the driver cannot read logs.
        """
        raise NotImplementedError

    @_Entries()
    def read_logs(self, info: LogInfo, config: ReadConfig) -> Iterator[LogEntry]:
        """Return the logged lines of a container, each with its source.

        A missing newline at the end of a line is added, because an engine would join the lines
        (trap 16 in docs/protocol.md).
        """
        raise NotImplementedError
