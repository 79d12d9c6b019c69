"""Requests read from bytes, without a socket: the outcome does not depend on their pieces."""

import pytest

from moby_plugins import StatusError
from moby_plugins.adapters.aio.incoming import MAX_HEAD_BYTES, Head, Incoming
from tests.cases import every
from tests.chunks import ROWS as CHUNKS
from tests.heads import BODY, POST, READ, ROWS

LENGTH = b"Content-Length: %d\r\n" % len(BODY)
STEPS = pytest.mark.parametrize("step", [1 << 20, 1, 7], ids=["at once", "byte by byte", "by 7"])
# Byte by byte, a long head takes as many steps as it has bytes.
LONG = 10_000


def read(sent: bytes, step: int) -> tuple[Head, bytes] | int:
    """Head and body of the request in ``sent``, or the status of its refusal; 0 where it lacks."""
    incoming = Incoming()
    head: Head | None = None
    body = b""
    for start in range(0, len(sent), step):
        incoming.feed(sent[start : start + step])
        try:
            head = head or incoming.head()
            while head is not None and (part := incoming.body(5)) is not None:
                if not part:
                    return head, body
                body += part
        except StatusError as error:
            return error.status
        except ValueError:
            return 400
    return 0


@STEPS
def test_the_head_of_a_request_is_accepted_or_refused_as_in_the_shared_table(step: int) -> None:
    """The same table is used for the threaded server."""
    for name, row in ROWS.items():
        if not row.served:
            continue
        request = row.request
        assert request is not None, name
        if len(request) > LONG and step == 1:
            continue

        outcome = read(request, step)

        if row.served == READ:
            assert isinstance(outcome, tuple), name
            assert outcome[1] == BODY, name
            assert outcome[0].method == "/Echo.Say", name
        else:
            assert outcome == 400, name


@STEPS
def test_chunks_of_a_request_are_accepted_or_refused_as_in_the_shared_table(step: int) -> None:
    """Chunks that are refused never make a whole body."""
    for name, row in CHUNKS.items():
        sent = POST + b"Transfer-Encoding: chunked\r\n\r\n" + row.of(BODY)
        if len(sent) > LONG and step == 1:
            continue

        outcome = read(sent, step)

        if row.ours == READ:
            assert isinstance(outcome, tuple), name
            assert outcome[1] == BODY, name
        else:
            assert outcome in {0, 400}, name


PLAIN = {
    "no space": b"X:y\r\n",
    "space around": b"X: \t y \t\r\n",
    "nothing": b"X:\r\n",
    "Latin-1": b"X: \xe9\r\n",
    "colons": b"X: a:b: c\r\n",
    "twice": b"X: a\r\nx: b\r\n",
    "another case": b"x-OdD: a\r\n",
}


@every("case", PLAIN)
def test_the_fast_and_the_slow_way_of_reading_headers_give_the_same(case: str) -> None:
    """A repeated header makes the slow way necessary, and changes no other header."""
    fast = read(POST + LENGTH + PLAIN[case] + b"\r\n" + BODY, 1 << 20)
    slow = read(POST + LENGTH + PLAIN[case] + b"Z: a\r\nZ: b\r\n\r\n" + BODY, 1 << 20)

    assert isinstance(fast, tuple)
    assert isinstance(slow, tuple)
    assert {**fast[0].headers, "Z": "a, b"} == slow[0].headers


def test_several_requests_in_the_same_bytes_are_read_one_after_the_other() -> None:
    """What follows a request is left for the next."""
    incoming = Incoming()
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\nC\r\n" + BODY + b"\r\n0\r\n\r\n"
    incoming.feed((POST + LENGTH + b"\r\n" + BODY + chunked) * 2)

    for _ in range(4):
        assert incoming.head() is not None
        assert incoming.body(100) == BODY
        assert incoming.body(100) == b""
    assert len(incoming) == 0
    assert incoming.head() is None


@pytest.mark.parametrize(
    ("version", "connection", "is_kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_a_request_head_decides_whether_its_connection_is_kept_open(
    version: bytes, connection: bytes, *, is_kept: bool
) -> None:
    """The version of HTTP and the header Connection decide."""
    incoming = Incoming()
    incoming.feed(b"POST /M.x HTTP/%b\r\n%b\r\n" % (version, connection))

    head = incoming.head()

    assert head is not None
    assert (head.is_kept, head.length, head.verb) == (is_kept, 0, "POST")


@every(
    ("sent", "status"),
    [
        (b"POST /" + b"y" * MAX_HEAD_BYTES, 414),
        (POST + b"X: " + b"y" * MAX_HEAD_BYTES, 413),
        (POST + b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n", 413),
        (b"nonsense\r\n" + bytes(MAX_HEAD_BYTES), 400),
        (POST + b"X: y\n", 400),
        (b"\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_an_invalid_or_oversized_request_head_is_refused_before_its_end(
    sent: bytes, status: int
) -> None:
    """The status is that of the threaded server: 400, 413 or 414."""
    assert read(sent, 1 << 20) == status


def test_a_host_may_send_expect_100_continue_in_http_1_1_alone() -> None:
    """In HTTP/1.0 the header means nothing, and the host does not wait."""
    for version, waits in ((b"1.1", True), (b"1.0", False)):
        incoming = Incoming()
        incoming.feed(b"POST /M.x HTTP/%b\r\nExpect: 100-Continue\r\n\r\n" % version)
        head = incoming.head()
        assert head is not None
        assert head.expects_continue is waits
