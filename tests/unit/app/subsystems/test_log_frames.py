"""Log entries as frames: the framing and the three messages of table B6 in protocol.md."""

from collections.abc import Callable, Iterator
from io import BytesIO

import pytest

from moby_plugins.app.subsystems.log import MAX_FRAME_BYTES, decode_entry
from moby_plugins.domain.errors import WireError
from moby_plugins.subsystems import LogEntry, PartialLog, decode_frames, encode_frame
from tests.cases import every

# As protoc's own encoder writes them.
ENTRY = LogEntry("stdout", 300, b"hi")
ENTRY_BYTES = b"\x0a\x06stdout\x10\xac\x02\x1a\x02hi"


def framed(message: bytes) -> bytes:
    """A message as a frame."""
    return len(message).to_bytes(4, "big") + message


def in_bites(data: bytes, size: int) -> Callable[[int], bytes]:
    """A ``read`` that gives at most ``size`` bytes at a time."""
    file = BytesIO(data)
    return lambda wanted: file.read(min(size, wanted))


def entries(data: bytes) -> Iterator[LogEntry]:
    """The entries in ``data``."""
    return decode_frames(BytesIO(data).read)


def test_a_frame_is_a_length_and_a_message() -> None:
    """B6: the length is a big-endian uint32, the message proto3, in which zeros are left out."""
    assert encode_frame(ENTRY) == b"\0\0\0\x0f" + ENTRY_BYTES
    assert encode_frame(LogEntry()) == b"\0\0\0\0"


def test_half_of_a_surrogate_pair_is_written_as_a_replacement_character() -> None:
    """One invalid text of a program does not end its log with an error."""
    half, whole = "a\ud800", "a\ufffd"
    entry = LogEntry("stdout", 1, b"a", True, PartialLog(True, half, 1), {half: half})

    [read] = entries(encode_frame(entry))

    assert read == LogEntry("stdout", 1, b"a", True, PartialLog(True, whole, 1), {whole: whole})


@pytest.mark.parametrize(
    "entry",
    [
        LogEntry(),
        ENTRY,
        LogEntry("stderr", -1, b"\x00\xff\n"),
        LogEntry("stdout", 2**63 - 1, b"x" * (16 << 10)),
        LogEntry("stdout", -(2**63)),
        LogEntry("stdout", 1, b"a", True),
        LogEntry("stdout", 1, b"a", True, PartialLog()),
        LogEntry("stdout", 1, b"a", True, PartialLog(False, "0a", 1)),
        LogEntry("stdout", 1, b"b", True, PartialLog(True, "0a", 2**31 - 1)),
        LogEntry("stdout", 1, b"b", True, PartialLog(True, "ä", -1)),
        LogEntry(attrs={"a": "1", "ü": "", "": "x"}),
    ],
)
@pytest.mark.parametrize("bite", [1, 3, 1 << 20])
def test_log_entries_are_decoded_as_they_were_encoded(entry: LogEntry, bite: int) -> None:
    """Two frames in a row are read in pieces of any size."""
    assert list(decode_frames(in_bites(encode_frame(entry) * 2, bite))) == [entry, entry]


def test_a_line_of_16_kib_is_one_frame() -> None:
    """B6: the longest line of an engine has a length of three bytes in the message."""
    frame = encode_frame(LogEntry(line=b"x" * (16 << 10)))

    assert frame[:8] == (4 + (16 << 10)).to_bytes(4, "big") + b"\x1a\x80\x80\x01"


def test_an_entry_is_returned_before_the_next_one_is_read() -> None:
    """``decode_frames`` reads no byte beyond the entry that it yields."""
    file = BytesIO(encode_frame(ENTRY) * 2)

    assert next(decode_frames(file.read)) == ENTRY
    assert file.tell() == len(encode_frame(ENTRY))


@every(
    "unknown",
    [
        b"\x38\x05",  # field 7, a number
        b"\x3a\x03abc",  # field 7, bytes
        b"\x39" + bytes(8),  # field 7, fixed 64
        b"\x3d" + bytes(4),  # field 7, fixed 32
        b"\xfa\xff\xff\xff\x0f\x01x",  # the highest field number
        b"\x1d" + bytes(4),  # a field that is known, written as no version of it
    ],
)
def test_unknown_fields_are_skipped(unknown: bytes) -> None:
    """A newer engine's entries can be read."""
    assert list(entries(framed(unknown + ENTRY_BYTES + unknown))) == [ENTRY]


@every(
    ("message", "entry"),
    [
        (b"\x10\x01\x10\x02", LogEntry(time_nano=2)),
        (b"\x20\x07", LogEntry(partial=True)),
        (b"\x10" + b"\xff" * 9 + b"\x01", LogEntry(time_nano=-1)),
        (b"\x10\x80\x00", LogEntry(time_nano=0)),
        (b"\x0a\x01\xff", LogEntry("\ufffd")),
        (b"\x2a\x00", LogEntry(partial_log_metadata=PartialLog())),
        (b"\x32\x00", LogEntry(attrs={"": ""})),
    ],
)
def test_unusual_but_valid_messages_are_decoded(message: bytes, entry: LogEntry) -> None:
    """The last of two values counts, numbers may be padded, invalid text is replaced."""
    assert decode_entry(message) == entry


@every(
    ("message", "reason"),
    [
        (b"\x10", "a truncated number"),
        (b"\x10\x80", "a truncated number"),
        (b"\x80", "a truncated number"),
        (b"\x10" + b"\xff" * 10, "a number of more than 10 bytes"),
        (b"\x1a\x05abc", "a field is cut off or of an unknown wire type"),
        (b"\x1a" + b"\xff" * 9 + b"\x01", "a field is cut off or of an unknown wire type"),
        (b"\x39\x00", "a field is cut off or of an unknown wire type"),
        (b"\x3b", "a field is cut off or of an unknown wire type"),
        (b"\x08\x01", "a field of a log entry has the wrong protobuf wire type"),
        (b"\x12\x00", "a field of a log entry has the wrong protobuf wire type"),
        (b"\x28\x01", "a field of a log entry has the wrong protobuf wire type"),
        (b"\x30\x01", "a field of a log entry has the wrong protobuf wire type"),
        (b"\x2a\x02\x0a\x00", "a field of a log entry has the wrong protobuf wire type"),
        (b"\x32\x02\x08\x01", "a field of a log entry has the wrong protobuf wire type"),
    ],
)
def test_a_message_that_is_not_a_log_entry_is_an_error(message: bytes, reason: str) -> None:
    """The WireError says what is wrong with the message."""
    with pytest.raises(WireError, match=f"^not a log entry: {reason}$"):
        list(entries(framed(message)))


@every("size", [1, 3, 4, 5, 18])
def test_a_frame_that_is_cut_off_is_an_error(size: int) -> None:
    """B6: the entries before that frame are returned, then a WireError is raised."""
    frame = encode_frame(ENTRY)
    read = entries(frame + frame[:size])

    assert next(read) == ENTRY
    with pytest.raises(WireError, match=r"^a truncated log frame$"):
        next(read)


def test_a_frame_that_is_too_large_is_refused_unread() -> None:
    """Only the length of the frame is read, so that a large one cannot fill the memory."""
    file = BytesIO((MAX_FRAME_BYTES + 1).to_bytes(4, "big") + bytes(100))

    with pytest.raises(WireError, match=r"^a log frame of 16777217 bytes; the limit is 16777216$"):
        next(decode_frames(file.read))
    assert file.tell() == 4


def test_an_empty_stream_has_no_log_entries() -> None:
    """B6: a stream that ends between two frames has ended normally."""
    assert list(entries(b"")) == []
