"""Reading log frames that arrive in pieces of any size, without waiting for bytes."""

import pytest

from moby_plugins.app.subsystems.log import MAX_FRAME_BYTES, FrameReader
from moby_plugins.domain.errors import WireError
from moby_plugins.subsystems import LogEntry, encode_frame

ENTRY = LogEntry("stdout", 1, b"a line\n")
OTHER = LogEntry("stderr", 2, b"another\n")
TOO_LARGE = (MAX_FRAME_BYTES + 1).to_bytes(4, "big")


@pytest.mark.parametrize("size", [1, 3, 4, 1000])
def test_feed_returns_an_entry_when_its_last_byte_has_arrived(size: int) -> None:
    """However the bytes are split, each entry is returned once and in order."""
    frames = FrameReader()
    data = encode_frame(ENTRY) + encode_frame(LogEntry()) + encode_frame(OTHER)
    entries = []
    for at in range(0, len(data), size):
        entries += frames.feed(data[at : at + size])
    frames.end()

    assert entries == [ENTRY, LogEntry(), OTHER]


def test_room_is_the_number_of_bytes_that_the_next_step_lacks() -> None:
    """First a length is read, then the message: a reader waits for no other bytes."""
    frames = FrameReader()
    frame = encode_frame(ENTRY)

    assert frames.room == 4
    assert frames.feed(frame[:4]) == []
    assert frames.room == len(frame) - 4
    assert frames.feed(frame[4:6]) == []
    assert frames.room == len(frame) - 6
    assert frames.feed(frame[6:]) == [ENTRY]
    assert frames.room == 4


@pytest.mark.parametrize("bad", [TOO_LARGE, b"\0\0\0\x01\xff"], ids=["too large", "no entry"])
def test_entries_before_a_bad_frame_are_returned_before_its_error(bad: bytes) -> None:
    """The next ``feed`` or ``end`` raises the WireError of the bad frame."""
    frames = FrameReader()

    assert frames.feed(encode_frame(ENTRY) + bad) == [ENTRY]
    for asked in (lambda: frames.feed(b""), frames.end):
        with pytest.raises(WireError, match="log"):
            asked()


@pytest.mark.parametrize("bad", [TOO_LARGE, b"\0\0\0\x01\xff"], ids=["too large", "no entry"])
def test_a_bad_frame_without_entries_before_it_raises_at_once(bad: bytes) -> None:
    """``feed`` has no entry to return, so it raises the WireError itself."""
    with pytest.raises(WireError, match="log"):
        FrameReader().feed(bad)


@pytest.mark.parametrize("came", [b"\0", b"\0\0\0\x09", b"\0\0\0\x09abc"])
def test_an_end_within_a_frame_is_an_error(came: bytes) -> None:
    """If only a part of a length or of a message has arrived, ``end`` raises a WireError."""
    frames = FrameReader()

    assert frames.feed(came) == []
    with pytest.raises(WireError, match="truncated"):
        frames.end()
