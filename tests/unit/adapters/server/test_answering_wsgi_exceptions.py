"""Exceptions of any class that a served application raises, as they leave through WSGI."""

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
    """An exception that cannot even be shown."""

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
def test_any_exception_of_an_app_gives_status_500(text: str, error: BaseException) -> None:
    """Even ``SystemExit`` must not end the server's thread."""
    answer = Answer(raising(error))

    assert (answer.status, answer.error) == ("500 Internal Server Error", text)


@anything
def test_any_exception_before_the_first_chunk_of_a_body_gives_status_500(
    text: str, error: BaseException
) -> None:
    """Nothing of the response was sent by then."""
    answer = Answer(lambda _: breaking_off(error, b""))

    assert (answer.status, answer.error) == ("500 Internal Server Error", text)


@anything
def test_any_exception_after_the_first_chunk_becomes_a_no_answer_error(
    text: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers then close the connection and go on; the log shows the plugin's author the cause."""
    with pytest.raises(NoAnswerError, match=text):
        Answer(lambda _: breaking_off(error, b"first"))

    assert "failed in the middle of its response" in caplog.text


class Pieces:
    """A body of a user's own class, which gives these pieces and then ends."""

    def __init__(self, *pieces: Any) -> None:
        self._pieces = iter(pieces)

    def read(self, size: int, /) -> Any:
        return next(self._pieces, b"")

    def close(self) -> None:
        """Nothing."""


@every("piece", ["text", "", None, 5, [b"x"]])
def test_a_body_that_yields_anything_but_bytes_fails(piece: object) -> None:
    """So does ``None``, which a non-blocking file returns before it has data, not at its end."""
    told = f"a body must yield bytes, not {type(piece).__name__}"
    answer = Answer(lambda _: Response(200, Pieces(piece)))
    assert (answer.status, answer.error) == ("500 Internal Server Error", told)

    with pytest.raises(TypeError, match=told):
        Answer(lambda _: Response(200, Pieces(b"first", piece)))


def test_a_memoryview_of_larger_items_is_sent_as_its_bytes() -> None:
    """Its ``len`` is not its size: two items of four bytes each are a chunk of eight bytes."""
    numbers = memoryview(b"numbers!").cast("I")
    answer = Answer(lambda _: Response(200, Pieces(numbers, bytearray(b"!"))))
    assert answer.chunks == [b"numbers!", b"!"]


@pytest.mark.parametrize("error", [SystemExit("bad"), KeyboardInterrupt(), OSError()], ids=repr)
def test_an_exception_while_a_response_is_closed_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not raised: the response was sent by then, or will not be read."""

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


def test_hung_up_is_set_when_a_server_gives_up_a_response() -> None:
    """The event tells threads of the app to end; it is not set after a whole response."""
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
