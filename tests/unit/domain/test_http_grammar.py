"""Which heads and chunk lines are refused, from bytes; other tests try the tables over sockets."""

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
def test_each_valid_head_of_the_table_is_accepted(row: str) -> None:
    """``check_heads`` accepts each readable head of ``tests.heads``, whatever body follows."""
    check_heads(ROWS[row].response)


@every("row", [name for name, row in ROWS.items() if row.ours == READ])
def test_each_beginning_of_a_valid_head_is_accepted(row: str) -> None:
    """The beginning may become a head, however many of its bytes were checked before."""
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
def test_an_incomplete_line_that_cannot_become_valid_is_refused(begun: tuple[bytes, int]) -> None:
    """A status line or header that no further byte can complete is refused before it ends."""
    with pytest.raises(ValueError, match=r"not a status line|a malformed header line"):
        check_begun(*begun)


def test_only_the_new_bytes_of_a_head_are_checked() -> None:
    """A head that comes byte by byte is not checked from its start each time."""
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
def test_each_invalid_head_of_the_table_is_refused_with_the_reason(row: str) -> None:
    """The error names the kind of the malformed line, or says that the head is too long."""
    with pytest.raises(ValueError, match=r"not a status line|a malformed header line|a head of"):
        check_heads(ROWS[row].response)


def test_headers_without_an_end_are_refused() -> None:
    """Headers without an empty line after them are incomplete, even if no more bytes are there."""
    with pytest.raises(ValueError, match=r"^no empty line ends its headers$"):
        check_heads(OK + b"X: y\r\n")


def test_a_usual_response_head_is_read_without_an_http_parser() -> None:
    """``plain_head`` gives the status, the length, and the headers with stripped values."""
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
def test_no_invalid_head_of_the_table_is_read_without_an_http_parser(row: str) -> None:
    """Each head that ``plain_head`` returns passes ``check_heads``, with the same end."""
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
def test_an_unusual_response_head_is_left_to_an_http_parser(head: bytes) -> None:
    """An unusual head is incomplete, ambiguous, long or interim, or is about the connection."""
    assert plain_head(head + b"[1]") is None


@every("status", [101, 200, 204, 304, 500, 999])
def test_status_101_and_statuses_from_200_on_are_final(status: int) -> None:
    """No further HTTP response follows, even after 101, which switches protocols."""
    assert is_final(status)


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_statuses_below_200_other_than_101_are_interim(status: int) -> None:
    """After an interim response, another response follows."""
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
def test_a_final_response_or_bytes_that_are_not_http_end_the_sending_of_a_request(
    data: bytes,
) -> None:
    """A status counts as soon as it can only be final; so do 16 interim responses."""
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
def test_an_interim_response_does_not_end_the_sending_of_a_request(data: bytes) -> None:
    """An incomplete interim response does not either, nor bytes that begin any response."""
    assert not begins_final_response(data)


def test_a_long_incomplete_interim_response_is_examined_once() -> None:
    """The regular expression does not backtrack over 10,000 header lines without an end."""
    assert not begins_final_response(b"HTTP/1.1 103 X\r\n" + b"X: y\r\n" * 10_000)


@every("value", ["1", " 1\t", "0", "000", "9" * 18])
def test_a_content_length_of_up_to_18_digits_is_valid(value: str) -> None:
    """Spaces and tabs around the digits are allowed, as in any header."""
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
def test_a_response_whose_end_is_in_doubt_is_refused(
    lengths: list[str] | None, codings: list[str] | None, told: str
) -> None:
    """The error shows the bad Content-Length or the unknown Transfer-Encoding."""
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        check_framing(lengths, codings)


def test_a_content_length_beside_chunked_encoding_is_ignored() -> None:
    """``Chunked`` is recognized in upper and lower case."""
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
def test_a_request_whose_end_is_in_doubt_is_refused(
    length: bytes | None, coding: bytes | None, told: str
) -> None:
    """A request may have one valid Content-Length or chunked encoding, and not both."""
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
def test_the_size_of_a_response_follows_from_its_content_length(
    data: bytes, size: int | None
) -> None:
    """The size is 0 until the head is complete, and ``None`` if only a parser can find the end."""
    assert response_size(data) == size


def test_an_interim_response_that_closes_the_connection_or_has_a_body_is_refused() -> None:
    """``close`` is found among other connection options, in upper and lower case."""
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
    """The grammar accepts any verb and target; the server decides which of them it serves."""
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
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    """The servers for threads and for asyncio use the same expression for request lines."""
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
def test_a_chunked_body_is_checked_alike_in_pieces_of_any_size(size: int) -> None:
    """Malformed lines are refused in pieces of any size, and valid bodies are never refused."""
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


def test_the_error_for_a_malformed_chunked_body_shows_the_line() -> None:
    """At most 80 characters are shown of the line with the size or trailer at fault."""
    assert refusal(b"zz\r\n") == r"not a chunk size: b'zz\r\n'"
    assert refusal(b"0\r\nbad line\r\n") == r"a malformed trailer: b'bad line\r\n'"
    assert refusal(b"y" * 99 + b"\r\n") == f"not a chunk size: b'{'y' * 78}"
    assert refusal(b"0\r\n" + b"y" * 99 + b"\r\n") == f"a malformed trailer: b'{'y' * 78}"
    assert refusal(b"0\r\n" + b"X: y\r\n" * 101) == "more than 99 trailers"


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_in_a_chunked_body_has_at_most_4096_bytes(end: bytes) -> None:
    """A longer line is refused, whether its end was received or not."""
    line = b"1;" + b"x" * 4092 + b"\r\n"
    ChunkLines().check(line)
    ChunkLines().check(line[:-1])

    assert refusal(b"1" * 4097 + end) == "a line of more than 4096 bytes among chunks"


def test_99_trailers_after_a_chunked_body_are_skipped() -> None:
    """Bytes after the empty line that ends the trailers are not part of the body."""
    ChunkLines().check(b"a\r\n" + b"\n" * 10 + b"\r\n0\r\n" + b"X: y\r\n" * 99 + b"\r\nnext\n")


@every("row", [name for name, row in CHUNKS.items() if row.ours == READ])
def test_each_beginning_of_a_valid_chunked_body_is_accepted(row: str) -> None:
    """The beginning may become a complete body, wherever it is cut."""
    body = CHUNKS[row].of(b"1")
    for end in range(min(len(body), 400)):
        ChunkLines().check(body[:end])


@every("begun", [b"-", b"x", b"1 x", b"1;=", b"1\r\n1\r\ng", b"0\r\n:", b"0\r\nX Y", b"0\r\n X"])
def test_an_incomplete_line_in_a_chunked_body_that_cannot_become_valid_is_refused(
    begun: bytes,
) -> None:
    """The line is refused before it ends, whether its bytes come together or one by one."""
    with pytest.raises(ValueError, match="a malformed line among chunks"):
        ChunkLines().check(begun)
    with pytest.raises(ValueError, match="a malformed line among chunks"):
        check_each(begun)


def check_each(body: bytes) -> None:
    """Check a body whose bytes come one by one."""
    lines = ChunkLines()
    for position in range(len(body)):
        lines.check(body[position : position + 1])


def test_only_spaces_and_tabs_are_stripped_from_the_value_of_a_header() -> None:
    """Other characters that ``str.strip`` would remove are part of the value."""
    head = plain_head(b"HTTP/1.1 200 OK\r\nX: \t\xa0y\x85 \t\r\nContent-Length: 0\r\n\r\n")
    assert head is not None
    assert next(iter(head.lines())) == ("X", "\xa0y\x85")


def test_a_header_line_of_one_letter_is_refused() -> None:
    """The line has no colon, and the error shows it."""
    with pytest.raises(ValueError, match=r"^a malformed header line: b'X'$"):
        check_heads(OK + b"X\r\n\r\n".replace(b"\r", b""))


def test_sixteen_interim_responses_end_the_sending_of_a_request() -> None:
    """Fifteen do not, even if the beginning of another one follows."""
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
    """Only the empty line ends the trailers, whatever the names of the trailers are."""
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
def test_a_trailer_that_some_parsers_read_as_a_length_or_encoding_is_refused(
    lines: list[bytes], name: str
) -> None:
    """A second or invalid Content-Length and an empty Transfer-Encoding are errors."""
    trailers = Trailers()
    for line in lines[:-1]:
        assert not trailers.ended_by(line + b"\r\n")
    with pytest.raises(ValueError, match=f"^a bad trailer {name}$"):
        trailers.ended_by(lines[-1] + b"\r\n")


def test_the_size_of_a_chunk_is_hexadecimal() -> None:
    """As many bytes are skipped as the size says, whatever the bytes are."""
    lines = ChunkLines()
    lines.check(b"1f\r\n" + b"\n" * 31 + b"\r\n10\r\n" + b":" * 16 + b"\r\n")
    with pytest.raises(ValueError, match="not a chunk size: b'g"):
        lines.check(b"g\r\n")


def test_the_error_for_an_incomplete_head_names_the_kind_of_the_malformed_line() -> None:
    """The text of a status line is shown, and that of a header line is not."""
    with pytest.raises(ValueError, match=r"^not a status line: b'ICY 200'$"):
        check_begun(b"ICY 200", 3)
    with pytest.raises(ValueError, match=r"^a malformed header line$"):
        check_begun(OK + b"A: b\r\nX Y", len(OK) + 8)
