"""A function's answers as they leave through WSGI."""

from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.adapters.server.answering import wsgi
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import CHUNK_BYTES, NoAnswerError, Response
from tests.unit.adapters.server.wsgi_call import Answer, raising


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_only_post_is_answered(method: str) -> None:
    """Any other method is 405, which names the one that is allowed."""
    answer = Answer(lambda _: Response(200, b""), REQUEST_METHOD=method)

    assert answer.status == "405 Method Not Allowed"
    assert answer.headers["Allow"] == "POST"
    # After HEAD a host takes the next answer to begin at once.
    assert bool(answer.chunks) is (method != "HEAD")


@pytest.mark.parametrize(
    ("error", "message"), [(OSError("disk full"), "disk full"), (KeyError(), "KeyError")]
)
def test_an_exception_is_500(error: Exception, message: str) -> None:
    """What an app raises is answered with its text, or its class where it has none."""
    answer = Answer(raising(error))

    assert (answer.status, answer.error) == ("500 Internal Server Error", message)


def test_an_exception_before_the_first_chunk_is_500() -> None:
    """A generator that fails at once is no answer 200 that breaks off."""

    def chunks(names: tuple[str, ...]) -> Iterator[bytes]:
        yield names[0].encode()

    answer = Answer(lambda _: Response(200, chunks(())))

    assert (answer.status, answer.error) == (
        "500 Internal Server Error",
        "tuple index out of range",
    )


def test_a_later_exception_passes_to_the_server() -> None:
    """A body that breaks off must not look whole, so the server has to know."""

    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise WireError("broken")

    with pytest.raises(WireError, match="broken"):
        Answer(lambda _: Response(200, chunks()))


def test_an_answer_in_memory_has_a_length() -> None:
    """A body of bytes is sent with its length, and in pieces of 64 KiB."""
    answer = Answer(lambda _: Response(200, b"x" * (CHUNK_BYTES + 1), {"X-A": "b"}))

    assert answer.status == "200 OK"
    assert answer.headers == {"X-A": "b", "Content-Length": str(CHUNK_BYTES + 1)}
    assert [len(chunk) for chunk in answer.chunks] == [CHUNK_BYTES, 1]


def test_a_stream_has_no_length_and_is_closed() -> None:
    """A body that is made as it goes is sent in chunks, and closed at the end."""
    closed = []

    def chunks() -> Iterator[bytes]:
        try:
            yield from (b"a", b"b")
        finally:
            closed.append(True)

    answer = Answer(lambda _: Response(200, chunks()))

    assert (answer.headers, answer.chunks, closed) == ({}, [b"a", b"b"], [True])


def test_a_body_is_closed_when_the_client_has_gone() -> None:
    """A server that gives up closes the body, and what stands in its ``finally`` runs."""
    closed = []

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/a", "wsgi.input": None}
    body = wsgi(lambda _: Response(200, chunks()))(environ, lambda *_: lambda _: None)

    next(iter(body))
    body.close()  # type: ignore[attr-defined]

    assert closed == [True]


def test_a_status_without_a_name_is_sent() -> None:
    """A plugin may answer with a status that HTTP does not know."""
    assert Answer(lambda _: Response(599, b"")).status == "599 Unknown"


def test_no_answer_passes_to_the_server() -> None:
    """It has to close the connection: neither a status nor an end is made up, and bodies close."""
    closed: list[str] = []

    def broken() -> Iterator[bytes]:
        try:
            yield from ()
            raise NoAnswerError("it hung up")
        finally:
            closed.append("body")

    with pytest.raises(NoAnswerError):
        Answer(raising(NoAnswerError("it hung up")))
    with pytest.raises(NoAnswerError):
        Answer(lambda _: Response(200, broken()))
    assert closed == ["body"]
