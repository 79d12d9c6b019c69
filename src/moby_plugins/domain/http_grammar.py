"""The rules for heads and chunks of HTTP messages, shared by clients, servers and HTTP libraries.

HTTP parsers differ in the malformed heads that they accept. This library rejects a head that any
of them rejects, so that a plugin works with every library or with none. The checks raise
``ValueError``, which adapters translate.

Lines of a response may end in LF, as some plugins send them; lines of a request end in CRLF.
"""

import re
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

# So many interim responses in a row are an error; fewer are skipped.
MAX_INTERIM = 16
# So many trailers are skipped; more are an error.
MAX_TRAILERS = 99
# The bytes of a line between chunks, with a chunk's size or a trailer.
MAX_CHUNK_LINE = 4096
# The headers of a response: http.client allows 100 lines, with the empty one at the end.
MAX_HEADERS = 99
# The bytes of a response's head, with the interim responses before it.
MAX_HEAD_BYTES = 48 << 10

FIRST_STATUS = 100
SWITCHING_PROTOCOLS = 101
_FIRST_FINAL = 200
# Responses with these statuses have no body, even if their headers announce one.
BODILESS = frozenset({SWITCHING_PROTOCOLS, 204, 304})

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r"[^\x00-\x08\x0a-\x1f\x7f]*"
_FIELD = rf"{_NAME}:{_VALUE}\r?\n"
# Only HTTP/1.1 has interim responses.
_STATUS_LINE = (
    r"HTTP/1\.(?:[01] (?:101|[2-9][0-9]{2})|1 1[0-9]{2})"  # version and status
    r"(?: [^\x00\r\n]*)?\r?\n"  # the reason
)
STATUS_LINE = re.compile(_STATUS_LINE.encode())
# A header or trailer of a response.
RESPONSE_FIELD = re.compile(_FIELD.encode())
_line = re.compile(rb"[^\n]*\n|[^\n]+")
_head = re.compile(f"{_STATUS_LINE}(?:{_FIELD})*\r?\n".encode())
_interim_begun = re.compile(rb"HTTP/1\.1 1(?!01)[0-9]{2}")
_interim_head = re.compile(_interim_begun.pattern + rb"[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n")
_INTERIM_LINE = b"HTTP/1.1 1xx"

HEADER_NAME = re.compile(_NAME)
# A header of a request: its name, and its value with the white space around it.
REQUEST_HEADER = re.compile(rf"({_NAME}):({_VALUE})\r\n".encode())
# The size of a chunk: a hexadecimal number, and extensions that are ignored.
CHUNK_SIZE = re.compile(
    rf"([0-9A-Fa-f]{{1,15}})[ \t]*(?:;{_NAME}(?:={_NAME}|=\"[\t !#-[\]-~]*\")?)*\r\n".encode()
)

# A head that needs no parser: one response with a Content-Length, on a connection that stays open.
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

NO_FIELD = "a malformed header line"

# The header of a response that states its size, and headers that may contradict it.
_ONE_LENGTH = re.compile(rb"\n[Cc]ontent-[Ll]ength:[ \t]*([0-9]{1,18})[ \t]*\r?\n")
_OTHER_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)

# A Content-Length, of requests and of responses.
LENGTH = re.compile(r"[0-9]{1,18}")
# What both servers say of a request line that is refused, and of a coding that HTTP/1.0 lacks.
NO_REQUEST_LINE = (
    "invalid request line: it must be VERB TARGET HTTP/1.1 (or 1.0), with single spaces and without"
    " control characters"
)
CODING_IN_1_0 = "a request in HTTP/1.0 cannot have Transfer-Encoding"
# A request line: the verb, the target and the minor version. Only CONNECT takes HOST:PORT, and only
# OPTIONS takes "*".
REQUEST_LINE = re.compile(
    rb"(?!CONNECT (?![^/ ]+:[0-9]+ ))([A-Z][!#$%&'*+.^_`|~0-9A-Z-]*) "
    rb"((?:/|[A-Za-z][A-Za-z0-9+.-]*:|(?<=OPTIONS )\*(?= ))[\x21-\x7e\x80-\xff]*) "
    rb"HTTP/1\.([01])\r\n"
)
# The target of a call: a path, or the same in absolute form.
REQUEST_TARGET = re.compile(rb"/(?!/)|https?://[^/?#@]+/", re.IGNORECASE)

# Headers that a request may have only once.
_SINGLE = {b"Content-Length", b"Host", b"Transfer-Encoding"}
_FRAMING = (b"Content-Length", b"Transfer-Encoding")


def _tails(example: bytes) -> tuple[bytes, ...]:
    return tuple(example[start:] for start in range(len(example) + 1))


class Begun(NamedTuple):
    """A check of whether bytes may be the beginning of a kind of line.

    ``line`` matches a complete line of that kind. ``tails`` are endings: for each valid beginning
    of such a line there is one that completes it.
    """

    line: re.Pattern[bytes]
    tails: tuple[bytes, ...]

    def by(self, text: bytes) -> bool:
        """Return whether ``text`` may be the beginning of such a line.

        Text of more than ``MAX_CHUNK_LINE`` bytes is not checked.
        """
        return len(text) > MAX_CHUNK_LINE or any(
            self.line.fullmatch(text + tail) for tail in self.tails
        )


STATUS_LINE_BEGUN = Begun(STATUS_LINE, _tails(b"HTTP/1.1 101\r\n"))
RESPONSE_FIELD_BEGUN = Begun(re.compile(rf"{_FIELD}|\r?\n".encode()), _tails(b"X:\r\n"))
CHUNK_SIZE_BEGUN = Begun(CHUNK_SIZE, _tails(b'0;x="x"\r\n'))
TRAILER_BEGUN = Begun(re.compile(rf"{_NAME}:{_VALUE}\r\n|\r\n".encode()), _tails(b"X:\r\n"))


def is_final(status: int) -> bool:
    """Return whether a response with ``status`` is final rather than interim."""
    return status >= _FIRST_FINAL or status == SWITCHING_PROTOCOLS


def check_heads(data: bytes) -> int:
    """Check the heads at the beginning of ``data``; return where the final response's head ends.

    Raises ``ValueError`` if a head is malformed, incomplete or too long.
    """
    position = 0
    while match := _head.match(data, position):
        # Bytes between two heads, or an incomplete head, do not match.
        if not _interim_begun.match(data, position):
            if match.end() > MAX_HEAD_BYTES:
                raise ValueError(f"a head of more than {MAX_HEAD_BYTES} bytes")
            return match.end()
        position = match.end()
    raise _blame(data[position:])


def check_begun(heads: bytes, checked: int) -> None:
    """Check the beginning of one or more heads, whose last line may be incomplete.

    Only lines that end after the first ``checked`` bytes are checked. Raises ``ValueError`` for a
    line that is malformed whatever follows.
    """
    start = heads.rfind(b"\n", 0, checked) + 1
    for line in _line.findall(heads, start):
        is_first = not start or heads.endswith((b"\n\n", b"\n\r\n"), 0, start)
        if not (STATUS_LINE_BEGUN if is_first else RESPONSE_FIELD_BEGUN).by(line):
            raise ValueError(f"not a status line: {line!r:.80}" if is_first else NO_FIELD)
        start += len(line)


class PlainHead(NamedTuple):
    """The head of a response with a Content-Length, on a connection that stays open."""

    text: bytes
    status: int
    length: int

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the names and values of the headers."""
        for line in self.text.split(b"\n")[1:-2]:
            name, _, value = line.decode("latin-1").partition(":")
            yield name, value.strip(" \t\r")


def plain_head(data: bytes) -> PlainHead | None:
    """Return the head at the beginning of ``data``; ``None`` if it needs a parser.

    Most heads need none. A parser is needed for a head that is incomplete, long, malformed or
    interim, for a body without a length, and for headers about the connection.
    """
    end = data.find(b"\r\n\r\n", 0, _PLAIN_BYTES)
    return _plain_head(data[: end + 4]) if end > 0 else None


# Most heads of a plugin are equal, and a cache look-up takes a tenth of the time of parsing.
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
    return ValueError("no empty line ends its headers")


def response_size(data: bytes) -> int | None:
    """Return the size in bytes of the response that begins with ``data``, its head included.

    The size is 0 if the head is incomplete. It is ``None`` if only a parser can find the end: for
    an interim or malformed response, and for one that is chunked or ends with the connection.
    """
    plain = plain_head(data)
    if plain is not None:
        return len(plain.text) + plain.length
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
    """Check that a response's headers leave no doubt about where its body ends.

    Takes the values of Content-Length and of Transfer-Encoding, if any. A length is allowed beside
    chunked encoding, and ignored. Raises ``ValueError`` for several lengths or one that is not a
    number, and for another encoding than ``chunked``.
    """
    if lengths and (len(lengths) > 1 or not LENGTH.fullmatch(lengths[0].strip(" \t"))):
        raise ValueError(f"bad Content-Length: {', '.join(lengths)!r:.80}")
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise ValueError(f"unknown Transfer-Encoding: {', '.join(codings)!r:.80}")


def check_interim(
    options: Iterable[str], lengths: Sequence[str] | None, codings: Sequence[str] | None
) -> None:
    """Raise ``ValueError`` if an interim response closes the connection, or announces a body.

    Takes the connection options, and the values of Content-Length and of Transfer-Encoding, if any.
    No interim response has a body, but some parsers would read one.
    """
    if "close" in ",".join(options).lower():
        raise ValueError("an interim response with Connection: close")
    if codings or (lengths and lengths[0].strip(" \t0")):
        raise ValueError("an interim response with a body")


def check_request_framing(length: bytes | None, coding: bytes | None) -> None:
    """Check that at most one valid header says where a request's body ends.

    Takes the values of Content-Length and of Transfer-Encoding; raises ``ValueError`` otherwise.
    """
    if length is not None and coding is not None:
        raise ValueError("both Content-Length and Transfer-Encoding")
    check_framing(
        None if length is None else [length.decode("latin-1")],
        None if coding is None else [coding.decode("latin-1")],
    )


class Lines(Protocol):
    """A source of header lines, which itself limits the size of each line and of all lines."""

    def readline(self) -> bytes:
        """Return the next line with its line end, or an incomplete line at the end of input."""
        ...


def read_headers(lines: Lines, headers: MutableMapping[bytes, bytes]) -> None:
    """Read the lines up to the empty one into ``headers``, whose keys are title-cased.

    Values of a repeated header are joined by commas. Raises ``ValueError`` for a malformed line,
    for a repeated header that may occur only once, and if it is unclear where the body ends.
    """
    while (line := lines.readline()) != b"\r\n":
        match = REQUEST_HEADER.fullmatch(line)
        if match is None:
            raise ValueError(NO_FIELD)
        name, value = match[1].title(), match[2].strip(b" \t")
        if name in headers:
            if name in _SINGLE:
                raise ValueError(f"a duplicate header {name.decode()}")
            value = headers[name] + b", " + value
        headers[name] = value
    if not headers.keys().isdisjoint(_FRAMING):
        check_request_framing(*(headers.get(name) for name in _FRAMING))


class Trailers:
    """A check of the lines that follow a chunked body, given one after the other."""

    def __init__(self) -> None:
        self._count = 0
        self._has_length = False

    def ended_by(self, line: bytes) -> bool:
        """Return whether ``line`` is the empty line after the trailers.

        Raises ``ValueError`` for a line that is not a trailer and for too many trailers. Some
        parsers also read the trailers Content-Length and Transfer-Encoding, so an invalid or second
        length and an empty encoding are errors too.
        """
        if line == b"\r\n":
            return True
        match = REQUEST_HEADER.fullmatch(line)
        if match is None:
            raise ValueError(f"a malformed trailer: {line!r:.80}")
        self._count += 1
        if self._count > MAX_TRAILERS:
            raise ValueError(f"more than {MAX_TRAILERS} trailers")
        name, value = match[1].title(), match[2].strip(b" \t").decode("latin-1")
        is_bad = False
        if name == b"Content-Length":
            is_bad = self._has_length or not LENGTH.fullmatch(value)
            self._has_length = True
        elif name == b"Transfer-Encoding":
            is_bad = not value
        if is_bad:
            raise ValueError(f"a bad trailer {name.decode()}")
        return False


class ChunkLines:
    """A check of the lines of a chunked body, in addition to the parser that reads it.

    The lines with sizes and trailers must be valid and end in CRLF. The CRLF after a chunk's data,
    and bytes after the body, are left to the parser.
    """

    def __init__(self) -> None:
        self._line = b""
        self._skip = 0  # bytes of chunk data, with their CRLF, before the next line
        self._trailers: Trailers | None = None  # until the last chunk's size was read
        self._is_over = False

    def check(self, data: bytes) -> None:
        """Check the next bytes; after a ``ValueError`` the object must not be used again."""
        position = self._skip
        while position < len(data) and not self._is_over:
            end = data.find(b"\n", position) + 1
            self._line += data[position : end or len(data)]
            if len(self._line) > MAX_CHUNK_LINE:
                raise ValueError(f"a line of more than {MAX_CHUNK_LINE} bytes among chunks")
            if not end:
                begun = CHUNK_SIZE_BEGUN if self._trailers is None else TRAILER_BEGUN
                if not begun.by(self._line):
                    raise ValueError(f"a malformed line among chunks: {self._line!r:.80}")
                position = len(data)
                break
            position = end + self._next()
        self._skip = position - len(data)

    def _next(self) -> int:
        """Check a complete line; return how many bytes of data follow before the next line."""
        line, self._line = self._line, b""
        if self._trailers is not None:
            self._is_over = self._trailers.ended_by(line)
            return 0
        match = CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise ValueError(f"not a chunk size: {line!r:.80}")
        size = int(match[1], 16)
        if not size:
            self._trailers = Trailers()
            return 0
        return size + len(b"\r\n")


def begins_final_response(data: bytes) -> bool:
    """Return whether a final response begins in ``data``, after any interim responses.

    ``data`` are all bytes that were received. Bytes that cannot begin a response count as a final
    one, and so do ``MAX_INTERIM`` interim responses.
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
