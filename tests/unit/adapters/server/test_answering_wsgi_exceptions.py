"""What comes out of a function that is served, of whatever kind, as it leaves through WSGI."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.adapters.server.answering import wsgi
from moby_plugins.domain.http import NoAnswerError, Response
from moby_plugins.ports import hung_up
from tests.cases import every
from tests.unit.adapters.server.wsgi_call import Answer, raising


class Silent(BaseException):
    """It cannot even be shown."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


ANYTHING = {
    "bad option": SystemExit("bad option"),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "CancelledError": asyncio.CancelledError(),
    "GeneratorExit": GeneratorExit(),
    "Silent": Silent(),
}
anything = pytest.mark.parametrize(("text", "error"), ANYTHING.items(), ids=ANYTHING)


def breaking_off(error: BaseException, first: bytes) -> Response:
    """An answer whose body raises ``error`` after its first chunk, if that is any."""

    def chunks() -> Iterator[bytes]:
        if first:
            yield first
        raise error

    return Response(200, chunks())


@anything
def test_whatever_is_raised_is_500(text: str, error: BaseException) -> None:
    """A server's thread never takes it for an order to end."""
    answer = Answer(raising(error))

    assert (answer.status, answer.error) == ("500 Internal Server Error", text)


@anything
def test_whatever_is_raised_before_the_first_chunk_is_500(text: str, error: BaseException) -> None:
    """Nothing was sent yet."""
    answer = Answer(lambda _: breaking_off(error, b""))

    assert (answer.status, answer.error) == ("500 Internal Server Error", text)


@anything
def test_whatever_is_raised_later_is_no_response(
    text: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers take that for a connection that broke off, and go on; the author reads why."""
    with pytest.raises(NoAnswerError, match=text):
        Answer(lambda _: breaking_off(error, b"first"))

    assert "failed in the middle of its response" in caplog.text


class Pieces:
    """A body of an author's own, that gives these and then ends."""

    def __init__(self, *pieces: Any) -> None:
        self._pieces = iter(pieces)

    def read(self, size: int, /) -> Any:
        return next(self._pieces, b"")

    def close(self) -> None:
        """Nothing."""


@every("piece", ["text", "", None, 5, [b"x"]])
def test_a_body_of_an_authors_own_that_gives_no_bytes_fails(piece: object) -> None:
    """``None`` included, which a file gives that has nothing yet: it is not the end."""
    told = f"a body must yield bytes, not {type(piece).__name__}"
    answer = Answer(lambda _: Response(200, Pieces(piece)))
    assert (answer.status, answer.error) == ("500 Internal Server Error", told)

    with pytest.raises(TypeError, match=told):
        Answer(lambda _: Response(200, Pieces(b"first", piece)))


def test_what_counts_in_other_units_is_sent_as_its_bytes() -> None:
    """Chunks are told with their size: one of two numbers is eight bytes long."""
    numbers = memoryview(b"numbers!").cast("I")
    answer = Answer(lambda _: Response(200, Pieces(numbers, bytearray(b"!"))))
    assert answer.chunks == [b"numbers!", b"!"]


@pytest.mark.parametrize("error", [SystemExit("bad"), KeyboardInterrupt(), OSError()], ids=repr)
def test_what_closing_raises_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The response has left by then, or will not be read."""

    def chunks() -> Iterator[bytes]:
        try:
            yield b"first"
            yield b"last"
        finally:
            raise error

    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/a", "wsgi.input": None}
    body = wsgi(lambda _: Response(200, chunks()))(environ, lambda *_: lambda _: None)

    body.close()  # type: ignore[attr-defined]

    assert "closing the response of /a failed" in caplog.text


def test_a_response_that_a_server_gives_up_is_told_so() -> None:
    """Threads that the app started for it can end; a whole response is not given up."""
    gone = []

    def chunks() -> Iterator[bytes]:
        gone.append(hung_up())
        yield from (b"first", b"last")

    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/a", "wsgi.input": None}
    app = wsgi(lambda _: Response(200, chunks()))
    whole = app(environ, lambda *_: lambda _: None)
    assert list(whole) == [b"first", b"last"]
    whole.close()  # type: ignore[attr-defined]
    left = app(environ, lambda *_: lambda _: None)
    next(iter(left))
    left.close()  # type: ignore[attr-defined]

    assert [event.is_set() for event in gone] == [False, True]
