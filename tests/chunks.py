"""One table of bodies in chunks, and how each is read: in Go, and here, by each reader.

The outcomes in Go are those of ``net/http``'s client in Go 1.19. A row is read or refused alike
by both engines and the plugin's end.
"""

from attrs import frozen

from tests.heads import READ, REFUSED


@frozen
class Row:
    """A body, with ``SIZE`` and ``DATA`` for its one part; ``go`` and ``ours`` are as in heads."""

    template: bytes
    go: str
    ours: str

    def of(self, body: bytes) -> bytes:
        """The bytes on the wire for ``body``."""
        return self.template.replace(b"SIZE", b"%x" % len(body)).replace(b"DATA", body)


def _size(line: bytes, go: str, ours: str) -> Row:
    """The line of the size, with its end."""
    return Row(line + b"DATA\r\n0\r\n\r\n", go, ours)


def _last(rest: bytes, go: str, ours: str) -> Row:
    """What follows the data."""
    return Row(b"SIZE\r\nDATA" + rest, go, ours)


ROWS = {
    # The size.
    "a size": _size(b"SIZE\r\n", READ, READ),
    "zeros before it": _size(b"0000SIZE\r\n", READ, READ),
    "15 digits": _size(b"0" * 13 + b"0SIZE\r\n", READ, READ),
    "16 digits": _size(b"0" * 15 + b"SIZE\r\n", READ, REFUSED),
    "17 digits": _size(b"0" * 16 + b"SIZE\r\n", REFUSED, REFUSED),
    "a size over 63 bits": _size(b"8000000000000000\r\n", REFUSED, REFUSED),
    "a size over 64 bits": _size(b"10000000000000001\r\n", REFUSED, REFUSED),
    "no size": _size(b"\r\n", REFUSED, REFUSED),
    "0x": _size(b"0xSIZE\r\n", REFUSED, REFUSED),
    "0X": _size(b"0XSIZE\r\n", REFUSED, REFUSED),
    "a plus": _size(b"+SIZE\r\n", REFUSED, REFUSED),
    "a minus": _size(b"-SIZE\r\n", REFUSED, REFUSED),
    "minus zero": _size(b"-0\r\n", REFUSED, REFUSED),
    "an underscore": _size(b"0_SIZE\r\n", REFUSED, REFUSED),
    "a letter that is not a digit": _size(b"gSIZE\r\n", REFUSED, REFUSED),
    "a letter after it": _size(b"SIZEg\r\n", REFUSED, REFUSED),
    "a dot": _size(b"SIZE.0\r\n", REFUSED, REFUSED),
    "a digit of another alphabet": _size("\u0661\r\n".encode(), REFUSED, REFUSED),
    "a quote": _size(b'"SIZE"\r\n', REFUSED, REFUSED),
    # White space.
    "a space before it": _size(b" SIZE\r\n", REFUSED, REFUSED),
    "a tab before it": _size(b"\tSIZE\r\n", REFUSED, REFUSED),
    "a space after it": _size(b"SIZE \r\n", READ, READ),
    "spaces after it": _size(b"SIZE    \r\n", READ, READ),
    "a tab after it": _size(b"SIZE\t\r\n", READ, READ),
    "a space within it": _size(b"0 SIZE\r\n", REFUSED, REFUSED),
    "a vertical tab after it": _size(b"SIZE\x0b\r\n", REFUSED, REFUSED),
    "a form feed after it": _size(b"SIZE\x0c\r\n", REFUSED, REFUSED),
    "an empty line before it": _size(b"\r\nSIZE\r\n", REFUSED, REFUSED),
    # Ends of lines.
    "LF": _size(b"SIZE\n", READ, REFUSED),
    "CR": _size(b"SIZE\r", REFUSED, REFUSED),
    "CR CR LF": _size(b"SIZE\r\r\n", READ, REFUSED),
    "LF CR": _size(b"SIZE\n\r", REFUSED, REFUSED),
    "a NUL after it": _size(b"SIZE\0\r\n", REFUSED, REFUSED),
    # Extensions.
    "an extension": _size(b"SIZE;a=b\r\n", READ, READ),
    "an extension without a value": _size(b"SIZE;a\r\n", READ, READ),
    "several extensions": _size(b"SIZE;a=b;c=d;e\r\n", READ, READ),
    "a quoted extension": _size(b'SIZE;a="b;c"\r\n', READ, READ),
    "a quote that does not end": _size(b'SIZE;a="b\r\n', READ, REFUSED),
    "an empty extension": _size(b"SIZE;\r\n", READ, REFUSED),
    "two semicolons": _size(b"SIZE;;a\r\n", READ, REFUSED),
    "an extension without a name": _size(b"SIZE;=b\r\n", READ, REFUSED),
    "a space before an extension": _size(b"SIZE ;a=b\r\n", REFUSED, READ),
    "a space after the semicolon": _size(b"SIZE; a=b\r\n", READ, REFUSED),
    "spaces around an extension's sign": _size(b"SIZE;a = b\r\n", READ, REFUSED),
    "a space after an extension": _size(b"SIZE;a=b \r\n", READ, REFUSED),
    "a tab after the semicolon": _size(b"SIZE;\ta=b\r\n", READ, REFUSED),
    "an extension that ends in LF": _size(b"SIZE;a=b\n", READ, REFUSED),
    "a NUL in an extension": _size(b"SIZE;a=\0\r\n", READ, REFUSED),
    "a bare CR in an extension": _size(b"SIZE;a=\rb\r\n", READ, REFUSED),
    "a control character in an extension": _size(b"SIZE;a=\x01\r\n", READ, REFUSED),
    "DEL in an extension": _size(b"SIZE;a=\x7f\r\n", READ, REFUSED),
    "Latin-1 in an extension": _size(b"SIZE;a=\xe9\r\n", READ, REFUSED),
    "a comma after it": _size(b"SIZE,a\r\n", REFUSED, REFUSED),
    "an extension of 4,000 bytes": _size(b"SIZE;a=" + b"b" * 4000 + b"\r\n", READ, READ),
    "an extension of 5,000 bytes": _size(b"SIZE;a=" + b"b" * 5000 + b"\r\n", REFUSED, REFUSED),
    "an extension of 20,000 bytes": _size(b"SIZE;a=" + b"b" * 20000 + b"\r\n", REFUSED, REFUSED),
    # After the data.
    "no CRLF after the data": _last(b"0\r\n\r\n", REFUSED, REFUSED),
    "LF after the data": _last(b"\n0\r\n\r\n", REFUSED, REFUSED),
    "CR after the data": _last(b"\r0\r\n\r\n", REFUSED, REFUSED),
    "a space after the data": _last(b" \r\n0\r\n\r\n", REFUSED, REFUSED),
    "more data than was said": _last(b"x\r\n0\r\n\r\n", REFUSED, REFUSED),
    "two CRLF after the data": _last(b"\r\n\r\n0\r\n\r\n", REFUSED, REFUSED),
    # The last chunk.
    "several zeros": _last(b"\r\n000\r\n\r\n", READ, READ),
    "an extension of the last": _last(b"\r\n0;a=b\r\n\r\n", READ, READ),
    "a space after the last": _last(b"\r\n0 \r\n\r\n", READ, READ),
    "LF after the last": _last(b"\r\n0\n\r\n", READ, REFUSED),
    "LF at the end": _last(b"\r\n0\r\n\n", REFUSED, REFUSED),
    "CR at the end": _last(b"\r\n0\r\n\rx", REFUSED, REFUSED),
    "an end without its empty line": _last(b"\r\n0\r\n", REFUSED, REFUSED),
    "no last chunk": _last(b"\r\n", REFUSED, REFUSED),
    "more after the end": Row(b"SIZE\r\nDATA\r\n0\r\n\r\n\n", READ, READ),
    # Trailers.
    "a trailer": _last(b"\r\n0\r\nX: y\r\n\r\n", READ, READ),
    "a trailer that ends in LF": _last(b"\r\n0\r\nX: y\n\r\n", REFUSED, REFUSED),
    "trailers that end in LF": _last(b"\r\n0\r\nX: y\n\n", REFUSED, REFUSED),
    "a trailer with a length": _last(b"\r\n0\r\nContent-Length: 9\r\n\r\n", READ, READ),
    "a trailer with a coding": _last(b"\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n", READ, READ),
    "a trailer with no length": _last(b"\r\n0\r\nContent-Length: x\r\n\r\n", READ, REFUSED),
    "a trailer with a length less than none": _last(
        b"\r\n0\r\ncontent-length: -1\r\n\r\n", READ, REFUSED
    ),
    "a trailer with an empty length": _last(b"\r\n0\r\nContent-Length:\r\n\r\n", READ, REFUSED),
    "a trailer with a length of 23 digits": _last(
        b"\r\n0\r\nContent-Length: " + b"1" * 23 + b"\r\n\r\n", READ, REFUSED
    ),
    "trailers with two lengths": _last(
        b"\r\n0\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", READ, REFUSED
    ),
    "a trailer with an empty coding": _last(b"\r\n0\r\nTransfer-Encoding: \r\n\r\n", READ, REFUSED),
    "a trailer without a colon": _last(b"\r\n0\r\nnonsense\r\n\r\n", REFUSED, REFUSED),
    "a folded trailer": _last(b"\r\n0\r\nX: a\r\n b\r\n\r\n", READ, REFUSED),
    "a space before a trailer": _last(b"\r\n0\r\n X: a\r\n\r\n", REFUSED, REFUSED),
    "a space before a trailer's colon": _last(b"\r\n0\r\nX : a\r\n\r\n", READ, REFUSED),
    "a NUL in a trailer": _last(b"\r\n0\r\nX: \0\r\n\r\n", READ, REFUSED),
    "a bare CR in a trailer": _last(b"\r\n0\r\nX: a\rb\r\n\r\n", READ, REFUSED),
    "a trailer without a value": _last(b"\r\n0\r\nX:\r\n\r\n", READ, READ),
    "a trailer in Latin-1": _last(b"\r\n0\r\nX: \xe9\r\n\r\n", READ, READ),
    "100 trailers": _last(b"\r\n0\r\n" + b"X: y\r\n" * 100 + b"\r\n", READ, REFUSED),
    "101 trailers": _last(b"\r\n0\r\n" + b"X: y\r\n" * 101 + b"\r\n", READ, REFUSED),
    "a trailer of 4,000 bytes": _last(b"\r\n0\r\nX: " + b"y" * 4000 + b"\r\n\r\n", READ, READ),
    "a trailer of 5,000 bytes": _last(
        b"\r\n0\r\nX: " + b"y" * 5000 + b"\r\n\r\n", REFUSED, REFUSED
    ),
    "a trailer of 9,000 bytes": _last(
        b"\r\n0\r\nX: " + b"y" * 9000 + b"\r\n\r\n", REFUSED, REFUSED
    ),
    "a trailer of 20,000 bytes": _last(
        b"\r\n0\r\nX: " + b"y" * 20000 + b"\r\n\r\n", REFUSED, REFUSED
    ),
}
