"""Which heads of HTTP messages are refused: one set of rules for both ends and all engines.

Parsers differ in what they forgive. Where one refuses a head, all of this library do, so that
a plugin works with each engine or with none. All functions raise ``ValueError``, and adapters
translate it.

A response's lines may end in LF, as some plugins' do; a request's end in CRLF.
"""

import re
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from functools import lru_cache
from typing import Protocol

from attrs import frozen

# Interim responses and trailers that are skipped; one more of either is an error.
MAX_INTERIM = 16
MAX_TRAILERS = 99
# Bytes of a line among chunks: that of a size, or a trailer.
MAX_CHUNK_LINE = 4096
# Headers of a response, as http.client counts them: to 100, with the line that ends them.
MAX_HEADERS = 99
# Bytes of a response's head, and of the interim ones before it.
MAX_HEAD_BYTES = 48 << 10

FIRST_STATUS = 100
SWITCHING_PROTOCOLS = 101
_FIRST_FINAL = 200
# Responses with these have no body, whatever their headers say.
BODILESS = frozenset({SWITCHING_PROTOCOLS, 204, 304})

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r"[^\x00-\x08\x0a-\x1f\x7f]*"
_FIELD = rf"{_NAME}:{_VALUE}\r?\n"
# An interim response is of HTTP/1.1: HTTP/1.0 has none.
_STATUS_LINE = (
    r"HTTP/1\.(?:[01] (?:101|[2-9][0-9]{2})|1 1[0-9]{2})"  # version and status
    r"(?: [^\x00\r\n]*)?\r?\n"  # the reason
)
STATUS_LINE = re.compile(_STATUS_LINE.encode())
# A header, or a line of the trailer, of a response.
RESPONSE_FIELD = re.compile(_FIELD.encode())
_head = re.compile(f"{_STATUS_LINE}(?:{_FIELD})*\r?\n".encode())
_interim_begun = re.compile(rb"HTTP/1\.1 1(?!01)[0-9]{2}")
_interim_head = re.compile(_interim_begun.pattern + rb"[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n")
_INTERIM_LINE = b"HTTP/1.1 1xx"

HEADER_NAME = re.compile(_NAME)
# A header of a request: its name, and its value with the white space around it.
REQUEST_HEADER = re.compile(rf"({_NAME}):({_VALUE})\r\n".encode())
# The size of a chunk: its number, and extensions that are not read.
CHUNK_SIZE = re.compile(
    rf"([0-9A-Fa-f]{{1,15}})[ \t]*(?:;{_NAME}(?:={_NAME}|=\"[\t !#-[\]-~]*\")?)*\r\n".encode()
)

# A head that a parser tells no more about: of one response whose body has a length, on a connection
# that stays open.
_OTHER = rf"(?!(?i:con(?:nection|tent-length)|transfer-encoding|proxy-connection):){_FIELD}"
_plain = re.compile(
    (
        r"HTTP/1\.1 (?!204|304)([2-9][0-9]{2})(?: [^\x00\r\n]*)?\r\n"
        rf"(?:{_OTHER}){{0,{MAX_HEADERS // 2}}}"
        r"(?i:content-length):[ \t]*([0-9]{1,18})[ \t]*\r\n"
        rf"(?:{_OTHER}){{0,{MAX_HEADERS // 2}}}\r\n"
    ).encode()
)
_PLAIN_BYTES = 1 << 10

NO_FIELD = "a line among the headers that is none"

# The one header of a response by which its size is known, and one that changes it.
_ONE_LENGTH = re.compile(rb"\n[Cc]ontent-[Ll]ength:[ \t]*([0-9]{1,18})[ \t]*\r?\n")
_OTHER_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)

# A Content-Length, of requests and of responses.
LENGTH = re.compile(r"[0-9]{1,18}")
# What a request line has nowhere: control characters, a CR that ends no line, space around it,
# and a version that is neither HTTP/1.0 nor HTTP/1.1.
BAD_REQUEST_LINE = re.compile(
    rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|\A | \r\n| HTTP/(?!1\.[01]\r\n)"
)

# A request line: the verb, the target and the minor version. What it refuses is what
# ``BAD_REQUEST_LINE`` finds, and more that no verb or target is.
REQUEST_LINE = re.compile(
    rb"([A-Z][!#$%&'*+.^_`|~0-9A-Z-]*) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n"
)
# The target of a call: a path, or the same in absolute form.
REQUEST_TARGET = re.compile(rb"/(?!/)|https?://[^/?#@]+/", re.IGNORECASE)

# What a request has once, or not at all.
_SINGLE = {b"Content-Length", b"Host", b"Transfer-Encoding"}
_FRAMING = (b"Content-Length", b"Transfer-Encoding")


def is_final(status: int) -> bool:
    """Whether a response of ``status`` is the response, and not an interim one before it."""
    return status >= _FIRST_FINAL or status == SWITCHING_PROTOCOLS


def check_heads(data: bytes) -> int:
    """Check the heads at the beginning of ``data``; returns where the final response's ends."""
    position = 0
    while match := _head.match(data, position):
        # What is between two heads, or no end of the last, does not match.
        if not _interim_begun.match(data, position):
            if match.end() > MAX_HEAD_BYTES:
                raise ValueError(f"a head of more than {MAX_HEAD_BYTES} bytes")
            return match.end()
        position = match.end()
    raise _blame(data[position:])


@frozen
class PlainHead:
    """The head of a response whose body has a length, on a connection that stays open."""

    text: bytes
    status: int
    length: int

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the names and values of its headers."""
        for line in self.text.split(b"\n")[1:-2]:
            name, _, value = line.decode("latin-1").partition(":")
            yield name, value.strip(" \t\r")


def plain_head(data: bytes) -> PlainHead | None:
    """Return the head at the beginning of ``data``, as most are; ``None`` where it takes a parser.

    What takes one: a head that has not come whole, is long, is refused or follows an interim one,
    a body without a length, and a say on what becomes of the connection.
    """
    end = data.find(b"\r\n\r\n", 0, _PLAIN_BYTES)
    return _plain_head(data[: end + 4]) if end > 0 else None


# A plugin's heads are alike: to look one up takes a tenth of reading it.
@lru_cache(maxsize=64)
def _plain_head(text: bytes) -> PlainHead | None:
    match = _plain.fullmatch(text)
    return match and PlainHead(text, int(match[1]), int(match[2]))


def _blame(data: bytes) -> ValueError:
    first, *others = data.split(b"\n")
    if not STATUS_LINE.fullmatch(first + b"\n"):
        return ValueError(f"not a status line: {first!r:.80}")
    for line in others:
        if line.strip(b"\r") and not RESPONSE_FIELD.fullmatch(line + b"\n"):
            return ValueError(f"{NO_FIELD}: {line!r:.80}")
    return ValueError("its headers do not end")


def response_size(data: bytes) -> int | None:
    """Return the bytes of the response that begins with ``data``, its head included.

    0 where its head has not come, and ``None`` where only a parser can tell: of an interim
    response, one in chunks or until the end of the connection, and one that is refused.
    """
    match = _head.match(data)
    if match is None:
        return None if _has_head(data) else 0
    if _interim_begun.match(data):
        return None
    head = data[: match.end()]
    length = _ONE_LENGTH.search(head)
    if length is None or len(_OTHER_FRAMING.findall(head)) > 1:
        return None
    return len(head) + int(length[1])


def _has_head(data: bytes) -> bool:
    return b"\n\r\n" in data or b"\n\n" in data


def check_framing(lengths: Sequence[str] | None, codings: Sequence[str] | None) -> None:
    """Check that the end of a response's body is not open to doubt.

    Takes the values of Content-Length and of Transfer-Encoding, where there are any. A
    length beside chunks does not count.
    """
    if lengths and (len(lengths) > 1 or not LENGTH.fullmatch(lengths[0].strip(" \t"))):
        raise ValueError(f"bad Content-Length: {', '.join(lengths)!r:.80}")
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise ValueError(f"unknown Transfer-Encoding: {', '.join(codings)!r:.80}")


def check_interim(options: Iterable[str]) -> None:
    """Check an interim response, whose values of Connection and the like are ``options``."""
    if "close" in ",".join(options).lower():
        raise ValueError("an interim answer that is to be the last")


def check_request_framing(length: bytes | None, coding: bytes | None) -> None:
    """Check that the end of a request's body is not open to doubt: one header tells it."""
    if length is not None and coding is not None:
        raise ValueError("both Content-Length and Transfer-Encoding")
    check_framing(
        None if length is None else [length.decode("latin-1")],
        None if coding is None else [coding.decode("latin-1")],
    )


class Lines(Protocol):
    """Where headers are read from: bounded in size by whatever gives it."""

    def readline(self) -> bytes:
        """The next line with its end, or what there is of it."""
        ...


def read_headers(lines: Lines, headers: MutableMapping[bytes, bytes]) -> None:
    """Read up to the empty line into ``headers``, whose keys are title-cased.

    Values of a header that comes again are joined by commas. Raises
    ``ValueError`` for what is no header, for one too many, and for a body whose
    end is open to doubt.
    """
    while (line := lines.readline()) != b"\r\n":
        match = REQUEST_HEADER.fullmatch(line)
        if match is None:
            raise ValueError("a line among the headers is none")
        name, value = match[1].title(), match[2].strip(b" \t")
        if name in headers:
            if name in _SINGLE:
                raise ValueError(f"two headers {name.decode()}")
            value = headers[name] + b", " + value
        headers[name] = value
    if not headers.keys().isdisjoint(_FRAMING):
        check_request_framing(*(headers.get(name) for name in _FRAMING))


class ChunkLines:
    """The lines of a chunked body that a parser reads, checked once more as its bytes come.

    They are those of sizes and those of the trailer, and end in CRLF. That data ends in one too
    is left to the parser, as is what follows the body.
    """

    def __init__(self) -> None:
        self._line = b""
        self._skip = 0  # of the data, with the line that ends it
        self._trailers = -1  # while there are sizes to come
        self._is_over = False

    def check(self, data: bytes) -> None:
        """Check what came next; raises ``ValueError``, and is not to be used after that."""
        position = self._skip
        while position < len(data) and not self._is_over:
            end = data.find(b"\n", position) + 1
            self._line += data[position : end or len(data)]
            if len(self._line) > MAX_CHUNK_LINE:
                raise ValueError(f"a line of more than {MAX_CHUNK_LINE} bytes among chunks")
            if not end:
                position = len(data)
                break
            position = end + self._next()
        self._skip = position - len(data)

    def _next(self) -> int:
        """Read a line; returns how many bytes follow that are no line."""
        line, self._line = self._line, b""
        if self._trailers >= 0:
            self._trailers += 1
            self._is_over = line == b"\r\n"
            if not (self._is_over or REQUEST_HEADER.fullmatch(line)):
                raise ValueError(f"a trailer that is none: {line!r:.80}")
            if self._trailers > MAX_TRAILERS + 1:
                raise ValueError(f"more than {MAX_TRAILERS} trailers")
            return 0
        match = CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise ValueError(f"not the size of a chunk: {line!r:.80}")
        size = int(match[1], 16)
        if not size:
            self._trailers = 0
            return 0
        return size + len(b"\r\n")


def begins_final_response(data: bytes) -> bool:
    """Whether ``data``, all that was received, is more than interim responses.

    What can be no response at all counts as final, and one interim response too many:
    nothing better will follow.
    """
    position = interim = 0
    while match := _interim_head.match(data, position):
        position = match.end()
        interim += 1
        if interim == MAX_INTERIM:
            return True
    begun = data[position : position + len(_INTERIM_LINE)]
    if len(begun) == len(_INTERIM_LINE):
        return not _interim_begun.match(begun)
    return not _INTERIM_LINE.startswith(begun[:10])
