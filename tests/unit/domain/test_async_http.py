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
    """A generator of chunks that tells whether it was closed."""

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
    """A body of one's own, with no more than a body has."""

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
def test_a_body_is_read_in_parts(make: Any) -> None:
    """Each as soon as there is something, and nothing at the end."""
    read = pieces(AsyncResponse(200, make()).body, 1, 1, 2, 9, 9, 9)

    assert b"".join(read) == b"abcde"
    assert [len(each) for each in read[:3]] == [1, 1, 2]
    assert read[-1] == b""


def test_bytes_are_read_from_where_the_last_read_ended() -> None:
    """All that is left where no size is given; and all of them stay to be had."""
    body = AsyncBytes(b"abcde")

    assert pieces(body, 2, -1, 2, -1) == [b"ab", b"cde", b"", b""]
    assert body.whole == b"abcde"
    body.close()
    assert pieces(AsyncBytes(b"abcde"), -1, 1) == [b"abcde", b""]


def test_a_chunk_that_is_no_bytes_is_an_error() -> None:
    """As in a synchronous program."""
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


def test_bytes_can_be_read_whole_more_than_once() -> None:
    """They are not consumed, until a part of them is read."""
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


def test_a_request_that_is_read_whole_has_a_bound() -> None:
    """413 beyond it; one that is read in parts has none."""
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


def test_what_holds_memory_is_told_of_each_chunk() -> None:
    """Of those that are kept, and it can refuse them."""
    held: list[int] = []
    now(AsyncRequest("M.x", Chunks(b"ab", b"cde"), hold=held.append).read())
    assert held == [2, 3]

    now(AsyncRequest("M.x", Chunks(b"ab"), hold=held.append).read(2))
    assert held == [2, 3]


@every(("body", "value"), [(b"", None), (b'{"a": 1} rest', {"a": 1}), (b"[2]", [2])])
def test_a_request_is_read_as_json(body: bytes, value: object) -> None:
    """The first value in it; none in an empty body."""
    assert now(AsyncRequest("M.x", body).json()) == value


def test_what_is_no_json_is_an_error() -> None:
    """Of its value."""
    with pytest.raises(ValueError, match="Expecting value"):
        now(AsyncRequest("M.x", b"nope").json())


def test_a_response_that_is_closed_ends_its_generator() -> None:
    """At once, as it waits for nothing."""
    source = Generated()
    response = AsyncResponse(200, source.chunks())
    now(response.body.read(1))
    response.body.close()
    assert source.closed == 0

    now(response.aclose())
    assert source.closed == 1


@every("make", [lambda: b"ab", lambda: Chunks(b"ab")])
def test_a_response_without_a_generator_is_closed_at_once(make: Any) -> None:
    """There is nothing to end, and what is left can be read."""
    response = AsyncResponse(200, make())

    now(response.aclose())
    assert now(response.body.read(2)) == b"ab"


def test_a_body_of_ones_own_is_closed() -> None:
    """By its plain ``close``, where it has no other."""
    body = Plain()
    response = AsyncResponse(200, body)

    now(response.aclose())
    assert (body.closed, response.body) == (1, body)
