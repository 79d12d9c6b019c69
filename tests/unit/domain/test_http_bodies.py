"""How much of a body to read next, and what the bytes become; nothing is read from a socket."""

from collections import deque
from collections.abc import Iterator
from itertools import repeat

import pytest

from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    MAX_EMPTY_CHUNKS,
    MAX_ERROR_BYTES,
    ChunkCheck,
    Content,
    ErrorText,
    FilePart,
    Remaining,
    Request,
    Response,
    Whole,
    as_bytes,
    parts_of,
)


def test_a_whole_body_is_read_up_to_one_byte_over_its_limit() -> None:
    """``room`` is one chunk at a time, and at last the one byte that would be too many."""
    whole = Whole(CHUNK_BYTES + 3)

    assert whole.room == CHUNK_BYTES
    whole.add(b"x" * CHUNK_BYTES)
    assert whole.room == 4
    whole.add(b"abc")
    assert whole.room == 1
    assert whole.value == b"x" * CHUNK_BYTES + b"abc"


def test_a_whole_body_is_refused_at_the_first_byte_over_its_limit() -> None:
    """The error names the limit, and the rest of the body is not awaited."""
    whole = Whole(4)
    whole.add(b"abcd")

    with pytest.raises(WireError, match="larger than 4 bytes"):
        whole.add(b"e")


def test_the_text_of_an_error_response_is_cut_at_its_bound() -> None:
    """After ``MAX_ERROR_BYTES`` no more is read, and bytes over the bound are left out."""
    text = ErrorText()
    while text.room:
        text.add(b"x" * (text.room - 1))

    message = text.error(500, "M.x").message

    assert message == "x" * MAX_ERROR_BYTES


def test_the_message_of_an_error_response_is_made_of_the_bytes_received_so_far() -> None:
    """Incomplete JSON is shown as text; complete JSON gives its ``Err``."""
    text = ErrorText()
    text.add(b'{"Err":')
    error = text.error(503, "M.x")

    assert (error.status, error.method, error.message) == (503, "M.x", '{"Err":')
    text.add(b'"no room"}')
    assert text.error(503, "M.x").message == "no room"


def test_a_file_of_known_length_is_read_up_to_that_length() -> None:
    """``room`` is one step at a time, and at last what remains of the length."""
    left = Remaining(10, step=6)

    assert left.room == 6
    left.take(b"012345")
    assert left.room == 4
    left.take(b"67")
    assert left.room == 2
    left.take(b"89")
    assert left.room == 0


def test_a_file_that_became_shorter_is_an_error_with_the_missing_bytes() -> None:
    """Fewer bytes than the announced length are not a complete body."""
    left = Remaining(10, step=6)
    left.take(b"012")

    with pytest.raises(ValueError, match="shorter by 7 bytes"):
        left.take(b"")


def test_a_file_of_unknown_length_is_read_until_a_read_returns_nothing() -> None:
    """``room`` stays one step until the end of the file, and is then 0."""
    left = Remaining(None, step=6)
    left.take(b"0123")

    assert left.room == 6
    left.take(b"")
    assert left.room == 0


def test_chunks_may_be_of_any_binary_type() -> None:
    """A chunk of another type, such as text, is an error that names the type."""
    check = ChunkCheck()

    assert check.checked(b"a") == b"a"
    assert check.checked(bytearray(b"b")) == b"b"  # type: ignore[arg-type]  # as iterables yield
    with pytest.raises(TypeError, match=r"^a body must yield bytes, not str$"):
        check.checked("c")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^a body must yield bytes, not str$"):
        as_bytes("c")
    assert as_bytes(memoryview(b"abcd").cast("H")) == b"abcd"


def test_a_million_empty_chunks_in_a_row_are_refused() -> None:
    """Empty chunks are counted from the last chunk that was not empty."""
    check = ChunkCheck()
    check.checked(b"a")
    deque(map(check.checked, repeat(b"", MAX_EMPTY_CHUNKS - 1)), maxlen=0)

    with pytest.raises(ValueError, match=r"^the body yields no bytes: 1,000,000 empty chunks in"):
        check.checked(b"")


@pytest.mark.parametrize("size", [-1, -2, -(1 << 40)])
@pytest.mark.parametrize("body", [b"abcdef", [b"abc", b"def"], [b"", b"a", b"bcdef"]])
def test_a_read_with_a_negative_size_returns_the_rest_of_the_body(body: Content, size: int) -> None:
    """As with files, a size of -1 means all; ``max_bytes`` bounds this read of all too."""
    assert Request("A.B", body).read(size) == b"abcdef"
    begun = Request("A.B", body)
    assert begun.read(1) + begun.read(size) + begun.read(size) == b"abcdef"
    if not isinstance(body, bytes):
        with pytest.raises(StatusError, match="larger than 5 bytes"):
            Request("A.B", body, max_bytes=5).read(size)


def test_reading_a_whole_request_calls_hold_for_each_chunk_and_obeys_max_bytes() -> None:
    """``hold`` is called with the size of each chunk, but not if a part of the body is read."""
    held: list[int] = []
    body = [b"abc", b"de"]

    assert Request("A.B", body, hold=held.append).read() == b"abcde"
    assert held == [3, 2]
    assert Request("A.B", body, hold=held.append).read(0) == b""
    assert Request("A.B", b"abc", hold=held.append).read(0) == b""
    with pytest.raises(StatusError) as caught:
        Request("A.B", body, max_bytes=4, hold=held.append).read()
    assert (caught.value.status, caught.value.method, held) == (413, "A.B", [3, 2, 3])


class Filed:
    """A body of ten bytes that may be a file."""

    def __init__(self, part: FilePart | None) -> None:
        self._part = part

    def part(self) -> FilePart | None:
        return self._part

    def __iter__(self) -> Iterator[bytes]:
        yield b"0123456789"[self._part.offset if self._part else 0 :]


def test_the_file_part_of_a_body_comes_before_the_rest_of_its_chunks() -> None:
    """Bytes that were sent from the file part are not yielded again."""
    part = FilePart(lambda: 3, 0, 10)
    parts = iter(parts_of(Filed(part)))

    assert next(parts) is part
    part.take(4)
    assert (part.fileno(), part.offset, part.room) == (3, 4, 6)
    assert list(parts) == [b"456789"]


def test_a_body_without_a_file_part_has_its_chunks_alone() -> None:
    """``part`` may return ``None``, and a plain iterable has no ``part``."""
    chunks = [b"one", b"two"]

    assert list(parts_of(Filed(None))) == [b"0123456789"]
    assert list(parts_of(chunks)) == chunks


def test_a_chunk_of_text_in_a_response_is_a_type_error() -> None:
    """The error names the type of the chunk."""
    with pytest.raises(TypeError, match="a body must yield bytes, not str"):
        Response(200, ["text"]).body.read(1)  # type: ignore[list-item]  # the point
