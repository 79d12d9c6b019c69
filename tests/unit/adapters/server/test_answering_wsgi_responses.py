"""Responses of an application, as they leave through WSGI."""

import io
from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.adapters.server.answering import InFlight, StartedResponse, wsgi
from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.http import CHUNK_BYTES, NoAnswerError, Request, Response
from moby_plugins.ports import RunningCall
from tests.cases import every
from tests.unit.adapters.server.wsgi_call import Answer, raising
from tests.unit.domain.test_outgoing import BAD_HEADS


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_http_methods_other_than_post_get_status_405(method: str) -> None:
    """The header Allow names POST; the response to HEAD has no body."""
    answer = Answer(lambda _: Response(200, b""), REQUEST_METHOD=method)

    assert answer.status == "405 Method Not Allowed"
    assert answer.headers["Allow"] == "POST"
    # After HEAD a host takes the next answer to begin at once.
    assert bool(answer.chunks) is (method != "HEAD")


@pytest.mark.parametrize(
    ("error", "message"), [(OSError("disk full"), "disk full"), (KeyError(), "KeyError")]
)
def test_an_exception_of_an_app_gives_status_500(error: Exception, message: str) -> None:
    """The response has the exception's text, or its class if it has no text."""
    answer = Answer(raising(error))

    assert (answer.status, answer.error) == ("500 Internal Server Error", message)


def test_an_exception_before_the_first_chunk_gives_status_500() -> None:
    """A generator that fails at once does not give a response with status 200 that breaks off."""

    def chunks(names: tuple[str, ...]) -> Iterator[bytes]:
        yield names[0].encode()

    answer = Answer(lambda _: Response(200, chunks(())))

    assert (answer.status, answer.error) == (
        "500 Internal Server Error",
        "tuple index out of range",
    )


def test_an_exception_after_the_first_chunk_is_raised_to_the_server() -> None:
    """The server must close the connection, so that the body does not look whole."""

    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise WireError("broken")

    with pytest.raises(WireError, match="broken"):
        Answer(lambda _: Response(200, chunks()))


def test_a_response_in_memory_has_a_length() -> None:
    """A body of bytes is sent with its length, and in pieces of 64 KiB."""
    answer = Answer(lambda _: Response(200, b"x" * (CHUNK_BYTES + 1), {"X-A": "b"}))

    assert answer.status == "200 OK"
    assert answer.headers == {"X-A": "b", "Content-Length": str(CHUNK_BYTES + 1)}
    assert [len(chunk) for chunk in answer.chunks] == [CHUNK_BYTES, 1]


def test_a_body_whose_file_position_is_beyond_its_end_is_empty() -> None:
    """Its Content-Length is 0, and not a negative number."""
    body = io.BytesIO(b"text")
    body.seek(100)

    answer = Answer(lambda _: Response(200, body))

    assert answer.headers["Content-Length"] == "0"
    assert b"".join(answer.chunks) == b""


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
    """A server that gives up closes the body, and the generator's ``finally`` block runs."""
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


def test_a_status_that_http_does_not_define_is_sent() -> None:
    """A plugin may respond with any status, such as 599, whose phrase is then "Unknown"."""
    assert Answer(lambda _: Response(599, b"")).status == "599 Unknown"


def test_a_no_answer_error_is_raised_to_the_server() -> None:
    """The server has to close the connection without a status, and the body is closed."""
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


@every("kind", BAD_HEADS)
def test_a_response_with_an_invalid_head_becomes_status_500(kind: str) -> None:
    """Nothing of the head is written, and the error says what is wrong with it."""
    status, headers, body, message = BAD_HEADS[kind]

    answer = Answer(lambda _: Response(status, body, headers))

    assert answer.status == "500 Internal Server Error"
    assert message in answer.error
    assert answer.headers.keys() == {"Content-Type", "Content-Length"}


@pytest.mark.parametrize(("told", "sent"), [("3", b"abc"), ("4", b"abc"), ("2", b"abc")])
def test_a_stream_that_differs_from_its_content_length_is_cut_off(told: str, sent: bytes) -> None:
    """A host must not take half a body for a whole one, nor the rest for the next response."""
    chunks = (sent[i : i + 1] for i in range(len(sent)))
    response = Response(200, chunks, {"Content-Length": told})
    answered = StartedResponse(response, RunningCall())

    assert answered.headers == {"Content-Length": told}
    if int(told) == len(sent):
        assert b"".join(answered) == sent
    else:
        with pytest.raises(ValueError, match="length differs"):
            b"".join(answered)
    answered.close()


def test_a_status_error_of_a_raw_application_gives_its_status() -> None:
    """If that status is not one of an error, such as 200, the response has status 500."""
    refused = Answer(raising(StatusError(409, "M.x", "busy")))
    odd = Answer(raising(StatusError(200, "M.x", "fine")))

    assert (refused.status, refused.error) == ("409 Conflict", "busy")
    assert odd.status == "500 Internal Server Error"


def test_a_body_has_a_bound_if_it_is_read_whole_and_none_if_read_in_parts() -> None:
    """Beyond the bound the status is 413; a part is never larger than the app asked for."""
    sizes: list[int] = []

    def parts(request: Request) -> Response:
        while part := request.read(1000):
            sizes.append(len(part))
        return Response(200, b"")

    body = bytes(2 << 20)
    bounds = InFlight(max_request_bytes=len(body) - 1)
    whole = Answer(lambda request: Response(200, request.read()), bounds, body=body)
    piecewise = Answer(parts, bounds, body=body)

    assert whole.status.startswith("413 ")  # each Python has a phrase of its own
    assert whole.error == f"the body is larger than {len(body) - 1} bytes"
    assert piecewise.status == "200 OK"
    assert (sum(sizes), max(sizes)) == (len(body), 1000)


def test_requests_share_a_bound_on_the_bytes_that_they_keep_in_memory() -> None:
    """A request beyond it gets status 503; a request that has ended keeps nothing."""
    bounds = InFlight(3 << 20)
    body = bytes(2 << 20)
    statuses: list[str] = []

    def reads(request: Request) -> Response:
        request.read()
        inner = Answer(lambda request: Response(200, request.read()), bounds, body=body)
        statuses.append(inner.status)
        return Response(200, b"")

    for _ in range(3):
        assert Answer(reads, bounds, body=body).status == "200 OK"
    assert statuses == ["503 Service Unavailable"] * 3
    small = Answer(lambda _: Response(200, b""), InFlight(10), body=bytes(11))
    assert small.status == "503 Service Unavailable"


@every("given", [None, "ok", (200, b"{}"), {"Err": ""}, Response])
def test_an_app_that_returns_no_response_gets_status_500(given: Any) -> None:
    """An app may forget to return one; the error says what an app must return."""
    answer = Answer(lambda _: given)

    assert answer.status == "500 Internal Server Error"
    assert answer.error.startswith("an application returns a Response, not ")


@pytest.mark.parametrize("name", ["Connection", "keep-alive", "UPGRADE"])
def test_headers_of_the_connection_that_an_app_sets_are_left_out(name: str) -> None:
    """They are the server's own, and a server may fail if an app sets them (PEP 3333)."""
    answer = Answer(lambda _: Response(200, b"{}", {name: "close", "X": "a"}))

    assert answer.status == "200 OK"
    assert answer.headers == {"X": "a", "Content-Length": "2"}


def test_when_a_server_refuses_the_head_of_a_response_nothing_stays_open() -> None:
    """The body is closed, and the request's bytes no longer count towards the shared bound."""
    bounds = InFlight(10)
    closed: list[str] = []

    def refuse(*_: object) -> Any:
        raise AssertionError("not this header")

    def body() -> Iterator[bytes]:
        try:
            yield b"x"
        finally:
            closed.append("body")

    for _ in range(3):
        environ: Any = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/A.B",
            "CONTENT_LENGTH": "9",
            "REMOTE_ADDR": "",
            "wsgi.input": io.BytesIO(bytes(9)),
        }
        with pytest.raises(AssertionError, match="not this header"):
            wsgi(lambda _: Response(200, body()), bounds)(environ, refuse)
    assert closed == ["body"] * 3
    assert bounds.add(10)
