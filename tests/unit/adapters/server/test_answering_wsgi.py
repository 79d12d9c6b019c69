"""Requests that come through WSGI, as an application sees them."""

import io
from typing import Any

import pytest

from moby_plugins.adapters.server.answering import SMALL_BYTES
from moby_plugins.domain.http import CHUNK_BYTES, Request, Response
from moby_plugins.serving import wsgi
from tests.cases import every
from tests.unit.adapters.server.wsgi_call import Answer, raising


class Receiver:
    """An app that keeps its request, and responds with the request's body."""

    def __init__(self) -> None:
        self.request: Request | None = None

    def __call__(self, request: Request) -> Response:
        self.request = request
        return Response(200, request.read())


class BrokenInput(io.RawIOBase):
    """A connection on which reading fails."""

    def read(self, _: int = -1, /) -> bytes:
        raise TimeoutError("timed out")


@pytest.mark.parametrize(
    ("query", "method"),
    [("", "Greeter.Greet"), ("id=a/b&parent=", "Greeter.Greet?id=a/b&parent=")],
)
def test_path_and_query_are_the_method(query: str, method: str) -> None:
    """The method is the path without its slash, and the query where there is one."""
    receiver = Receiver()

    Answer(receiver, QUERY_STRING=query)

    assert receiver.request is not None
    assert receiver.request.method == method


def test_headers_of_a_request_have_their_names_in_http() -> None:
    """The app sees ``User-Agent``, and not ``HTTP_USER_AGENT`` as in the WSGI environ."""
    receiver = Receiver()

    Answer(receiver, HTTP_USER_AGENT="Go", CONTENT_TYPE="application/json")

    assert receiver.request is not None
    assert receiver.request.headers == {"User-Agent": "Go", "Content-Type": "application/json"}


@pytest.mark.parametrize("size", [0, 5, SMALL_BYTES])
def test_a_small_body_arrives_as_bytes(size: int) -> None:
    """Up to 1 MiB a body is read at once."""
    receiver = Receiver()

    Answer(receiver, body=b"x" * size)

    assert receiver.request is not None
    assert receiver.request.body == b"x" * size
    assert receiver.request.length == size


def test_a_large_body_arrives_in_chunks() -> None:
    """Over 1 MiB a body is read while the app reads it, 64 KiB at a time."""
    sizes: list[int] = []

    def app(request: Request) -> Response:
        assert not isinstance(request.body, bytes)
        sizes.extend(len(chunk) for chunk in request.body)
        return Response(200, b"")

    Answer(app, body=b"x" * (SMALL_BYTES + 1))

    assert sizes == [CHUNK_BYTES] * 16 + [1]


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""},
        {"HTTP_TRANSFER_ENCODING": "Chunked", "CONTENT_LENGTH": "2"},
        {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    ],
)
def test_a_body_of_unknown_length_is_read_to_its_end(environ: dict[str, Any]) -> None:
    """A chunked body ends where the server says, whatever a Content-Length says."""
    answer = Answer(Receiver(), body=b"chunks", **environ)

    assert b"".join(answer.chunks) == b"chunks"


def test_no_body_is_read_without_a_content_length() -> None:
    """A request without a length that is not chunked has no body, and reading could hang."""
    answer = Answer(Receiver(), body=b"the next request", CONTENT_LENGTH="")

    assert answer.chunks == []


def test_no_more_of_a_body_is_read_than_its_content_length() -> None:
    """The bytes behind the body belong to the next request."""
    assert Answer(Receiver(), body=b"bodynext", CONTENT_LENGTH="4").chunks == [b"body"]


@every(
    ("environ", "message"),
    [
        (
            {"body": b"ab", "CONTENT_LENGTH": "3"},
            "the request's body is cut off: it lacks 1 of the 3 bytes of its Content-Length",
        ),
        ({"CONTENT_LENGTH": "-5"}, "'-5' is not a Content-Length"),
        ({"CONTENT_LENGTH": "1_0"}, "'1_0' is not a Content-Length"),
        (
            {"CONTENT_LENGTH": "3", "wsgi.input": BrokenInput()},
            "the request's body cannot be read: timed out",
        ),
        (
            {"PATH_INFO": "/a b"},
            "'a b' is not a method: it must be ASCII without spaces or controls",
        ),
        (
            {"PATH_INFO": "/"},
            "'' is not a method: it must be ASCII without spaces or controls",
        ),
    ],
)
def test_a_request_that_cannot_be_read_gets_status_400(
    environ: dict[str, Any], message: str
) -> None:
    """The response has the reason, a bad path, length or body, and the app is not called."""
    answer = Answer(raising(AssertionError("called")), **environ)

    assert (answer.status, answer.error) == ("400 Bad Request", message)


def test_a_large_body_that_is_cut_off_gets_status_400() -> None:
    """The app's reading fails where the body breaks off, and the response has the reason."""
    answer = Answer(Receiver(), body=b"ab", CONTENT_LENGTH=str(SMALL_BYTES + 1))

    lacks = f"it lacks {SMALL_BYTES - 1} of the {SMALL_BYTES + 1} bytes"
    error = f"the request's body is cut off: {lacks} of its Content-Length"
    assert (answer.status, answer.error) == ("400 Bad Request", error)


@pytest.mark.parametrize("environ", [{}, {"REMOTE_ADDR": "127.0.0.1"}, {"REMOTE_ADDR": "::1"}])
def test_a_request_with_origin_is_refused_over_tcp(environ: dict[str, Any]) -> None:
    """A browser sends Origin for a web page, which must not reach a plugin on TCP: status 403."""
    answer = Answer(raising(AssertionError("called")), HTTP_ORIGIN="null", **environ)

    assert answer.status == "403 Forbidden"
    assert answer.error == "a request with Origin is refused"


def test_a_request_with_origin_is_accepted_on_a_unix_socket() -> None:
    """No web page can reach a UNIX socket, for which servers set an empty ``REMOTE_ADDR``."""
    answer = Answer(Receiver(), HTTP_ORIGIN="null", REMOTE_ADDR="")

    assert answer.status == "200 OK"


@every("size", [1001, 70_000, SMALL_BYTES, SMALL_BYTES + 1])
def test_a_body_that_is_read_whole_must_not_exceed_max_request_bytes(size: int) -> None:
    """A larger body gets status 413, but an app can read it in parts."""
    body = b"x" * size
    bounded = wsgi(Receiver(), max_request_bytes=1000)
    assert called(bounded, body) == "413"

    def in_parts(request: Request) -> Response:
        received = 0
        while part := request.read(100):
            received += len(part)
        return Response(200, b"%d" % received)

    assert called(wsgi(in_parts, max_request_bytes=1000), body) == "200"
    assert called(wsgi(Receiver(), max_request_bytes=size), body) == "200"


def called(served: Any, body: bytes) -> str:
    """The status of the response to a call with a body."""
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/M.x",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    for _ in served(environ, lambda status, _headers: statuses.append(status)):
        pass
    return statuses[0][:3]
