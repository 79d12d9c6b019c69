"""Log frames whose bytes come in pieces of any size, read without waiting for any."""

import pytest

from moby_plugins.app.subsystems.log import MAX_FRAME_BYTES, FrameReader
from moby_plugins.domain.errors import WireError
from moby_plugins.subsystems import LogEntry, encode_frame

ENTRY = LogEntry("stdout", 1, b"a line\n")
OTHER = LogEntry("stderr", 2, b"another\n")
TOO_LARGE = (MAX_FRAME_BYTES + 1).to_bytes(4, "big")


@pytest.mark.parametrize("size", [1, 3, 4, 1000])
def test_entries_come_once_their_last_byte_has(size: int) -> None:
    """However the bytes are cut, each entry comes once and in order."""
    frames = FrameReader()
    data = encode_frame(ENTRY) + encode_frame(LogEntry()) + encode_frame(OTHER)
    entries = []
    for at in range(0, len(data), size):
        entries += frames.feed(data[at : at + size])
    frames.end()

    assert entries == [ENTRY, LogEntry(), OTHER]


def test_what_lacks_is_asked_for_and_no_more() -> None:
    """First a length, then the message: a reader blocks for nothing else."""
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
def test_entries_before_a_bad_frame_are_not_lost(bad: bytes) -> None:
    """They are returned first; whatever is asked next is the error."""
    frames = FrameReader()

    assert frames.feed(encode_frame(ENTRY) + bad) == [ENTRY]
    for asked in (lambda: frames.feed(b""), frames.end):
        with pytest.raises(WireError, match="log"):
            asked()


@pytest.mark.parametrize("bad", [TOO_LARGE, b"\0\0\0\x01\xff"], ids=["too large", "no entry"])
def test_a_bad_frame_is_an_error_at_once(bad: bytes) -> None:
    """With nothing before it there is nothing to return."""
    with pytest.raises(WireError, match="log"):
        FrameReader().feed(bad)


@pytest.mark.parametrize("came", [b"\0", b"\0\0\0\x09", b"\0\0\0\x09abc"])
def test_an_end_within_a_frame_is_an_error(came: bytes) -> None:
    """A part of a length or of a message is not an entry."""
    frames = FrameReader()

    assert frames.feed(came) == []
    with pytest.raises(WireError, match="truncated"):
        frames.end()
