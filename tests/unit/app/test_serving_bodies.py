"""Bodies at the plugin's end: too large, in chunks, broken off, and streamed responses."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import Response
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import GraphDriver, VolumeDriver
from moby_plugins.testing import Request
from tests.cases import every
from tests.unit.app.subsystems.exchanges import asked, part_of

CREATE = "VolumeDriver.Create"
TOO_LARGE = (413, b'{"Err":"the body is larger than 20 bytes"}\n')


def app_of(result: Any = None) -> tuple[PluginApp, list[tuple[Any, ...]]]:
    """An app that takes 20 bytes, and what its part received."""
    part, received = part_of(VolumeDriver, {"create": result, "list": ()})
    return PluginApp(part, max_request_bytes=20), received


def answer_to(app: PluginApp, request: Request) -> tuple[int, bytes]:
    """Status and body of the answer."""
    response = app(request)
    return response.status, response.body.read(1000)


class Chunks:
    """A request's body as a server hands it over; notes how much of it was read."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            self.read += len(chunk)
            yield chunk


def test_a_body_may_come_in_pieces() -> None:
    """The pieces are joined, up to exactly the limit."""
    app, received = app_of()
    body = Chunks(b'{"Name":', b"", b'"123456789"', b"}")

    assert answer_to(app, Request(CREATE, body)) == (200, b"{}\n")
    assert (body.read, received) == (20, [("create", "123456789", None)])


@pytest.mark.parametrize("path", [CREATE, "VolumeDriver.List"])
@pytest.mark.parametrize("body", [bytes(21), bytes(100 << 20)])
def test_bytes_over_the_limit_are_refused(path: str, body: bytes) -> None:
    """The status is 413, also for a method that reads no body."""
    app, received = app_of()

    assert answer_to(app, Request(path, body)) == TOO_LARGE
    assert received == []


def test_a_length_over_the_limit_is_refused_unread() -> None:
    """The status is 413, and no byte of the body is read."""
    app, received = app_of()
    body = Chunks(bytes(10), bytes(11))

    assert answer_to(app, Request(CREATE, body, length=21)) == TOO_LARGE
    assert (body.read, received) == (0, [])


def test_a_body_of_unknown_length_is_read_up_to_the_limit() -> None:
    """Reading stops after the chunk that exceeds the limit, so memory stays bounded."""
    app, received = app_of()
    body = Chunks(*[bytes(10)] * 1000)

    assert answer_to(app, Request(CREATE, body)) == TOO_LARGE
    assert (body.read, received) == (30, [])


def test_the_default_limit_of_a_request_body_is_64_mib() -> None:
    """One byte more is refused with status 413."""
    part, received = part_of(VolumeDriver, {"create": None})
    app = PluginApp(part)

    assert answer_to(app, Request(CREATE, b"{}", length=None))[0] == 200
    assert answer_to(app, Request(CREATE, Chunks(b"{}"), length=64 << 20))[0] == 200
    assert answer_to(app, Request(CREATE, Chunks(b"{}"), length=(64 << 20) + 1))[0] == 413
    assert len(received) == 2


def test_a_request_body_that_breaks_off_is_status_500() -> None:
    """The part is not called with half of the body, and the next call is served."""
    app, received = app_of()

    broken = answer_to(app, Request(CREATE, Chunks(b"{", OSError("connection reset"))))

    assert broken == (500, b'{"Err":"connection reset"}\n')
    assert received == []
    assert answer_to(app, Request(CREATE, b"{}"))[0] == 200


@pytest.mark.parametrize("path", [CREATE, "GraphDriver.ApplyDiff?id=a"])
def test_a_body_that_is_badly_chunked_is_a_bad_request(path: str) -> None:
    """The status is 400 whether the app reads the body, or the part as it arrives."""
    app = PluginApp(part_of(VolumeDriver, {"create": None})[0], Layers(b""))

    answer = answer_to(app, Request(path, Chunks(b"{", WireError("badly chunked"))))

    assert answer == (400, b'{"Err":"badly chunked"}\n')


class Layers(GraphDriver):
    """Answers ``diff`` with ``archive``, and measures what it is to apply."""

    def __init__(self, archive: Any) -> None:
        self.archive = archive

    def apply_diff(self, id: str, parent: str, archive: Any) -> int:
        return sum(map(len, archive))

    def diff(self, id: str, parent: str) -> Any:
        return self.archive


def read_by(response: Response, size: int) -> list[bytes]:
    """The body in reads of that size."""
    return list(iter(lambda: response.body.read(size), b""))


@every(
    ("archive", "reads"),
    [
        (partial(bytes, b"abcd"), [b"abc", b"d"]),
        (partial(io.BytesIO, b"abcd"), [b"abc", b"d"]),
        (partial(list, [b"ab", b"", b"cd"]), [b"ab", b"cd"]),
        (partial(list, [b"abcd", b"e"]), [b"abc", b"d", b"e"]),
        (list, []),
    ],
)
def test_a_streamed_response_comes_as_it_is_made(
    archive: Callable[[], Any], reads: list[bytes]
) -> None:
    """Chunks are neither joined nor lost; one that is larger than a read is split."""
    response = PluginApp(Layers(archive()))(Request("GraphDriver.Diff", b"{}"))

    assert response.status == 200
    assert read_by(response, 3) == reads


def test_a_streamed_response_that_fails_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """Reading raises, so that no server sends the response as complete; the cause is logged."""

    def failing() -> Iterator[bytes]:
        yield b"a"
        raise OSError("disk gone")

    response = PluginApp(Layers(failing()))(Request("GraphDriver.Diff", b"{}"))

    assert (response.status, response.body.read(9)) == (200, b"a")
    with pytest.raises(WireError, match="cut off") as caught:
        response.body.read(9)
    assert isinstance(caught.value.__cause__, OSError)
    assert [record.getMessage() for record in caplog.records] == [
        "GraphDriver.Diff failed in the middle of its response"
    ]


def test_a_stream_that_fails_before_its_first_chunk_is_status_500() -> None:
    """The first chunk is made before the status is sent."""

    def fail(_: int) -> bytes:
        raise OSError("disk gone")

    assert asked(PluginApp(Layers(map(fail, [1]))), "GraphDriver.Diff", "{}") == (
        500,
        '{"Err":"disk gone"}',
    )


@pytest.mark.parametrize("reads", [0, 1])
def test_closing_a_streamed_response_closes_its_generator(reads: int) -> None:
    """The generator's ``finally`` runs, whether or not a chunk was read."""
    ended: list[bool] = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"a"
        finally:
            ended.append(True)

    response = PluginApp(Layers(endless()))(Request("GraphDriver.Diff", b"{}"))
    for _ in range(reads):
        response.body.read(1)

    response.body.close()

    assert ended == [True]
