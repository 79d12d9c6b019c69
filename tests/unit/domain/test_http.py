"""Requests and responses as values, and the error that an answer can be."""

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
def test_a_method_that_would_break_the_line_is_refused(method: str) -> None:
    """White space, controls and non-ASCII never reach the request's first line."""
    with pytest.raises(ValueError, match="is not a method") as caught:
        Request(method)

    assert str(caught.value) == (
        f"{method.removeprefix('/')!r} is not a method: it must be ASCII without spaces or controls"
    )


def test_a_request_is_a_first_attempt_without_a_body_unless_it_says_so() -> None:
    """The defaults are those of the handshake."""
    request = Request("Plugin.Activate")

    assert (request.body, request.headers, request.length, request.attempt) == (b"", {}, None, 1)
    assert request.read() == b""
    assert request.json() is None


def test_a_requests_body_is_read_whole() -> None:
    """A body in chunks comes out as one."""
    assert Request("M.x", [b'{"a"', b": 1}", b"\n"]).read() == b'{"a": 1}\n'


def test_a_requests_body_is_read_as_json() -> None:
    """A served plugin reads arguments as leniently as a host reads answers."""
    assert Request("M.x", b'{"a": 1} and more').json() == {"a": 1}
    with pytest.raises(ValueError, match="Expecting value"):
        Request("M.x", b"nope").json()


def read_all(response: Response, size: int) -> list[bytes]:
    """What successive reads of a response's body give."""
    return list(iter(lambda: response.body.read(size), b""))


@pytest.mark.parametrize("given", [bytes, lambda data: [data], BytesIO])
def test_a_responses_body_is_read_bit_by_bit(given: Callable[[bytes], Content | Body]) -> None:
    """However a body was given, reads are of the size asked for, and end with nothing."""
    response = Response(200, given(b"abcdef"))

    assert read_all(response, 4) == [b"abcd", b"ef"]
    assert response.body.read(4) == b""
    response.body.close()


def test_chunks_come_as_they_are_and_never_empty() -> None:
    """A read gives what is there; an empty chunk is not taken for the end."""
    response = Response(200, [b"ab", b"", b"", b"cde", b""])

    assert read_all(response, 2) == [b"ab", b"cd", b"e"]


def test_a_file_is_read_and_not_taken_line_by_line() -> None:
    """An object with ``read`` is the body itself."""
    body = BytesIO(b"one\ntwo\n")

    assert Response(200, body).body is body


def test_closing_a_body_closes_the_generator_behind_it() -> None:
    """A body that is made on the way is closed when the rest is not wanted."""
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


def test_closing_a_list_of_chunks_needs_nothing() -> None:
    """A body without anything to close may be closed all the same, twice."""
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
def test_the_message_is_the_plugins_err_or_its_text(body: bytes, message: str) -> None:
    """A non-empty string ``Err`` is the message; whatever else came is shown as text."""
    error = status_error(500, "M.x", body)

    assert (error.status, error.method, error.message) == (500, "M.x", message)
    assert str(error) == f"M.x: {message}"


def test_a_large_chunk_is_read_bit_by_bit_without_being_copied() -> None:
    """Reading a body's one large chunk takes the memory of what is read, each time."""
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


def test_an_errors_text_has_a_bound_of_its_own() -> None:
    """One mebibyte of it is read at most, whatever an answer may hold."""
    assert MAX_ERROR_BYTES == 1024 * 1024


def test_no_answer_is_a_connection_that_was_reset() -> None:
    """An app that gives none says why; its host would see the number that a kernel gives."""
    error = NoAnswerError("the script is used up")

    assert isinstance(error, ConnectionResetError)
    assert (error.errno, error.strerror) == (errno.ECONNRESET, "the script is used up")


def test_no_answer_can_be_copied_and_pickled() -> None:
    """It passes between threads and processes, and is what it was."""
    error = NoAnswerError("the script is used up")

    for again in (copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  our own bytes
        assert isinstance(again, NoAnswerError)
        assert (again.args, str(again)) == (error.args, str(error))
