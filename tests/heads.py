"""One table of heads, and what becomes of each: in Go, and here, whichever parser reads it.

The outcomes in Go are those of ``net/http``'s client in Go 1.19. A row whose lines mean
something else in a request has an outcome of its own for it.
"""

from attrs import frozen

READ = "read"
REFUSED = "refused"


@frozen
class Row:
    """``go`` is the outcome in Go's client, ``ours`` in each engine, ``served`` at a plugin's end.

    ``served`` is ``None`` for what no request has, a status line say.
    """

    response: bytes
    go: str
    ours: str
    request: bytes | None = None
    served: str | None = None


OK = b"HTTP/1.1 200 OK\r\n"
POST = b"POST /Echo.Say HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"Text":"a"}'
_RESPONSE_LENGTH = b"Content-Length: 1\r\n"
_REQUEST_LENGTH = b"Content-Length: %d\r\n" % len(BODY)
_RESPONSE_CHUNKS = b"1\r\n1\r\n0\r\n\r\n"
_REQUEST_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def _status(line: bytes, go: str, ours: str) -> Row:
    return Row(line + _RESPONSE_LENGTH + b"\r\n1", go, ours)


def _field(lines: bytes, go: str, ours: str, served: str | None = None) -> Row:
    """Lines after the length, with their ends."""
    return Row(
        OK + _RESPONSE_LENGTH + lines + b"\r\n1",
        go,
        ours,
        POST + _REQUEST_LENGTH + lines + b"\r\n" + BODY,
        served or ours,
    )


def _first(lines: bytes, go: str, ours: str) -> Row:
    """Lines right after the first one."""
    return Row(
        OK + lines + _RESPONSE_LENGTH + b"\r\n1",
        go,
        ours,
        b"POST /Echo.Say HTTP/1.1\r\n" + lines + b"Host: x\r\n" + _REQUEST_LENGTH + b"\r\n" + BODY,
        ours,
    )


def _length(value: bytes, go: str, ours: str) -> Row:
    """A length with %d for the right number."""
    return Row(
        OK + b"Content-Length:" + value.replace(b"%d", b"1") + b"\r\n\r\n1",
        go,
        ours,
        POST + b"Content-Length:" + value.replace(b"%d", b"%d" % len(BODY)) + b"\r\n\r\n" + BODY,
        ours,
    )


def _coding(lines: bytes, go: str, ours: str, served: str | None = None) -> Row:
    """Lines with a coding, and a body in chunks."""
    return Row(
        OK + lines + b"\r\n" + _RESPONSE_CHUNKS,
        go,
        ours,
        POST + lines + b"\r\n" + _REQUEST_CHUNKS,
        served or ours,
    )


def _interim(head: bytes, go: str, ours: str) -> Row:
    return Row(head + OK + _RESPONSE_LENGTH + b"\r\n1", go, ours)


def _line(line: bytes) -> Row:
    """A request line that is refused; its response is that of any."""
    return Row(
        OK + _RESPONSE_LENGTH + b"\r\n1",
        READ,
        READ,
        line + b"Host: x\r\n" + _REQUEST_LENGTH + b"\r\n" + BODY,
        REFUSED,
    )


def _filling(size: int) -> bytes:
    """Headers that bring a response's head to so many bytes."""
    left = size - len(OK + _RESPONSE_LENGTH + b"\r\n")
    first = left // 2
    return b"".join(b"X: " + b"y" * (part - 5) + b"\r\n" for part in (first, left - first))


CHUNKED = b"Transfer-Encoding: chunked\r\n"

ROWS = {
    # The status line.
    "a status line": _status(OK, READ, READ),
    "HTTP/1.0": _status(b"HTTP/1.0 200 OK\r\n", READ, READ),
    "HTTP/0.9": _status(b"HTTP/0.9 200 OK\r\n", READ, REFUSED),
    "HTTP/1.2": _status(b"HTTP/1.2 200 OK\r\n", READ, REFUSED),
    "HTTP/1.10": _status(b"HTTP/1.10 200 OK\r\n", REFUSED, REFUSED),
    "HTTP/2.0": _status(b"HTTP/2.0 200 OK\r\n", READ, REFUSED),
    "HTTP/3": _status(b"HTTP/3 200 OK\r\n", REFUSED, REFUSED),
    "a version in small letters": _status(b"http/1.1 200 OK\r\n", REFUSED, REFUSED),
    "RTSP": _status(b"RTSP/1.0 200 OK\r\n", REFUSED, REFUSED),
    "ICE": _status(b"ICE/1.0 200 OK\r\n", REFUSED, REFUSED),
    "a space before the version": _status(b" HTTP/1.1 200 OK\r\n", REFUSED, REFUSED),
    "a tab after the version": _status(b"HTTP/1.1\t 200 OK\r\n", REFUSED, REFUSED),
    "two spaces before the status": _status(b"HTTP/1.1  200 OK\r\n", READ, REFUSED),
    "a tab after the status": _status(b"HTTP/1.1 200\tOK\r\n", REFUSED, REFUSED),
    "no reason": _status(b"HTTP/1.1 200\r\n", READ, READ),
    "an empty reason": _status(b"HTTP/1.1 200 \r\n", READ, READ),
    "a reason in Latin-1": _status(b"HTTP/1.1 200 \xe9\r\n", READ, READ),
    "a status of two digits": _status(b"HTTP/1.1 20 OK\r\n", REFUSED, REFUSED),
    "a status of four digits": _status(b"HTTP/1.1 2000 OK\r\n", REFUSED, REFUSED),
    "a status that begins with 0": _status(b"HTTP/1.1 0200 OK\r\n", REFUSED, REFUSED),
    "a status with a sign": _status(b"HTTP/1.1 +20 OK\r\n", "status 20", REFUSED),
    "a status below 100": _status(b"HTTP/1.1 099 OK\r\n", "status 99", REFUSED),
    "a NUL in the reason": _status(b"HTTP/1.1 200 O\0K\r\n", READ, REFUSED),
    "a bare CR in the reason": _status(b"HTTP/1.1 200 O\rK\r\n", READ, REFUSED),
    "a bare CR after the reason": _status(b"HTTP/1.1 200 OK\r\r\n", READ, REFUSED),
    "a bare CR that ends the status line": _status(b"HTTP/1.1 200 OK\r", READ, REFUSED),
    "a status line that ends in LF": _status(b"HTTP/1.1 200 OK\n", READ, READ),
    "an empty line first": _status(b"\r\n" + OK, REFUSED, REFUSED),
    "a bare CR first": _status(b"\r" + OK, REFUSED, REFUSED),
    # Headers.
    "a header": _field(b"X: y\r\n", READ, READ),
    "no space after the colon": _field(b"X:y\r\n", READ, READ),
    "an empty value": _field(b"X:\r\n", READ, READ),
    "a value in Latin-1": _field(b"X: \xe9\r\n", READ, READ),
    "a tab in a value": _field(b"X: a\tb\r\n", READ, READ),
    "a header that ends in LF": _field(b"X: y\n", READ, READ, REFUSED),
    "a NUL in a value": _field(b"X: a\0b\r\n", READ, REFUSED),
    "a bare CR in a value": _field(b"X: a\rb\r\n", READ, REFUSED),
    "a bare CR before a header": _field(b"X: a\rY: b\r\n", READ, REFUSED),
    "a bare CR after a value": _field(b"X: a\r\r\n", READ, REFUSED),
    "a bare CR as a line": _field(b"\r\r\n", REFUSED, REFUSED),
    "a vertical tab in a value": _field(b"X: a\x0bb\r\n", READ, REFUSED),
    "another control character in a value": _field(b"X: a\x01b\r\n", READ, REFUSED),
    "DEL in a value": _field(b"X: a\x7fb\r\n", READ, REFUSED),
    "a folded line": _field(b"X: a\r\n b\r\n", READ, REFUSED),
    "a line folded by a tab": _field(b"X: a\r\n\tb\r\n", READ, REFUSED),
    "a line folded after the colon": _field(b"X:\r\n b\r\n", READ, REFUSED),
    "a folded line that is empty": _field(b"X: a\r\n \r\n", READ, REFUSED),
    "a folded first header": _first(b" X: a\r\n", REFUSED, REFUSED),
    "a space before the colon": _field(b"X : y\r\n", READ, REFUSED),
    "a tab before the colon": _field(b"X\t: y\r\n", READ, REFUSED),
    "a space in a name": _field(b"X Y: z\r\n", READ, REFUSED),
    "a NUL in a name": _field(b"X\0: y\r\n", READ, REFUSED),
    "a parenthesis in a name": _field(b"X(y): z\r\n", READ, REFUSED),
    "Latin-1 in a name": _field(b"X\xe9: y\r\n", READ, REFUSED),
    "no name": _field(b": y\r\n", READ, REFUSED),
    "no colon": _field(b"nonsense\r\n", REFUSED, REFUSED),
    "a line of a mailbox": _first(b"From someone\r\n", REFUSED, REFUSED),
    "99 headers": _field(b"X: y\r\n" * 98, READ, READ),
    "100 headers": _field(b"X: y\r\n" * 99, READ, REFUSED, READ),
    "48 KiB of heads": _field(_filling(48 << 10), READ, READ),
    "more than 48 KiB of heads": _field(_filling((48 << 10) + 1), READ, REFUSED, READ),
    # How long the body is.
    "a length": _length(b" %d", READ, READ),
    "a length after a tab": _length(b"\t%d ", READ, READ),
    "a length after zeros": _length(b" 00%d", READ, READ),
    "a length of 19 digits": _length(b" " + b"0" * 18 + b"%d", READ, REFUSED),
    "an empty length": _length(b"", READ, REFUSED),
    "a length with a sign": _length(b" +%d", REFUSED, REFUSED),
    "a negative length": _length(b" -%d", REFUSED, REFUSED),
    "a hexadecimal length": _length(b" 0x%d", REFUSED, REFUSED),
    "a length after a vertical tab": _length(b" \x0b%d", REFUSED, REFUSED),
    "a list of one length": _length(b" %d, %d", REFUSED, REFUSED),
    "the same length twice": _length(b" %d\r\nContent-Length: %d", READ, REFUSED),
    "two lengths": _length(b" %d\r\nContent-Length: 9", REFUSED, REFUSED),
    "chunks": _coding(CHUNKED, READ, READ),
    "chunks in capitals": _coding(CHUNKED.replace(b"chunked", b"CHUNKED"), READ, READ),
    "chunks and a length": _coding(CHUNKED + b"Content-Length: 9\r\n", READ, READ, REFUSED),
    "chunks and the same length twice": _coding(
        CHUNKED + b"Content-Length: 9\r\n" * 2, READ, REFUSED
    ),
    "chunked twice": _coding(CHUNKED * 2, REFUSED, REFUSED),
    "another coding before chunks": _coding(
        b"Transfer-Encoding: gzip, chunked\r\n", REFUSED, REFUSED
    ),
    "another coding": _coding(b"Transfer-Encoding: gzip\r\n", REFUSED, REFUSED),
    "an empty coding": _coding(b"Transfer-Encoding:\r\n", REFUSED, REFUSED),
    "a coding after a vertical tab": _coding(
        b"Transfer-Encoding: \x0bchunked\r\n", REFUSED, REFUSED
    ),
    # Interim responses.
    "an interim response": _interim(b"HTTP/1.1 103 X\r\nLink: y\r\n\r\n", READ, READ),
    "an interim response of HTTP/1.0": _interim(b"HTTP/1.0 100 X\r\n\r\n", READ, REFUSED),
    "an interim response of HTTP/2": _interim(b"HTTP/2.0 100 X\r\n\r\n", READ, REFUSED),
    "a NUL in an interim reason": _interim(b"HTTP/1.1 100 \0\r\n\r\n", READ, REFUSED),
    "a bare CR in an interim reason": _interim(b"HTTP/1.1 100 a\rb\r\n\r\n", READ, REFUSED),
    "a NUL in an interim header": _interim(b"HTTP/1.1 103 X\r\nX: \0\r\n\r\n", READ, REFUSED),
    "a folded line in an interim response": _interim(
        b"HTTP/1.1 103 X\r\nX: y\r\n z\r\n\r\n", READ, REFUSED
    ),
    "no colon in an interim response": _interim(
        b"HTTP/1.1 103 X\r\nnonsense\r\n\r\n", REFUSED, REFUSED
    ),
    "a bad length of an interim response": _interim(
        b"HTTP/1.1 103 X\r\nContent-Length: x\r\n\r\n", READ, REFUSED
    ),
    "an interim response that is to be the last": _interim(
        b"HTTP/1.1 103 X\r\nConnection: close\r\n\r\n", READ, REFUSED
    ),
    "an interim response that closes by another name": _interim(
        b"HTTP/1.1 103 X\r\nProxy-Connection: close\r\n\r\n", READ, REFUSED
    ),
    "an interim response that closes with more": _interim(
        b"HTTP/1.1 103 X\r\nConnection: close:\r\n\r\n", READ, REFUSED
    ),
    "an interim response without a body that says so": _interim(
        b"HTTP/1.1 100 X\r\nContent-Length: 0\r\n\r\n", READ, READ
    ),
    "an interim response with a length": _interim(
        b"HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\n", READ, REFUSED
    ),
    "an unknown interim response with a length": _interim(
        b"HTTP/1.1 150 X\r\nContent-Length: 5\r\n\r\n", READ, REFUSED
    ),
    "an interim response in chunks": _interim(
        b"HTTP/1.1 199 X\r\nTransfer-Encoding: chunked\r\n\r\n", READ, REFUSED
    ),
    "an interim response of more than 48 KiB": _interim(
        b"HTTP/1.1 103 X\r\nX: " + b"y" * (48 << 10) + b"\r\n\r\n", READ, REFUSED
    ),
    "an empty line after an interim response": _interim(
        b"HTTP/1.1 100 X\r\n\r\n\r\n", REFUSED, REFUSED
    ),
    # Request lines.
    "a request line with a NUL": _line(b"POST /Echo.Say\0 HTTP/1.1\r\n"),
    "a request line with a bare CR": _line(b"POST /Echo\r.Say HTTP/1.1\r\n"),
    "a bare CR after a request line": _line(b"POST /Echo.Say HTTP/1.1\r\r\n"),
    "a bare CR before a request line": _line(b"\rPOST /Echo.Say HTTP/1.1\r\n"),
    "a space before a request line": _line(b" POST /Echo.Say HTTP/1.1\r\n"),
    "a space after a request line": _line(b"POST /Echo.Say HTTP/1.1 \r\n"),
    "a request line that ends in LF": _line(b"POST /Echo.Say HTTP/1.1\n"),
    "a request of HTTP/1.2": _line(b"POST /Echo.Say HTTP/1.2\r\n"),
    "a request of HTTP/2": _line(b"POST /Echo.Say HTTP/2.0\r\n"),
    "a request of HTTP/0.9": _line(b"POST /Echo.Say HTTP/0.9\r\n"),
}
