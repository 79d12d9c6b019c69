"""Bodies as they are read, decided without reading: what to ask for next, and what it comes to."""

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


def test_a_whole_body_is_asked_for_up_to_one_byte_over_its_limit() -> None:
    """A chunk at a time, and at last what would be one byte too many."""
    whole = Whole(CHUNK_BYTES + 3)

    assert whole.room == CHUNK_BYTES
    whole.add(b"x" * CHUNK_BYTES)
    assert whole.room == 4
    whole.add(b"abc")
    assert whole.room == 1
    assert whole.value == b"x" * CHUNK_BYTES + b"abc"


def test_a_whole_body_over_its_limit_is_refused_as_it_comes() -> None:
    """The byte that is too many is an error at once, with the limit."""
    whole = Whole(4)
    whole.add(b"abcd")

    with pytest.raises(WireError, match="larger than 4 bytes"):
        whole.add(b"e")


def test_an_error_is_cut_where_its_bound_is() -> None:
    """Once enough has come there is no room for more, and what is over the bound is left out."""
    text = ErrorText()
    while text.room:
        text.add(b"x" * (text.room - 1))

    message = text.error(500, "M.x").message

    assert message == "x" * MAX_ERROR_BYTES


def test_an_error_says_what_came_of_it() -> None:
    """Cut short, the text is what there is; JSON gives its ``Err``."""
    text = ErrorText()
    text.add(b'{"Err":')
    error = text.error(503, "M.x")

    assert (error.status, error.method, error.message) == (503, "M.x", '{"Err":')
    text.add(b'"no room"}')
    assert text.error(503, "M.x").message == "no room"


def test_a_file_of_known_length_is_read_to_it_and_no_further() -> None:
    """What to read next is a step, and at last what remains."""
    left = Remaining(10, step=6)

    assert left.room == 6
    left.take(b"012345")
    assert left.room == 4
    left.take(b"67")
    assert left.room == 2
    left.take(b"89")
    assert left.room == 0


def test_a_file_that_became_shorter_is_an_error_with_what_lacks() -> None:
    """Fewer bytes than announced are no whole body."""
    left = Remaining(10, step=6)
    left.take(b"012")

    with pytest.raises(ValueError, match="shorter by 7 bytes"):
        left.take(b"")


def test_a_file_of_unknown_length_ends_when_it_ends() -> None:
    """It is read a step at a time until nothing comes."""
    left = Remaining(None, step=6)
    left.take(b"0123")

    assert left.room == 6
    left.take(b"")
    assert left.room == 0


def test_chunks_are_bytes_of_any_kind() -> None:
    """What is bytes passes as it is; anything else is named."""
    check = ChunkCheck()

    assert check.checked(b"a") == b"a"
    assert check.checked(bytearray(b"b")) == b"b"  # type: ignore[arg-type]  # as iterables yield
    with pytest.raises(TypeError, match=r"^a body must yield bytes, not str$"):
        check.checked("c")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^a body must yield bytes, not str$"):
        as_bytes("c")
    assert as_bytes(memoryview(b"abcd").cast("H")) == b"abcd"


def test_a_million_empty_chunks_in_a_row_are_refused() -> None:
    """Counted from the last that was not empty."""
    check = ChunkCheck()
    check.checked(b"a")
    deque(map(check.checked, repeat(b"", MAX_EMPTY_CHUNKS - 1)), maxlen=0)

    with pytest.raises(ValueError, match=r"^the body yields no bytes: 1,000,000 empty chunks in"):
        check.checked(b"")


@pytest.mark.parametrize("size", [-1, -2, -(1 << 40)])
@pytest.mark.parametrize("body", [b"abcdef", [b"abc", b"def"], [b"", b"a", b"bcdef"]])
def test_a_size_below_0_is_all_of_it_as_files_have_it(body: Content, size: int) -> None:
    """Not all but the last byte of each chunk; and within the bound of a whole body."""
    assert Request("A.B", body).read(size) == b"abcdef"
    begun = Request("A.B", body)
    assert begun.read(1) + begun.read(size) + begun.read(size) == b"abcdef"
    if not isinstance(body, bytes):
        with pytest.raises(StatusError, match="larger than 5 bytes"):
            Request("A.B", body, max_bytes=5).read(size)


def test_a_whole_body_is_held_chunk_by_chunk_and_bounded_by_its_method() -> None:
    """What holds it is told of each chunk as it comes; a part of a body is not held."""
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


def test_a_file_comes_before_what_is_read_of_it() -> None:
    """What was taken of it by then is not read."""
    part = FilePart(lambda: 3, 0, 10)
    parts = iter(parts_of(Filed(part)))

    assert next(parts) is part
    part.take(4)
    assert (part.fileno(), part.offset, part.room) == (3, 4, 6)
    assert list(parts) == [b"456789"]


def test_what_is_no_file_is_read() -> None:
    """A body that might have been one, and one that could not."""
    chunks = [b"one", b"two"]

    assert list(parts_of(Filed(None))) == [b"0123456789"]
    assert list(parts_of(chunks)) == chunks


def test_what_is_no_bytes_is_no_chunk() -> None:
    """Text above all."""
    with pytest.raises(TypeError, match="a body must yield bytes, not str"):
        Response(200, ["text"]).body.read(1)  # type: ignore[list-item]  # the point
