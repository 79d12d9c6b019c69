"""Requests and responses of asynchronous programs, read without an event loop."""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

import pytest

from moby_plugins.domain.async_http import AsyncBytes, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import StatusError
from tests.cases import every

T = TypeVar("T")


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return returned.value  # type: ignore[no-any-return]  # a coroutine's result
    raise AssertionError("it waits")


class Chunks:
    """An asynchronous iterable, which is no generator and cannot be closed."""

    def __init__(self, *chunks: Any) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk  # type: ignore[no-any-return]  # some tests give it what is none
        raise StopAsyncIteration


class Generated:
    """A generator of chunks that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Two chunks, and then the end."""
        try:
            yield b"ab"
            yield b"cde"
        finally:
            self.closed += 1


class Plain:
    """A user's own class of bodies, with ``read`` and ``close`` alone."""

    def __init__(self) -> None:
        self.closed = 0

    async def read(self, size: int, /) -> bytes:
        """Nothing."""
        return b"x" * size

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def pieces(body: Any, *sizes: int) -> list[bytes]:
    """What reads of these sizes return."""
    return [now(body.read(size)) for size in sizes]


@every("make", [lambda: b"abcde", lambda: Chunks(b"ab", b"", b"cde"), lambda: Generated().chunks()])
def test_the_body_of_a_response_is_read_in_parts(make: Any) -> None:
    """A read returns up to the size asked for, once bytes are there, and ``b""`` at the end."""
    read = pieces(AsyncResponse(200, make()).body, 1, 1, 2, 9, 9, 9)

    assert b"".join(read) == b"abcde"
    assert [len(each) for each in read[:3]] == [1, 1, 2]
    assert read[-1] == b""


def test_bytes_are_read_from_where_the_last_read_ended() -> None:
    """A size of -1 reads the rest; ``whole`` keeps all bytes, also those that were read."""
    body = AsyncBytes(b"abcde")

    assert pieces(body, 2, -1, 2, -1) == [b"ab", b"cde", b"", b""]
    assert body.whole == b"abcde"
    body.close()
    assert pieces(AsyncBytes(b"abcde"), -1, 1) == [b"abcde", b""]


def test_a_chunk_that_is_not_bytes_is_a_type_error() -> None:
    """A body that yields text cannot be read, as in a synchronous program."""
    with pytest.raises(TypeError, match="a body must yield bytes, not str"):
        now(AsyncResponse(200, Chunks("text")).body.read(1))


@every("make", [lambda: b"abcde", lambda: Chunks(b"ab", b"cde"), lambda: Chunks(b"abcde")])
def test_a_request_is_read_whole_or_in_parts(make: Any) -> None:
    """What was read in parts is not read again with the rest."""
    assert now(AsyncRequest("M.x", make()).read()) == b"abcde"
    assert now(AsyncRequest("M.x", make()).read(-1)) == b"abcde"
    request = AsyncRequest("M.x", make())
    assert now(request.read(0)) == b""
    assert now(request.read(1)) == b"a"
    assert now(request.read()) == b"bcde"
    assert now(request.read(5)) == b""


def test_a_request_body_of_bytes_can_be_read_whole_more_than_once() -> None:
    """Reading all of the bytes does not consume them; reading a part does."""
    request = AsyncRequest("M.x", b"ab")

    assert [
        now(request.read()),
        now(request.read()),
        now(request.read(1)),
        now(request.read()),
    ] == [
        b"ab",
        b"ab",
        b"a",
        b"b",
    ]


def test_a_request_body_over_max_bytes_is_refused_with_status_413() -> None:
    """``max_bytes`` bounds a body that is read whole, and none that is read in parts."""
    at_most = AsyncRequest("M.x", Chunks(b"ab", b"cd"), max_bytes=4)
    beyond = AsyncRequest("M.x", Chunks(b"ab", b"cde"), max_bytes=4)
    in_parts = AsyncRequest("M.x", Chunks(b"ab", b"cde"), max_bytes=4)

    assert now(at_most.read()) == b"abcd"
    with pytest.raises(StatusError) as caught:
        now(beyond.read())
    assert (caught.value.status, str(caught.value)) == (
        413,
        "M.x: the body is larger than 4 bytes",
    )
    assert pieces(in_parts, 3, 3, 3) == [b"ab", b"cde", b""]
    assert str(beyond.too_large(7)) == "M.x: the body is larger than 7 bytes"


def test_hold_is_called_with_the_size_of_each_chunk_that_is_kept() -> None:
    """Only a body that is read whole is kept, so ``hold`` is not called for a part of a body."""
    held: list[int] = []
    now(AsyncRequest("M.x", Chunks(b"ab", b"cde"), hold=held.append).read())
    assert held == [2, 3]

    now(AsyncRequest("M.x", Chunks(b"ab"), hold=held.append).read(2))
    assert held == [2, 3]


@every(("body", "value"), [(b"", None), (b'{"a": 1} rest', {"a": 1}), (b"[2]", [2])])
def test_a_request_is_read_as_json(body: bytes, value: object) -> None:
    """``json`` returns the first value in the body, and ``None`` for an empty body."""
    assert now(AsyncRequest("M.x", body).json()) == value


def test_a_request_body_that_is_not_json_is_a_value_error() -> None:
    """``json`` raises ``ValueError``, which says what was expected."""
    with pytest.raises(ValueError, match="Expecting value"):
        now(AsyncRequest("M.x", b"nope").json())


def test_aclose_of_a_response_closes_the_generator_of_its_body() -> None:
    """``close`` of the body leaves the generator open, since it must not wait."""
    source = Generated()
    response = AsyncResponse(200, source.chunks())
    now(response.body.read(1))
    response.body.close()
    assert source.closed == 0

    now(response.aclose())
    assert source.closed == 1


@every("make", [lambda: b"ab", lambda: Chunks(b"ab")])
def test_aclose_leaves_a_body_without_a_generator_readable(make: Any) -> None:
    """Bytes and plain iterables have nothing to close, and the rest can still be read."""
    response = AsyncResponse(200, make())

    now(response.aclose())
    assert now(response.body.read(2)) == b"ab"


def test_aclose_calls_close_of_a_body_that_has_no_aclose() -> None:
    """A user's own class of bodies needs no asynchronous ``aclose``."""
    body = Plain()
    response = AsyncResponse(200, body)

    now(response.aclose())
    assert (body.closed, response.body) == (1, body)
