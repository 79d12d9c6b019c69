"""Responses that httptools parses: what is kept of them, and what bounds them."""

import httptools
import pytest

from moby_plugins.adapters.http.heads import RefusedError
from moby_plugins.adapters.http.httptools import ClosedEarlyError, ResponseParser
from moby_plugins.domain.http_grammar import MAX_HEAD_BYTES, MAX_HEADERS, plain_head
from tests.cases import every
from tests.heads import ROWS

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"X-A: 1\r\nContent-Length: 3\r\n\r\n[1]"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def fed(*parts: bytes) -> ResponseParser:
    """An answer of which these parts came."""
    parser = ResponseParser()
    for part in parts:
        parser.feed(part)
    return parser


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("parser", [WHOLE, CHUNKED + b"1\r\n[\r\n2\r\n1]\r\n0\r\nX: y\r\n\r\n"])
def test_a_response_is_parsed_the_same_in_pieces_of_any_size(parser: bytes, size: int) -> None:
    """Its status, body and completeness do not depend on how its bytes arrive."""
    parts = [parser[start : start + size] for start in range(0, len(parser), size)]

    found = fed(*parts)

    assert (found.status, found.take(), found.complete, found.reusable) == (200, b"[1]", True, True)


@every("row", [name for name in ROWS if plain_head(ROWS[name].response)])
def test_a_plain_head_is_read_the_same_with_and_without_httptools(row: str) -> None:
    """One that arrives at once is read without httptools, one that arrives in two parts with it."""
    response = ROWS[row].response
    parsed, plain = fed(response[:20], response[20:]), fed(response)

    assert (plain.status, plain.length, plain.take()) == (200, 1, b"1")
    assert (parsed.status, parsed.length, parsed.take()) == (200, 1, b"1")
    assert plain.headers() == parsed.headers()
    assert (plain.complete, plain.reusable) == (parsed.complete, parsed.reusable)


def test_headers_that_are_received_twice_are_joined() -> None:
    """Each header has one value, whatever the case of its name."""
    found = fed(OK + b"x-a: 1\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n")

    assert found.headers() == {"X-A": "1, 2", "Content-Length": "0"}


@pytest.mark.parametrize(
    ("parts", "answered"),
    [
        ((), False),
        ((b"HTTP/1.1 200 O",), False),
        ((OK,), True),
        ((OK, b"X: y\r\n"), True),
        ((b"HTTP/1.1 103 Hints\r\nLink: x\r\n",), False),
        ((b"HTTP/1.1 103 Hints\r\n\r\n", b"HTTP/1.1 2"), False),
        ((b"HTTP/1.1 103 Hints\r\n\r\n", OK), True),
        ((WHOLE,), True),
    ],
)
def test_a_call_counts_as_answered_once_a_final_status_line_is_whole(
    parts: tuple[bytes, ...], *, answered: bool
) -> None:
    """Interim responses (1xx) and half a status line do not count."""
    assert fed(*parts).answered is answered


@pytest.mark.parametrize("rest", [b"HTTP/1.1 200 OK\r\n\r\n", b"garbage", b"\0"])
def test_after_unexpected_bytes_behind_a_response_the_connection_is_not_reused(rest: bytes) -> None:
    """They are neither part of the response nor the beginning of the next one."""
    found = fed(WHOLE + rest)

    assert (found.take(), found.complete, found.reusable) == (b"[1]", True, False)


@pytest.mark.parametrize(
    "head",
    [b"Connection: close\r\nContent-Length: 0\r\n\r\n", b"\r\n[1]"],
    ids=["it says so", "its end is the body's"],
)
def test_a_connection_that_its_response_ends_is_not_reused(head: bytes) -> None:
    """It ends by ``Connection: close``, or because its end is that of the body."""
    assert not fed(OK + head).reusable


def test_status_101_is_a_response_without_a_body() -> None:
    """It was not asked for, so it is returned like any other, and the connection is not reused."""
    found = fed(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nmore")

    assert (found.status, found.take(), found.complete, found.reusable) == (101, b"", True, False)


@every(
    ("parts", "told"),
    [
        ([b"\r\n"], "an empty line"),
        ([OK + b"X: y\r\n" * (MAX_HEADERS + 2)], "headers"),
        ([OK + b"X: "] + [b"x" * 1000] * (MAX_HEAD_BYTES // 1000 + 1), "a head of more than"),
        ([b"HTTP/1.1 100 X\r\n\r\n" * 16], "interim responses"),
        ([OK + b"Transfer-Encoding: gzip\r\n\r\n"], "Transfer-Encoding"),
    ],
)
def test_a_response_head_that_is_too_large_or_ambiguous_is_refused(
    parts: list[bytes], told: str
) -> None:
    """So are endless interim responses, and a framing that leaves the body's end open."""
    with pytest.raises(RefusedError, match=told):
        fed(*parts)


@pytest.mark.parametrize(
    "parts",
    [
        [b"0" * 1000] * 5,
        [b"1;" + b"x" * 1000, *[b"x" * 1000] * 5],
        [b"1\r\n1\r\n0\r\n" + b"X: y\r\n" * 200],
        [b"zz\r\n"],
    ],
    ids=["size", "extension", "trailer", "no number"],
)
def test_malformed_or_oversized_framing_of_chunks_fails_the_body_alone(parts: list[bytes]) -> None:
    """The response keeps its status, and reading the body raises the error."""
    found = fed(CHUNKED, *parts)

    assert (found.status, found.complete, found.reusable) == (200, False, False)
    assert isinstance(found.failure, (RefusedError, httptools.HttpParserError))


def test_a_keyboard_interrupt_while_a_response_is_parsed_is_raised() -> None:
    """The parser wraps what a callback raises; only errors of the response are translated."""

    class Interrupted(ResponseParser):
        def on_header(self, name: bytes, value: bytes) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted().feed(CHUNKED)


def test_a_body_of_known_length_is_passed_on_without_a_copy() -> None:
    """Its bytes are counted, and ``room`` is the number of bytes that are missing."""
    found = fed(OK + b"Content-Length: 10\r\n\r\n012")
    rest = b"345678"

    assert (found.take(), found.room, found.complete) == (b"012", 7, False)
    found.feed(rest)
    assert found.take() is rest
    assert (found.room, found.complete) == (1, False)
    found.feed(b"9")
    assert (found.take(), found.room, found.complete, found.reusable) == (b"9", 0, True, True)


def test_bytes_behind_a_body_of_known_length_are_not_part_of_it() -> None:
    """The connection is not reused after them."""
    found = fed(OK + b"Content-Length: 3\r\n\r\n", b"[1]garbage")

    assert (found.take(), found.complete, found.reusable) == (b"[1]", True, False)


@pytest.mark.parametrize(
    ("parts", "error"),
    [((), ClosedEarlyError), ((b"HTTP/1.1 200 O",), ClosedEarlyError), ((OK,), OSError)],
)
def test_a_connection_that_ends_within_the_head_is_an_error(
    parts: tuple[bytes, ...], error: type[Exception]
) -> None:
    """It is ``ClosedEarlyError`` before a whole status line, and ``OSError`` after it."""
    assert type(fed(*parts).ended()) is error


@pytest.mark.parametrize(
    "before",
    [
        (WHOLE,),
        (CHUNKED + b"1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n",),
        (OK + b"Content-Length: 3\r\n\r\n", b"[1]"),
        (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", WHOLE),
        (b"HTTP/1.1 204 None\r\n\r\n",),
    ],
    ids=["whole", "chunked", "counted", "after an interim one", "without a body"],
)
@pytest.mark.parametrize(
    "after",
    [WHOLE, CHUNKED + b"3\r\n[1]\r\n0\r\n\r\n", WHOLE.replace(b"\r\n", b"\n")],
    ids=["whole", "chunked", "lines that end in LF"],
)
def test_a_parser_keeps_nothing_of_the_previous_response(
    before: tuple[bytes, ...], after: bytes
) -> None:
    """After ``begin`` it reads as a new parser does, however the previous body was framed."""
    found = fed(*before)
    assert (found.complete, found.reusable) == (True, True)

    found.begin()

    assert (found.status, found.answered, found.complete, found.take()) == (0, False, False, b"")
    found.feed(after)
    first = fed(after)
    assert (found.status, found.take(), found.complete, found.reusable) == (200, b"[1]", True, True)
    assert (found.headers(), found.length) == (first.headers(), first.length)


def test_lines_of_chunks_must_end_in_crlf_in_every_response() -> None:
    """Lines of a head may end in LF alone, which must not make the reading of chunks lenient."""
    found = fed(CHUNKED + b"3\r\n[1]\r\n0\r\n\r\n")
    found.begin()
    found.feed(CHUNKED + b"3\n[1]\n0\n\n")

    assert found.failure is not None
    assert not found.reusable
