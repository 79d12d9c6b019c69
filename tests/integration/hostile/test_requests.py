"""Hosts whose requests are too large, never end, lie about their size, or have two readings."""

import re
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from moby_plugins import StatusError, new_client
from moby_plugins.serving import plugin_server_unix
from moby_plugins.testing import Request, Response
from tests.cases import case
from tests.integration.hostile.bounds import MIB, SOON, bounded
from tests.integration.hostile.hosts import ONCE, Served

LINE = b"POST /Echo.Say HTTP/1.1\r\nHost: x\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"Text":"a"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNK = b"C\r\n" + BODY + b"\r\n"
END = b"0\r\n\r\n"
# A separate request, for a server that sees the end of the one before it somewhere else.
SMUGGLED = LINE + b"Content-Length: 19\r\n\r\n" + b'{"Text":"smuggled"}'

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[^\r]*\r\n")


def statuses(answer: bytes) -> list[int]:
    """The status of each answer in what came."""
    return [int(status) for status in _STATUS.findall(answer)]


# Of each of these a proxy, or another server, could see the end elsewhere.
AMBIGUOUS = {
    "both a length and chunks": LINE + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + END,
    "a length that hides what follows chunks": LINE
    + b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % (len(END) + len(SMUGGLED))
    + END,
    "a short length before chunks": LINE
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CHUNK
    + END,
    "two lengths": LINE + LENGTH + b"Content-Length: 2\r\n\r\n" + BODY,
    "two lengths, the first short": LINE + b"Content-Length: 2\r\n" + LENGTH + b"\r\n" + BODY,
    "a length twice": LINE + LENGTH + LENGTH + b"\r\n" + BODY,
    "a list of lengths": LINE + b"Content-Length: 12, 12\r\n\r\n" + BODY,
    "a signed length": LINE + b"Content-Length: +12\r\n\r\n" + BODY,
    "an underscored length": LINE + b"Content-Length: 1_2\r\n\r\n" + BODY,
    "a negative length": LINE + b"Content-Length: -12\r\n\r\n" + BODY,
    "a hexadecimal length": LINE + b"Content-Length: 0xC\r\n\r\n" + BODY,
    "an empty length": LINE + b"Content-Length: \r\n\r\n" + BODY,
    "a length of 19 digits": LINE + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n" + BODY,
    "a space before the colon": LINE + b"Content-Length : 12\r\n\r\n" + BODY,
    "a space before a coding's colon": LINE + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNK + END,
    "a length that goes on": LINE + b"Content-Length: 1\r\n 2\r\n\r\n" + BODY,
    "a first line that goes on": b"POST /Echo.Say HTTP/1.1\r\n X: y\r\n" + LENGTH + b"\r\n" + BODY,
    "a header that goes on": LINE + b"X: y\r\n\tz\r\n" + LENGTH + b"\r\n" + BODY,
    "chunked twice": LINE + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNK + END,
    "chunked in two headers": LINE + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + CHUNK + END,
    "an unknown coding": LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNK + END,
    "a coding that is almost one": LINE + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNK + END,
    "a coding after a vertical tab": LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNK + END,
    "no coding": LINE + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY,
    "an empty coding": LINE + b"Transfer-Encoding: \r\n" + LENGTH + b"\r\n" + BODY,
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + CHUNK + END,
    "a line without a colon": LINE + b"nonsense\r\n" + LENGTH + b"\r\n" + BODY,
    "a header without a name": LINE + b": y\r\n" + LENGTH + b"\r\n" + BODY,
    "a NUL in a name": LINE + b"X\0: y\r\n" + LENGTH + b"\r\n" + BODY,
    "a NUL in a value": LINE + b"X: \0\r\n" + LENGTH + b"\r\n" + BODY,
    "a CR in a value": LINE + b"X: y\rContent-Length: 0\r\n" + LENGTH + b"\r\n" + BODY,
    "lines that end in LF": (LINE + LENGTH).replace(b"\r", b"") + b"\n" + BODY,
}


def test_a_request_that_can_be_read_in_two_ways_is_refused(served: Served) -> None:
    """The host gets one status 400, no method is called, and further bytes are not read."""
    for kind, request in AMBIGUOUS.items():
        with case(kind):
            with bounded():
                answer = served.told(request + SMUGGLED)

            assert len(statuses(answer)) == 1, answer
            assert statuses(answer)[0] == 400, answer
            assert served.echoes.said == []
            served.assert_answers_others()


BAD_CHUNKS = {
    "a size that is not a number": b"zz\r\n" + CHUNK + END,
    "a negative size": b"-C\r\n" + BODY + b"\r\n" + END,
    "a signed size": b"+C\r\n" + BODY + b"\r\n" + END,
    "a prefixed size": b"0xC\r\n" + BODY + b"\r\n" + END,
    "an underscored size": b"0_C\r\n" + BODY + b"\r\n" + END,
    "an empty size": b"\r\n" + BODY + b"\r\n" + END,
    "a size of 16 digits": b"0" * 15 + b"C\r\n" + BODY + b"\r\n" + END,
    "a size that ends in LF": b"C\n" + BODY + b"\r\n" + END,
    "an endless size": b"0" * MIB,
    "an endless extension": b"C;" + b"x" * MIB,
    "an extension with a CR": b"C;a\rb\r\n" + BODY + b"\r\n" + END,
    "a chunk longer than its size": b"B\r\n" + BODY + b"\r\n" + END,
    "a chunk shorter than its size": b"D\r\n" + BODY + b"\r\n" + END,
    "a chunk without its end": b"C\r\n" + BODY + END,
    "no last chunk": CHUNK,
    "100,000 trailers": CHUNK + b"0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "a megabyte in a trailer": CHUNK + b"0\r\nX: " + b"y" * MIB + b"\r\n\r\n",
}


def test_bad_chunking_is_refused(served: Served) -> None:
    """The host gets status 400 or a closed connection, and the method is not called."""
    for kind, chunks in BAD_CHUNKS.items():
        with case(kind):
            with bounded():
                answer = served.told(CHUNKED + chunks + SMUGGLED)

            assert statuses(answer) in ([400], []), answer
            assert served.echoes.said == []
            served.assert_answers_others()


TOO_MUCH = {
    "a megabyte in one header": LINE + b"X: " + b"x" * MIB,
    "a megabyte in one name": LINE + b"X" * MIB,
    "a megabyte in many": LINE + (b"X: " + b"x" * 1000 + b"\r\n") * 1000,
    "100,000 headers": LINE + b"X: y\r\n" * 100_000,
    "a megabyte in the line": b"POST /" + b"x" * MIB,
    "100,000 empty lines": b"\r\n" * 100_000,
    "a megabyte of nothing": bytes(MIB),
}


def test_a_request_head_that_is_too_large_is_refused(served: Served) -> None:
    """In whatever way a head is too large, it is refused at once, and little of it is kept."""
    for kind, head in TOO_MUCH.items():
        with case(kind):
            with bounded(memory=4 * MIB):
                answer = served.told(head)

            # The rest of it may have been under way still when the connection ended, and reset it.
            assert statuses(answer) in ([400], [413], [414], []), answer
            served.assert_answers_others()


LIES = {
    "no end of the last chunk": CHUNKED + CHUNK + b"0\r\n",
    "a trailer cut off": CHUNKED + CHUNK + b"0\r\nX: y",
    "a body shorter than its length": LINE + b"Content-Length: 99\r\n\r\n" + BODY,
    "no body": LINE + LENGTH + b"\r\n",
    "half a head": LINE + b"Content-Len",
    "half a line": b"POST /Echo",
    "no coding known to anybody": LINE
    + b"Content-Encoding: gzip\r\n"
    + LENGTH
    + b"\r\n"
    + BODY[1:],
}


def test_a_request_that_does_not_arrive_whole_calls_no_method(served: Served) -> None:
    """A request that is cut off or shorter than it says gets status 400 or a closed connection."""
    for kind, request in LIES.items():
        with case(kind):
            with bounded():
                answer = served.told(request)

            assert statuses(answer) in ([400], []), answer
            assert served.echoes.said == []
            served.assert_answers_others()


def sent_for_ever(served: Served, head: bytes, piece: bytes) -> bytes:
    """What comes back while ``piece`` is sent again and again, until the plugin hangs up."""
    answer = b""
    with served.dial() as sock:
        with suppress(OSError):
            sock.sendall(head)
            while True:
                sock.sendall(piece)
        with suppress(OSError):
            while more := sock.recv(1 << 16):
                answer += more
    return answer


ENDLESS = {
    "in chunks": (CHUNKED, b"10000\r\n" + b" " * (64 << 10) + b"\r\n"),
    "of a huge length": (LINE + b"Content-Length: " + b"9" * 18 + b"\r\n\r\n", bytes(64 << 10)),
    "of an unknown method": (
        CHUNKED.replace(b"Say", b"Shout"),
        b"10000\r\n" + bytes(1 << 16) + b"\r\n",
    ),
    "of a method that takes nothing": (
        CHUNKED.replace(b"Echo.Say", b"VolumeDriver.List"),
        b"10000\r\n" + bytes(1 << 16) + b"\r\n",
    ),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_request_with_an_endless_body_ends_its_connection(kind: str, served: Served) -> None:
    """A body is read up to the plugin's limit, skipped up to another limit, then left unread."""
    with bounded(seconds=30, memory=8 * MIB):
        answer = sent_for_ever(served, *ENDLESS[kind])

    assert statuses(answer) in ([413], [404], [200], []), answer
    assert served.echoes.said == []
    served.assert_answers_others()


JSON = {
    "nested deeply": b"[" * 100_000,
    "nested deeply in the argument": b'{"Text":' * 50_000,
    "a number of 100,000 digits": b'{"Text":' + b"9" * 100_000 + b"}",
    "a string without end": b'"' + b"\\" * 99_999,
    "other bytes": bytes(range(128, 256)),
    "nothing": b"",
    "null": b"[]",
    "another type": b'{"Text":[]}',
    "NaN": b'{"Text":NaN}',
}


def test_arguments_that_are_nested_too_deep_or_malformed_get_status_400(served: Served) -> None:
    """Depth, long numbers and wrong types give a response instead of endless recursion."""
    for kind, body in JSON.items():
        with case(kind):
            with bounded(memory=8 * MIB):
                answer = served.told(LINE + b"Content-Length: %d\r\n\r\n" % len(body) + body)

            assert statuses(answer) == [400], answer
            assert served.echoes.said == []
            served.assert_answers_others()


def test_pipelined_requests_get_their_responses_in_order(served: Served) -> None:
    """Requests that are sent without waiting for responses are served one after the other."""
    with bounded(seconds=10):
        answer = served.told(
            b"".join(
                LINE + b"Content-Length: 12\r\n\r\n" + b'{"Text":"%d"}' % number
                for number in range(10)
            )
            + CHUNKED
            + CHUNK
            + END
        )

    assert statuses(answer) == [200] * 11
    assert served.echoes.said == [*map(str, range(10)), "a"]
    assert re.findall(rb'"Said":"(.)"', answer) == [b"%d" % number for number in range(10)] + [b"a"]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize(
    "option", [b"close", b"CLOSE", b"x, close", b"keep-alive", b"X,Keep-Alive"]
)
def test_the_options_of_a_connection_header_are_read_in_any_list_and_case(
    served: Served, version: bytes, option: bytes
) -> None:
    """The connection is kept with ``keep-alive``, and closed with ``close``, in any spelling."""
    request = LINE.replace(b"1.1", version) + LENGTH + b"Connection: %b\r\n\r\n" % option + BODY
    answer = served.told(request * 2)

    kept = option.lower().endswith(b"keep-alive")
    assert statuses(answer) == [200] * (2 if kept else 1)


def test_request_bodies_that_are_being_received_share_a_memory_budget(short_path: Path) -> None:
    """Hosts that send most of a large body and wait get status 503 if they exceed the budget."""
    said: list[int] = []

    def reads(request: Request) -> Response:
        said.append(len(request.read()))
        return Response(200, b"{}")

    size = 4 << 20
    server = plugin_server_unix(reads, str(short_path / "p.sock"), max_inflight_bytes=3 * size)
    with server, ExitStack() as hosts:
        crowd = []
        for _ in range(8):
            sock = hosts.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(SOON)
            sock.connect(str(short_path / "p.sock"))
            sock.sendall(b"POST /M.x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            with suppress(OSError):
                sock.sendall(bytes(size - 1))
            crowd.append(sock)
        refused, waiting = 0, []
        for sock in crowd:
            sock.settimeout(0.5)
            try:
                refused += sock.recv(100).startswith(b"HTTP/1.1 503 ")
            except TimeoutError:
                waiting.append(sock)
        # Three fit; fewer are left where several were refused before the first let go.
        assert len(waiting) <= 3
        assert refused == len(crowd) - len(waiting)
        for sock in waiting:
            sock.settimeout(SOON)
            sock.sendall(b"x")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        with new_client(server.addr, settings=ONCE) as client:
            assert client.call("M.x", "x" * size) == {}
    assert len(said) == len(waiting) + 1


def test_an_application_that_reads_a_whole_request_body_has_a_size_limit(short_path: Path) -> None:
    """A body above ``max_request_bytes`` gets status 413, with a length and in chunks alike."""

    def reads(request: Request) -> Response:
        return Response(200, b"%d" % len(request.read()))

    server = plugin_server_unix(reads, str(short_path / "p.sock"), max_request_bytes=2 << 20)
    with server, new_client(server.addr, settings=ONCE) as client:
        assert client.send_file("M.x", bytes(2 << 20)) == 2 << 20
        for body in (bytes((2 << 20) + 1), iter([bytes(1 << 20)] * 3)):
            with pytest.raises(StatusError, match="larger than 2097152 bytes") as caught:
                client.send_file("M.x", body)
            assert caught.value.status == 413


def test_a_request_body_that_is_read_in_parts_has_no_size_limit(short_path: Path) -> None:
    """An application that reads an archive in parts may get more than ``max_request_bytes``."""

    def reads(request: Request) -> Response:
        size = 0
        while part := request.read(1 << 16):
            size += len(part)
        return Response(200, b"%d" % size)

    server = plugin_server_unix(
        reads, str(short_path / "p.sock"), max_request_bytes=1 << 20, max_inflight_bytes=1 << 20
    )
    with server, new_client(server.addr, settings=ONCE) as client:
        assert client.send_file("M.x", iter([bytes(1 << 20)] * 8)) == 8 << 20
        assert client.send_file("M.x", bytes(8 << 20)) == 8 << 20
