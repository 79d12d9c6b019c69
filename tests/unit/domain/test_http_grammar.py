"""Which heads are refused, from bytes; the whole table is tried over sockets."""

import re

import pytest

from moby_plugins.domain.http_grammar import (
    REQUEST_LINE,
    ChunkLines,
    Trailers,
    begins_final_response,
    check_begun,
    check_framing,
    check_heads,
    check_interim,
    check_request_framing,
    is_final,
    plain_head,
    response_size,
)
from tests.cases import every
from tests.chunks import ROWS as CHUNKS
from tests.heads import READ, REFUSED, ROWS

OK = b"HTTP/1.1 200 OK\r\n"
EARLY_HINTS = b"HTTP/1.1 103 X\r\nLink: y\r\n\r\n"


@every("row", [name for name, row in ROWS.items() if row.ours == READ])
def test_a_head_that_is_read_is_no_error(row: str) -> None:
    """Whatever follows it."""
    check_heads(ROWS[row].response)


@every("row", [name for name, row in ROWS.items() if row.ours == READ])
def test_a_head_is_no_error_wherever_it_stops(row: str) -> None:
    """Each beginning of it may become a head, whatever of it was checked before."""
    response = ROWS[row].response
    head = response[: check_heads(response)]
    for end in range(min(len(head), 400)):
        check_begun(head[:end], max(end - 1, 0))
        check_begun(head[:end], 0)


@every(
    "begun",
    [
        (b"X", 0),
        (b"HTTP/2", 5),
        (b"HTTP/1.1 20 ", 11),
        (OK + b":", len(OK)),
        (OK + b"X Y", len(OK) + 2),
        (OK + b"X : ", len(OK) + 2),
        (OK + b"X: y\r\n z", len(OK) + 6),
        (OK + b"X: y\rz", len(OK) + 5),
        (b"HTTP/1.1 200 O\0\r\nX", 3),
        (EARLY_HINTS + b"X: y", len(EARLY_HINTS)),
        (EARLY_HINTS.replace(b"\r", b"") + b"X: y", 9),
    ],
)
def test_a_line_that_nothing_can_complete_is_refused(begun: tuple[bytes, int]) -> None:
    """Before it ends: the status line of a head, or one of its headers."""
    with pytest.raises(ValueError, match=r"not a status line|a malformed header line"):
        check_begun(*begun)


def test_only_what_is_new_of_a_head_is_checked() -> None:
    """So a head that comes byte by byte is not read again and again."""
    check_begun(b"nonsense\r\nX: y", 14)


# What is wrong with these is told by their framing, or by HTTP itself.
BY_FRAMING = {name for name in ROWS if "length" in name or "cod" in name or "chunk" in name} | {
    "an interim response that is to be the last",
    "an interim response that closes by another name",
    "an interim response that closes with more",
    "100 headers",
}


@every(
    "row", [name for name, row in ROWS.items() if row.ours == REFUSED and name not in BY_FRAMING]
)
def test_a_head_that_is_refused_says_why(row: str) -> None:
    """The line at fault, or that there is no end."""
    with pytest.raises(ValueError, match=r"not a status line|a malformed header line|a head of"):
        check_heads(ROWS[row].response)


def test_headers_without_an_end_are_refused() -> None:
    """They are not taken for whole where the bytes end."""
    with pytest.raises(ValueError, match=r"^no empty line ends its headers$"):
        check_heads(OK + b"X: y\r\n")


def test_a_head_that_most_responses_have_takes_no_parser() -> None:
    """Its status, its length, and its headers without the white space around their values."""
    text = (
        b"HTTP/1.1 404 Not Found\r\nX-A:\t1 \r\nDate: Thu, 26 Nov 2026 10:11:12 GMT\r\n"
        b"cOntent-lEngth:  03 \r\nContent-Type: a/b\r\nx-a:X\xe9\xa0X\r\nX-B:\r\n\r\n"
    )

    head = plain_head(text + b"[1]\r\n\r\n")

    assert head is not None
    assert (head.text, head.status, head.length) == (text, 404, 3)
    assert list(head.lines()) == [
        ("X-A", "1"),
        ("Date", "Thu, 26 Nov 2026 10:11:12 GMT"),
        ("cOntent-lEngth", "03"),
        ("Content-Type", "a/b"),
        ("x-a", "X\xe9\xa0X"),
        ("X-B", ""),
    ]


@every("row", ROWS)
def test_a_head_that_takes_no_parser_is_none_that_is_refused(row: str) -> None:
    """Where it is read without one, all that parsers look at is as it should be."""
    response = ROWS[row].response

    head = plain_head(response)

    assert head is None or ROWS[row].ours == READ
    assert head is None or check_heads(response) == len(head.text)


LENGTH = b"Content-Length: 3\r\n"


@every(
    "head",
    [
        b"",
        b"\r\n\r\n",
        OK + LENGTH,
        OK + LENGTH + b"\r",
        OK + b"\r\n",
        OK + LENGTH + LENGTH + b"\r\n",
        OK + LENGTH + b"Content-length : 3\r\n\r\n",
        OK + LENGTH + b"Transfer-encoding: chunked\r\n\r\n",
        OK + b"TRANSFER-ENCODING: chunked\r\n" + LENGTH + b"\r\n",
        OK + LENGTH + b"Connection: keep-alive\r\n\r\n",
        OK + b"connection: close\r\n" + LENGTH + b"\r\n",
        OK + LENGTH + b"Proxy-Connection: close\r\n\r\n",
        OK + b"Content-Length: 1234567890123456789\r\n\r\n",
        OK + b"Content-Length: -3\r\n\r\n",
        OK + b"Content-Length: 3, 3\r\n\r\n",
        OK + LENGTH + b" folded\r\n\r\n",
        OK + LENGTH + b"X: a\rb\r\n\r\n",
        OK + LENGTH + b"X: a\0b\r\n\r\n",
        OK + LENGTH + b"\n[1]\r\n\r\n",
        OK + LENGTH + b"X: y\r\n" * 99 + b"\r\n",
        OK + LENGTH + b"X: " + b"y" * 1024 + b"\r\n\r\n",
        EARLY_HINTS + OK + LENGTH + b"\r\n",
        b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 101 X\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 204 X\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 304 X\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 200 O\0K\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1  200 OK\r\n" + LENGTH + b"\r\n",
        b"HTTP/2.0 200 OK\r\n" + LENGTH + b"\r\n",
    ],
)
def test_any_other_head_is_left_to_a_parser(head: bytes) -> None:
    """What is not whole, is open to doubt, or decides over more than this response."""
    assert plain_head(head + b"[1]") is None


@every("status", [101, 200, 204, 304, 500, 999])
def test_these_are_final(status: int) -> None:
    """Nothing of ours follows a switch of protocols."""
    assert is_final(status)


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_these_are_interim(status: int) -> None:
    """Another response follows."""
    assert not is_final(status)


@every(
    "data",
    [
        OK,
        OK[:12],
        b"HTTP/1.1 2",
        b"HTTP/1.1 413 ",
        b"HTTP/1.0 500 X\r\n",
        b"HTTP/1.1 101 X\r\n",
        EARLY_HINTS + b"HTTP/1.1 4",
        EARLY_HINTS * 3 + OK,
        EARLY_HINTS.replace(b"\r", b"") + OK,
        b"SSH-2.0-OpenSSH",
        b"S",
        b"\r\n",
        EARLY_HINTS + b"garbage",
        EARLY_HINTS * 16,
        b"HTTP/1.1 1xx",
    ],
)
def test_what_ends_the_sending_of_a_request(data: bytes) -> None:
    """A final status line as soon as it can be told from another, and what is not a response."""
    assert begins_final_response(data)


@every(
    "data",
    [
        b"",
        b"H",
        b"HTTP/1.1 ",
        b"HTTP/1.1 1",
        b"HTTP/1.1 10",
        b"HTTP/1.1 100",
        EARLY_HINTS,
        EARLY_HINTS[:-2],
        EARLY_HINTS * 3 + b"HTTP/1.1 1",
        b"HTTP/1.1 100\r\n\r\n",
    ],
)
def test_what_does_not_end_the_sending_of_a_request(data: bytes) -> None:
    """Interim responses, whole or not, and the beginning that all responses share."""
    assert not begins_final_response(data)


def test_a_long_beginning_takes_no_long_time() -> None:
    """What is looked at again and again is looked at once."""
    assert not begins_final_response(b"HTTP/1.1 103 X\r\n" + b"X: y\r\n" * 10_000)


@every("value", ["1", " 1\t", "0", "000", "9" * 18])
def test_a_plain_length_is_one(value: str) -> None:
    """Up to 18 digits, and the white space that a header may have."""
    check_framing([value], None)


@every(
    ("lengths", "codings", "told"),
    [
        (["1", "1"], None, "bad Content-Length: '1, 1'"),
        (["X1X"], None, "bad Content-Length: 'X1X'"),
        (["\xa01"], None, r"bad Content-Length: '\xa01'"),
        (["-1", "2", "3"], ["gzip"], "bad Content-Length: '-1, 2, 3'"),
        (["1"], ["gzip", "chunked"], "unknown Transfer-Encoding: 'gzip, chunked'"),
        (None, ["chunked", "chunked"], "unknown Transfer-Encoding: 'chunked, chunked'"),
    ],
)
def test_a_response_leaves_no_doubt_about_its_end(
    lengths: list[str] | None, codings: list[str] | None, told: str
) -> None:
    """What is at fault is shown."""
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        check_framing(lengths, codings)


def test_a_length_beside_chunks_is_ignored() -> None:
    """The encoding is known in any case."""
    check_framing(["7"], ["Chunked"])


@every(
    ("length", "coding", "told"),
    [
        (b"1", b"chunked", "both Content-Length and Transfer-Encoding"),
        (b"x", None, "bad Content-Length: 'x'"),
        (None, b"gzip\xe9", "unknown Transfer-Encoding: 'gzip\xe9'"),
        (b"\xb2", None, "bad Content-Length: '\xb2'"),
    ],
)
def test_a_request_says_once_how_long_it_is(
    length: bytes | None, coding: bytes | None, told: str
) -> None:
    """And in one way."""
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        check_request_framing(length, coding)


@every(
    ("data", "size"),
    [
        (b"", 0),
        (OK, 0),
        (OK + LENGTH, 0),
        (OK + LENGTH + b"\r", 0),
        (OK + LENGTH + b"\r\n", len(OK + LENGTH) + 5),
        (OK + LENGTH + b"\r\n[1]next", len(OK + LENGTH) + 5),
        # These take more than a look: a long head, one with LF alone, one that closes.
        (OK + LENGTH + b"X: " + b"y" * 2000 + b"\r\n\r\n", len(OK + LENGTH) + 2010),
        (b"HTTP/1.1 200 OK\nContent-Length: 12\n\n", 36 + 12),
        (b"HTTP/1.0 500 X\r\ncontent-length:0\r\n\r\n", 36),
        (OK + LENGTH + b"Connection: close\r\n\r\n", len(OK + LENGTH) + 24),
        # Only a parser finds the end of these.
        (OK + b"\r\n", None),
        (OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n", None),
        (OK + LENGTH + LENGTH + b"\r\n", None),
        (OK + b"Content-Length: -3\r\n\r\n", None),
        (EARLY_HINTS + OK + LENGTH + b"\r\n", None),
        (EARLY_HINTS.replace(b"\r\n\r", b"\r\nContent-Length: 3\r\n\r"), None),
        (b"garbage\n\r\n", None),
        (b"garbage\n\n", None),
    ],
)
def test_a_response_with_a_length_says_how_large_it_is(data: bytes, size: int | None) -> None:
    """Nothing until its head is complete, and nothing of one that only a parser can end."""
    assert response_size(data) == size


def test_an_interim_response_does_not_close_the_connection() -> None:
    """Whatever else its connection options are, and in any case."""
    check_interim([], None, None)
    check_interim(["keep-alive, Upgrade", "x"], ["00"], [])
    for options in (["close"], ["keep-alive, Close"], ["x", "CLOSE"]):
        with pytest.raises(ValueError, match=r"^an interim response with Connection: close$"):
            check_interim(options, None, None)
    for lengths, codings in ((["1"], None), (None, ["chunked"]), (["0"], ["gzip"])):
        with pytest.raises(ValueError, match=r"^an interim response with a body$"):
            check_interim([], lengths, codings)


@every(
    "line",
    [
        b"POST /M.x HTTP/1.1\r\n",
        b"POST /\xff HTTP/1.0\r\n",
        b"GET http://h/x HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n",
        b"M-SEARCH! h:1 HTTP/1.1\r\n",
    ],
)
def test_a_request_line_is_a_verb_a_target_and_a_version(line: bytes) -> None:
    """Which verbs and targets are answered, and how, is the server's to say."""
    assert REQUEST_LINE.fullmatch(line)


@every(
    "line",
    [
        b"",
        b"\r\n",
        b"POST /M.x HTTP/1.1\n",
        b"POST  /M.x HTTP/1.1\r\n",
        b" POST /M.x HTTP/1.1\r\n",
        b"POST /M.x HTTP/1.1 \r\n",
        b"POST /M.x HTTP/1.2\r\n",
        b"POST /M.x HTTP/2.0\r\n",
        b"POST /M.x http/1.1\r\n",
        b"POST /M.x\r\n",
        b"POST /M\0x HTTP/1.1\r\n",
        b"POST /M\rx HTTP/1.1\r\n",
        b"POST /M x HTTP/1.1\r\n",
        b"post /M.x HTTP/1.1\r\n",
        b"P\xffST /M.x HTTP/1.1\r\n",
        b"P@ST /M.x HTTP/1.1\r\n",
        b"PO/ST /M.x HTTP/1.1\r\n",
        b'P"OST /M.x HTTP/1.1\r\n',
        b"POST M.x HTTP/1.1\r\n",
        b"GET * HTTP/1.1\r\n",
        b"CONNECT /M.x HTTP/1.1\r\n",
        b"CONNECT http://h/x HTTP/1.1\r\n",
    ],
)
def test_what_is_no_request_line_is_refused_by_both_servers(line: bytes) -> None:
    """It is their only rule for one."""
    assert not REQUEST_LINE.fullmatch(line)


def refuses(body: bytes, size: int) -> bool:
    """Whether a line among chunks is refused, where the body comes in pieces of ``size``."""
    lines = ChunkLines()
    try:
        for start in range(0, len(body), size):
            lines.check(body[start : start + size])
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("size", [1, 2, 7])
def test_lines_among_chunks_are_checked_however_they_come(size: int) -> None:
    """What is read is not refused; and a line that is none is found in pieces of any size."""
    for name, row in CHUNKS.items():
        body = row.of(b"1")
        refused = refuses(body, size)

        assert refused == refuses(body, 1 << 20), name
        assert not (refused and row.ours == READ), name


def refusal(body: bytes) -> str:
    """Why a body in chunks is refused."""
    with pytest.raises(ValueError, match=r"chunk|trailer") as caught:
        ChunkLines().check(body)
    return str(caught.value)


def test_what_is_wrong_among_chunks_is_shown() -> None:
    """The line, and no more than 80 characters of it."""
    assert refusal(b"zz\r\n") == r"not a chunk size: b'zz\r\n'"
    assert refusal(b"0\r\nbad line\r\n") == r"a malformed trailer: b'bad line\r\n'"
    assert refusal(b"y" * 99 + b"\r\n") == f"not a chunk size: b'{'y' * 78}"
    assert refusal(b"0\r\n" + b"y" * 99 + b"\r\n") == f"a malformed trailer: b'{'y' * 78}"
    assert refusal(b"0\r\n" + b"X: y\r\n" * 101) == "more than 99 trailers"


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_among_chunks_has_a_bound(end: bytes) -> None:
    """Whether its end has come or not."""
    line = b"1;" + b"x" * 4092 + b"\r\n"
    ChunkLines().check(line)
    ChunkLines().check(line[:-1])

    assert refusal(b"1" * 4097 + end) == "a line of more than 4096 bytes among chunks"


def test_as_many_trailers_are_skipped_as_the_bound_says() -> None:
    """And what follows the empty line after them is none of the body's."""
    ChunkLines().check(b"a\r\n" + b"\n" * 10 + b"\r\n0\r\n" + b"X: y\r\n" * 99 + b"\r\nnext\n")


@every("row", [name for name, row in CHUNKS.items() if row.ours == READ])
def test_a_body_in_chunks_is_no_error_wherever_it_stops(row: str) -> None:
    """Each beginning of it may become a whole one."""
    body = CHUNKS[row].of(b"1")
    for end in range(min(len(body), 400)):
        ChunkLines().check(body[:end])


@every("begun", [b"-", b"x", b"1 x", b"1;=", b"1\r\n1\r\ng", b"0\r\n:", b"0\r\nX Y", b"0\r\n X"])
def test_a_line_among_chunks_that_nothing_can_complete_is_refused(begun: bytes) -> None:
    """Before it ends, however its bytes come."""
    with pytest.raises(ValueError, match="a malformed line among chunks"):
        ChunkLines().check(begun)
    with pytest.raises(ValueError, match="a malformed line among chunks"):
        check_each(begun)


def check_each(body: bytes) -> None:
    """Check a body whose bytes come one by one."""
    lines = ChunkLines()
    for position in range(len(body)):
        lines.check(body[position : position + 1])


def test_white_space_around_a_value_is_spaces_and_tabs_alone() -> None:
    """Another character is a part of it, which text may take for space."""
    head = plain_head(b"HTTP/1.1 200 OK\r\nX: \t\xa0y\x85 \t\r\nContent-Length: 0\r\n\r\n")
    assert head is not None
    assert next(iter(head.lines())) == ("X", "\xa0y\x85")


def test_a_line_of_one_letter_is_no_header() -> None:
    """It is told, though the head does not end."""
    with pytest.raises(ValueError, match=r"^a malformed header line: b'X'$"):
        check_heads(OK + b"X\r\n\r\n".replace(b"\r", b""))


def test_sixteen_interim_responses_end_the_sending() -> None:
    """One less does not, nor the beginning of one that is not whole."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert not begins_final_response(interim * 15)
    assert not begins_final_response(interim * 15 + interim[:12])
    assert begins_final_response(interim * 16)


@every(
    "lines",
    [
        [b"X: y", b"X: y"],
        [b"Content-Length: 1"],
        [b"content-length: \t1 ", b"Transfer-Encoding: gzip"],
        [b"TRANSFER-ENCODING: x", b"transfer-encoding: y"],
        [b"Content-Lengths: x", b"Content-Length: 2"],
    ],
)
def test_trailers_end_with_an_empty_line(lines: list[bytes]) -> None:
    """Whatever they are called."""
    trailers = Trailers()
    assert [trailers.ended_by(line + b"\r\n") for line in lines] == [False] * len(lines)
    assert trailers.ended_by(b"\r\n")


@every(
    ("lines", "name"),
    [
        ([b"Content-Length: 1", b"content-length: 1"], "Content-Length"),
        ([b"Content-Length:"], "Content-Length"),
        ([b"CONTENT-LENGTH: X1"], "Content-Length"),
        ([b"Content-Length: 1X"], "Content-Length"),
        ([b"transfer-encoding: \t "], "Transfer-Encoding"),
        ([b"X: y", b"Transfer-Encoding:"], "Transfer-Encoding"),
    ],
)
def test_a_trailer_of_which_some_parsers_make_more_is_refused(
    lines: list[bytes], name: str
) -> None:
    """A second or bad length, and an empty encoding."""
    trailers = Trailers()
    for line in lines[:-1]:
        assert not trailers.ended_by(line + b"\r\n")
    with pytest.raises(ValueError, match=f"^a bad trailer {name}$"):
        trailers.ended_by(lines[-1] + b"\r\n")


def test_the_size_of_a_chunk_is_hexadecimal() -> None:
    """As many bytes are skipped, whatever they are."""
    lines = ChunkLines()
    lines.check(b"1f\r\n" + b"\n" * 31 + b"\r\n10\r\n" + b":" * 16 + b"\r\n")
    with pytest.raises(ValueError, match="not a chunk size: b'g"):
        lines.check(b"g\r\n")


def test_the_first_malformed_line_is_told() -> None:
    """A status line with its text, a header without."""
    with pytest.raises(ValueError, match=r"^not a status line: b'ICY 200'$"):
        check_begun(b"ICY 200", 3)
    with pytest.raises(ValueError, match=r"^a malformed header line$"):
        check_begun(OK + b"A: b\r\nX Y", len(OK) + 8)
