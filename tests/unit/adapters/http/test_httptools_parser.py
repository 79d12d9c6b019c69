"""An answer as httptools parses it: what is kept of it, and what bounds it."""

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
def test_an_answer_is_the_same_however_it_is_cut(parser: bytes, size: int) -> None:
    """Pieces of any size come to the same answer."""
    parts = [parser[start : start + size] for start in range(0, len(parser), size)]

    found = fed(*parts)

    assert (found.status, found.take(), found.complete, found.reusable) == (200, b"[1]", True, True)


@every("row", [name for name in ROWS if plain_head(ROWS[name].response)])
def test_a_parser_makes_the_same_of_a_plain_head(row: str) -> None:
    """A head that comes in two parts, and so is parsed, gives what it gives at once."""
    response = ROWS[row].response
    parsed, plain = fed(response[:20], response[20:]), fed(response)

    assert (plain.status, plain.length, plain.take()) == (200, 1, b"1")
    assert (parsed.status, parsed.length, parsed.take()) == (200, 1, b"1")
    assert plain.headers() == parsed.headers()
    assert (plain.complete, plain.reusable) == (parsed.complete, parsed.reusable)


def test_headers_that_come_twice_are_joined() -> None:
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
def test_it_is_answered_once_a_final_status_line_is_whole(
    parts: tuple[bytes, ...], *, answered: bool
) -> None:
    """Interim answers and half a line do not count."""
    assert fed(*parts).answered is answered


@pytest.mark.parametrize("rest", [b"HTTP/1.1 200 OK\r\n\r\n", b"garbage", b"\0"])
def test_what_follows_an_answer_is_nobodys(rest: bytes) -> None:
    """It is neither part of this answer nor the beginning of the next."""
    found = fed(WHOLE + rest)

    assert (found.take(), found.complete, found.reusable) == (b"[1]", True, False)


@pytest.mark.parametrize(
    "head",
    [b"Connection: close\r\nContent-Length: 0\r\n\r\n", b"\r\n[1]"],
    ids=["it says so", "its end is the body's"],
)
def test_an_answer_that_ends_its_connection_is_not_followed(head: bytes) -> None:
    """No other request is sent where the plugin hangs up."""
    assert not fed(OK + head).reusable


def test_a_switch_of_protocols_is_an_answer_without_a_body() -> None:
    """Status 101 was not asked for: it is told like any other, and the connection given up."""
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
def test_a_head_is_bounded(parts: list[bytes], told: str) -> None:
    """What would go on for ever, or leaves the body's end open, is no answer."""
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
def test_a_body_is_bounded_between_its_parts(parts: list[bytes]) -> None:
    """What is wrong with a body is kept for its reader: the status stands."""
    found = fed(CHUNKED, *parts)

    assert (found.status, found.complete, found.reusable) == (200, False, False)
    assert isinstance(found.failure, (RefusedError, httptools.HttpParserError))


def test_an_interrupt_while_parsing_passes() -> None:
    """Httptools keeps what a callback raises; what is no error of the answer goes on."""

    class Interrupted(ResponseParser):
        def on_header(self, name: bytes, value: bytes) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted().feed(CHUNKED)


def test_a_body_of_known_length_is_counted() -> None:
    """What lacks is asked for, and what came is handed on as it came."""
    found = fed(OK + b"Content-Length: 10\r\n\r\n012")
    rest = b"345678"

    assert (found.take(), found.room, found.complete) == (b"012", 7, False)
    found.feed(rest)
    assert found.take() is rest
    assert (found.room, found.complete) == (1, False)
    found.feed(b"9")
    assert (found.take(), found.room, found.complete, found.reusable) == (b"9", 0, True, True)


def test_what_follows_a_counted_body_is_nobodys() -> None:
    """It is not part of the answer, and no other request is sent."""
    found = fed(OK + b"Content-Length: 3\r\n\r\n", b"[1]garbage")

    assert (found.take(), found.complete, found.reusable) == (b"[1]", True, False)


@pytest.mark.parametrize(
    ("parts", "error"),
    [((), ClosedEarlyError), ((b"HTTP/1.1 200 O",), ClosedEarlyError), ((OK,), OSError)],
)
def test_an_end_before_the_head_is_an_error(
    parts: tuple[bytes, ...], error: type[Exception]
) -> None:
    """Before a status line is whole nothing was answered; after it the answer broke."""
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
def test_a_response_is_read_as_if_it_were_the_first(
    before: tuple[bytes, ...], after: bytes
) -> None:
    """Nothing of the one before is left, whatever its framing was."""
    found = fed(*before)
    assert (found.complete, found.reusable) == (True, True)

    found.begin()

    assert (found.status, found.answered, found.complete, found.take()) == (0, False, False, b"")
    found.feed(after)
    first = fed(after)
    assert (found.status, found.take(), found.complete, found.reusable) == (200, b"[1]", True, True)
    assert (found.headers(), found.length) == (first.headers(), first.length)


def test_chunks_are_read_strictly_in_each_response() -> None:
    """That lines of a head may end in LF does not make those of chunks looser."""
    found = fed(CHUNKED + b"3\r\n[1]\r\n0\r\n\r\n")
    found.begin()
    found.feed(CHUNKED + b"3\n[1]\n0\n\n")

    assert found.failure is not None
    assert not found.reusable
