"""Plugins whose response heads are too large, never end, or can be read in two ways."""

import pytest

from moby_plugins import TransportError
from tests.cases import case
from tests.dummy_plugin import answering
from tests.integration.hostile.bounds import MIB, SOON, bounded
from tests.integration.hostile.plugins import OK, Against, call, endless

LENGTH = OK + b"Content-Length: 1\r\n"
SMUGGLED = LENGTH + b"\r\n2"

TOO_MUCH = {
    "a megabyte in one header": LENGTH + b"X: " + b"x" * MIB + b"\r\n\r\n1",
    "a megabyte in many": LENGTH + (b"X: " + b"x" * 1000 + b"\r\n") * 1000 + b"\r\n1",
    "100,000 headers": LENGTH + b"X: y\r\n" * 100_000 + b"\r\n1",
    "100,000 lengths": LENGTH + b"Content-Length: 1\r\n" * 100_000 + b"\r\n1",
    "a megabyte in one name": LENGTH + b"X" * MIB + b": y\r\n\r\n1",
    "a header folded 100,000 times": LENGTH + b"X: y\r\n" + b" z\r\n" * 100_000 + b"\r\n1",
    "100,000 headers of an interim answer": b"HTTP/1.1 103 X\r\n" + b"X: y\r\n" * 100_000,
}


def test_a_response_head_that_is_too_large_is_refused(against: Against) -> None:
    """In whatever way a head is too large, the call fails at once and keeps little of it."""
    for kind, head in TOO_MUCH.items():
        with (
            case(kind),
            bounded(memory=8 * MIB),
            against(answering(head)) as client,
            pytest.raises(TransportError, match="malformed response"),
        ):
            call(client, 1)


ENDLESS = {
    "status line": (b"HTTP/1.1 200 ", b"x" * 4096),
    "header": (LENGTH + b"X: ", b"x" * 4096),
    "headers": (LENGTH, b"X: y\r\n" * 700),
    "lines without a colon": (LENGTH, b"nonsense\r\n" * 400),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 160),
    "interim responses with headers": (b"", b"HTTP/1.1 103 X\r\nLink: y\r\n\r\n" * 160),
    "empty lines": (b"", b"\r\n" * 2048),
    "zeros": (b"", bytes(4096)),
}


def test_a_response_head_that_never_ends_is_refused(against: Against) -> None:
    """The call fails although it has no time-out and the plugin keeps sending."""
    for place, (head, piece) in ENDLESS.items():
        with (
            case(place),
            bounded(memory=8 * MIB),
            against(endless(head, piece)) as client,
            pytest.raises(TransportError, match="malformed response"),
        ):
            call(client, 1, timeout=None)


# To each of these another reader could give another end, or another meaning.
AMBIGUOUS = {
    "a space before the colon of the length": OK + b"Content-Length : 1\r\n\r\n1",
    "a space before the colon of the coding": OK
    + b"Transfer-Encoding : chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    "a tab before the colon": LENGTH + b"X\t: y\r\n\r\n1",
    "a length on the next line": OK + b"Content-Length:\r\n 1\r\n 2\r\n\r\n1",
    "a length that goes on": LENGTH + b" 0\r\n\r\n1234567890",
    "a coding after a vertical tab": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n1",
    "a coding and its opposite": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    "a coding of none": OK + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\n1",
    "an empty coding": OK + b"Transfer-Encoding: \r\nContent-Length: 1\r\n\r\n1",
    "a NUL in a name": LENGTH + b"X\0: y\r\n\r\n1",
    "no name": LENGTH + b": y\r\n\r\n1",
    "two lengths, one in capitals": LENGTH + b"CONTENT-LENGTH: 9\r\n\r\n1",
    "a length and a list": OK + b"Content-Length: 1\r\nContent-Length: 1, 2\r\n\r\n1",
    "a length with a sign in a list": OK + b"Content-Length: 1, +1\r\n\r\n1",
    "a length beyond 64 bits": OK + b"Content-Length: 1" + b"0" * 20 + b"\r\n\r\n1",
    "a second status line": LENGTH + SMUGGLED,
}


def test_a_response_head_that_can_be_read_in_two_ways_is_refused(against: Against) -> None:
    """If the end of the body is ambiguous, nothing of the response is used."""
    for kind, answer in AMBIGUOUS.items():
        with (
            case(kind),
            bounded(SOON),
            against(answering(answer)) as client,
            pytest.raises(TransportError, match="malformed response"),
        ):
            call(client, 1)
