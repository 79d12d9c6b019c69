"""Bodies as they are read, decided without reading: what to ask for next, and what it comes to."""

import pytest

from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    MAX_ERROR_BYTES,
    ChunkCheck,
    ErrorText,
    Remaining,
    Response,
    Whole,
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
    with pytest.raises(TypeError, match="not of str"):
        check.checked("c")  # type: ignore[arg-type]


def test_what_is_no_bytes_is_no_chunk() -> None:
    """Text above all."""
    with pytest.raises(TypeError, match="a body is made of bytes, not of str"):
        Response(200, ["text"]).body.read(1)  # type: ignore[list-item]  # the point
