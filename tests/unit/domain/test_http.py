"""Requests and responses as values, and the errors that error responses become."""

import errno
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from copy import copy
from io import BytesIO

import pytest

from moby_plugins.domain.http import (
    MAX_ERROR_BYTES,
    Body,
    Content,
    NoAnswerError,
    Request,
    Response,
    check_method,
    status_error,
)
from tests.cases import every


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ("VolumeDriver.Create", "VolumeDriver.Create"),
        ("/VolumeDriver.Create", "VolumeDriver.Create"),
        ("M.x?key=value", "M.x?key=value"),
        ("!~", "!~"),
    ],
)
def test_a_method_loses_one_leading_slash(given: str, method: str) -> None:
    """With or without its slash a method is the same."""
    assert check_method(given) == method
    assert Request(given).method == method


@every("method", ["", "/", "M x", "M\r\nHost: evil", "M\n", "M\0", "M\t", "M\x7f", "Mü", "M\u00a0"])
def test_a_method_that_would_break_the_request_line_is_refused(method: str) -> None:
    """White space, controls and non-ASCII never reach the request's first line."""
    with pytest.raises(ValueError, match="is not a method") as caught:
        Request(method)

    assert str(caught.value) == (
        f"{method.removeprefix('/')!r} is not a method: it must be ASCII without spaces or controls"
    )


def test_a_request_is_by_default_a_first_attempt_without_a_body() -> None:
    """These defaults are what the handshake ``Plugin.Activate`` needs."""
    request = Request("Plugin.Activate")

    assert (request.body, request.headers, request.length, request.attempt) == (b"", {}, None, 1)
    assert request.read() == b""
    assert request.json() is None


def test_a_requests_body_is_read_whole() -> None:
    """A body in chunks comes out as one."""
    assert Request("M.x", [b'{"a"', b": 1}", b"\n"]).read() == b'{"a": 1}\n'


def test_a_requests_body_is_read_as_json() -> None:
    """Text after the first value is ignored, and a body that is not JSON is a ``ValueError``."""
    assert Request("M.x", b'{"a": 1} and more').json() == {"a": 1}
    with pytest.raises(ValueError, match="Expecting value"):
        Request("M.x", b"nope").json()


def read_all(response: Response, size: int) -> list[bytes]:
    """What successive reads of a response's body give."""
    return list(iter(lambda: response.body.read(size), b""))


@pytest.mark.parametrize("given", [bytes, lambda data: [data], BytesIO])
def test_the_body_of_a_response_is_read_in_parts(given: Callable[[bytes], Content | Body]) -> None:
    """However the body was given, a read returns the size asked for, and ``b""`` at the end."""
    response = Response(200, given(b"abcdef"))

    assert read_all(response, 4) == [b"abcd", b"ef"]
    assert response.body.read(4) == b""
    response.body.close()


def test_empty_chunks_in_the_body_of_a_response_are_skipped() -> None:
    """A read returns bytes of one chunk; an empty chunk is not taken for the end of the body."""
    response = Response(200, [b"ab", b"", b"", b"cde", b""])

    assert read_all(response, 2) == [b"ab", b"cd", b"e"]


def test_a_file_is_the_body_of_a_response_itself() -> None:
    """An object with ``read`` is read, and not iterated over line by line."""
    body = BytesIO(b"one\ntwo\n")

    assert Response(200, body).body is body


def test_closing_a_body_closes_the_generator_of_its_chunks() -> None:
    """A generator ends as soon as the rest of its chunks is not wanted."""
    ended: list[str] = []

    def chunks() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            ended.append("closed")

    response = Response(200, chunks())
    first = response.body.read(10)
    response.body.close()

    assert (first, ended) == (b"a", ["closed"])
    assert response.body.read(10) == b""


def test_a_body_made_of_a_list_of_chunks_can_be_closed_twice() -> None:
    """A list of chunks has nothing to close, and closing it is no error."""
    body = Response(200, [b"a"]).body

    body.close()
    body.close()


@every(
    ("body", "message"),
    [
        (b'{"Err": "no such volume"}', "no such volume"),
        (b'{"ERR": "loud"}', "loud"),
        (b'{"Err": ""}', '{"Err": ""}'),
        (b'{"Err": 5}', '{"Err": 5}'),
        (b'{"Err": null}', '{"Err": null}'),
        (b'{"Error": "other key"}', '{"Error": "other key"}'),
        (b'["Err"]', '["Err"]'),
        (b'"Err"', '"Err"'),
        (b" page not found\n", "page not found"),
        (b"", ""),
        (b"caf\xe9", "caf\ufffd"),
        (b'{"Err": "cut', '{"Err": "cut'),
        (b'{"Err": "x"} junk', '{"Err": "x"} junk'),
        (b'{"Err": "x"}{"Err": "y"}', '{"Err": "x"}{"Err": "y"}'),
        (b' {"Err": "x"} \r\n\t', "x"),
    ],
)
def test_the_message_of_an_error_response_is_its_err_or_else_its_text(
    body: bytes, message: str
) -> None:
    """``Err`` counts if it is a non-empty string, and only white space follows the JSON."""
    error = status_error(500, "M.x", body)

    assert (error.status, error.method, error.message) == (500, "M.x", message)
    assert str(error) == f"M.x: {message}"


def test_a_large_chunk_is_read_in_parts_without_being_copied() -> None:
    """Each read of a chunk of 4 MiB takes memory only for the bytes that it returns."""
    response = Response(200, [bytes(4 << 20)])
    response.body.read(1)

    tracemalloc.start()
    try:
        size = 1
        while data := response.body.read(64 << 10):
            size += len(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size == 4 << 20
    assert peak < 1 << 20


def test_at_most_one_mebibyte_of_an_error_response_is_read() -> None:
    """The bound on the text of an error does not depend on the bound on other responses."""
    assert MAX_ERROR_BYTES == 1024 * 1024


def test_no_answer_error_is_a_connection_reset_error_with_a_reason() -> None:
    """An app raises ``NoAnswerError`` to send no response; its errno is that of a real reset."""
    error = NoAnswerError("the script is used up")

    assert isinstance(error, ConnectionResetError)
    assert (error.errno, error.strerror) == (errno.ECONNRESET, "the script is used up")


def test_no_answer_error_can_be_copied_and_pickled() -> None:
    """The copy has the same class, arguments and text."""
    error = NoAnswerError("the script is used up")

    for again in (copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  our own bytes
        assert isinstance(again, NoAnswerError)
        assert (again.args, str(again)) == (error.args, str(error))
