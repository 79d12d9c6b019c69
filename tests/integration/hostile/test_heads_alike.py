"""A table of heads: each HTTP library and each plugin server reads and refuses the same ones."""

from collections.abc import Callable

import pytest

from moby_plugins import StatusError, TransportError, WireError
from tests.cases import case
from tests.chunks import ROWS as CHUNKS
from tests.dummy_plugin import Behaviour, Conversation, answering, http
from tests.heads import BODY, OK, POST, READ, REFUSED, ROWS
from tests.integration.hostile.bounds import SOON, bounded
from tests.integration.hostile.hosts import Served
from tests.integration.hostile.plugins import Against, call
from tests.integration.hostile.test_requests import statuses

REFUSED_ROWS = {name: row for name, row in ROWS.items() if row.ours == REFUSED}
SERVED_ROWS = {name: row for name, row in ROWS.items() if row.served}
# Beginnings of lines that nothing can complete.
HOPELESS = {
    "another protocol": b"ICY",
    "another version": b"HTTP/2",
    "a status of letters": b"HTTP/1.1 2x",
    "a status of two digits": b"HTTP/1.1 20 ",
    "a reason with a NUL": b"HTTP/1.1 200 O\0",
    "a space in a name": OK + b"X Y",
    "no name": OK + b":",
    "a space before the colon": OK + b"Content-Length: 1\r\nX :",
    "a fold": OK + b"X: y\r\n z",
    "a control character": OK + b"X: \x01",
    "an interim header": b"HTTP/1.1 103 Hints\r\nX Y",
}
HOPELESS_AMONG_CHUNKS = {
    "a sign": b"-",
    "no digit": b"x",
    "an extension without a name": b"1;=",
    "another size": b"1\r\n1\r\ng",
    "a trailer with a space": b"1\r\n1\r\n0\r\nX Y",
    "a trailer without a name": b"1\r\n1\r\n0\r\n:",
}
# One size of a chunk, in several ways.
SIZES = [b"1", b"1 ", b"1       ", b"0001", b"1;a=b", b'1;a="b;c"']


def then_answers(first: bytes, connections: list[Conversation]) -> Behaviour:
    """A plugin that sends ``first`` at its first connection, and keeps on answering there."""

    def behave(conversation: Conversation) -> None:
        connections.append(conversation)
        if len(connections) == 1:
            conversation.read_request()
            conversation.send(first)
        while conversation.read_request():
            conversation.send(http(b"2"))

    return behave


def test_each_http_library_accepts_and_refuses_the_same_response_heads(against: Against) -> None:
    """A head that is refused raises ``TransportError`` with ``answered`` false."""
    for name, row in ROWS.items():
        with case(name), bounded(SOON), against(answering(row.response)) as client:
            if row.ours == READ:
                assert call(client, 1) == 1
            else:
                with pytest.raises(TransportError, match="malformed response: ") as caught:
                    call(client, 1)
                assert type(caught.value) is TransportError
                assert not caught.value.answered


def test_a_connection_with_a_refused_head_is_not_used_again(against: Against) -> None:
    """The next call opens another connection, though the plugin keeps the first one open."""
    for name, row in REFUSED_ROWS.items():
        with case(name):
            connections: list[Conversation] = []
            with bounded(SOON), against(then_answers(row.response, connections)) as client:
                with pytest.raises(TransportError):
                    call(client, 1)

                assert call(client, 2) == 2
                assert len(connections) == 2


def hanging(sent: bytes) -> Behaviour:
    """A plugin that sends no more, and stays."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(sent)
        conversation.hang()

    return behave


def hanging_up(sent: bytes) -> Behaviour:
    """A plugin that sends no more, and leaves."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(sent)

    return behave


@pytest.mark.parametrize("behaviour", [hanging, hanging_up])
def test_the_beginning_of_a_line_that_can_never_be_valid_is_refused_at_once(
    behaviour: Callable[[bytes], Behaviour], against: Against
) -> None:
    """The reader does not wait for the rest; the error is the same if the connection ends there."""
    for name, sent in HOPELESS.items():
        with case(name), bounded(SOON), against(behaviour(sent), timeout=None) as client:
            with pytest.raises(TransportError) as caught:
                call(client, 1)
            assert type(caught.value) is TransportError
            assert not caught.value.answered

    for name, sent in HOPELESS_AMONG_CHUNKS.items():
        with (
            case(name),
            bounded(SOON),
            against(behaviour(whole(sent)), timeout=None) as client,
            pytest.raises(WireError, match="cut off or badly chunked"),
        ):
            call(client, 1)


BEHIND = {
    "a plain response": OK + b"Content-Length: 1\r\n\r\n1",
    "a parsed head": OK + b"Connection: keep-alive\r\nContent-Length: 1\r\n\r\n1",
    "after an interim response": b"HTTP/1.1 103 X\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\n1",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    "a trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nX: y\r\n\r\n",
    "no body": OK + b"Connection: keep-alive\r\nContent-Length: 0\r\n\r\n",
}


def test_a_connection_with_bytes_behind_a_response_is_not_used_again(against: Against) -> None:
    """The bytes would be taken for the next response, whether they come with the first or later."""
    for name, response in BEHIND.items():
        with case(name):
            connections: list[Conversation] = []
            behaviour = then_answers(response + http(b"3"), connections)
            with bounded(SOON), against(behaviour) as client:
                assert call(client, 1) in {1, None}
                assert call(client, 2) == 2
                assert len(connections) == 2


@pytest.mark.parametrize("status", [101, 204, 304])
@pytest.mark.parametrize(
    "framing", [b"", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_a_response_of_status_101_204_or_304_has_no_body_whatever_its_head_says(
    status: int, framing: bytes, against: Against
) -> None:
    """The connection is not used again after 101, or where the head announces a body."""
    head = b"HTTP/1.1 %d X\r\n%b\r\n" % (status, framing)
    connections: list[Conversation] = []
    with bounded(SOON), against(then_answers(head, connections)) as client:
        with pytest.raises(StatusError) as caught:
            call(client, 1)
        assert (caught.value.status, caught.value.message) == (status, "")

        assert call(client, 2) == 2
        if framing or status == 101:
            assert len(connections) == 2


def test_each_plugin_server_accepts_and_refuses_the_same_request_heads(served: Served) -> None:
    """A request that is refused gets status 400, and no method is called."""
    for name, row in SERVED_ROWS.items():
        with case(name):
            request = row.request
            assert request is not None
            with bounded():
                answer = served.told(request)

            if row.served == READ:
                assert statuses(answer) == [200], answer
                assert served.echoes.said == ["a"]
                served.echoes.said.clear()
            else:
                assert statuses(answer) == [400], answer
                assert served.echoes.said == []


def test_each_http_library_reads_chunk_sizes_with_zeros_spaces_or_extensions(
    against: Against,
) -> None:
    """Servers whose chunk sizes have a fixed width pad them with zeros or spaces."""
    for size in SIZES:
        with case(size):
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            with bounded(SOON), against(answering(head + size + b"\r\n1\r\n0 \r\n\r\n")) as client:
                assert call(client, 1) == 1


BAD_TRAILERS = [b"X: a\0b", b"X: a\rb", b"X: a\r\n b", b"X : y", b"nonsense"]


def chunks(body: bytes, trailer: bytes) -> bytes:
    """The rest of a message with ``body`` in one chunk."""
    framing = b"Transfer-Encoding: chunked\r\n\r\n"
    return framing + b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(body), body, trailer)


def test_a_trailer_of_a_response_is_read_as_strictly_as_headers(against: Against) -> None:
    """A response with a malformed trailer raises ``WireError``."""
    for trailer in BAD_TRAILERS:
        with (
            case(trailer),
            bounded(SOON),
            against(answering(b"HTTP/1.1 200 OK\r\n" + chunks(b"1", trailer))) as client,
            pytest.raises(WireError, match="cut off or badly chunked"),
        ):
            call(client, 1)


def test_a_trailer_of_a_request_is_read_as_strictly_as_headers(served: Served) -> None:
    """A request with a malformed trailer gets status 400, and no method is called."""
    for trailer in BAD_TRAILERS:
        with case(trailer):
            answer = served.told(POST + chunks(BODY, trailer))

            assert statuses(answer) == [400], answer
            assert served.echoes.said == []


def whole(body: bytes) -> bytes:
    """A response whose body is in these chunks."""
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def in_pieces(sent: bytes, size: int) -> Behaviour:
    """A plugin that answers with ``sent``, so many bytes at a time."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        for start in range(0, len(sent), size):
            conversation.send(sent[start : start + size])

    return behave


@pytest.mark.parametrize("size", [1 << 20, 1], ids=["at once", "byte by byte"])
def test_each_http_library_accepts_and_refuses_the_same_chunked_bodies(
    size: int, against: Against
) -> None:
    """A body that is refused raises ``WireError``, whether it comes at once or byte by byte."""
    for name, row in CHUNKS.items():
        with case(name):
            sent = whole(row.of(b"1"))
            if len(sent) > 1000 and size == 1:
                continue  # it takes as many system calls
            with bounded(SOON), against(in_pieces(sent, size)) as client:
                if row.ours == READ:
                    assert call(client, 1) == 1
                else:
                    with pytest.raises(WireError, match="cut off or badly chunked"):
                        call(client, 1)


def test_each_plugin_server_accepts_and_refuses_the_same_chunked_bodies(served: Served) -> None:
    """A request whose body is refused gets status 400, and no method is called."""
    for name, row in CHUNKS.items():
        with case(name):
            request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + row.of(BODY)
            with bounded():
                answer = served.told(request)

            if row.ours == READ:
                assert statuses(answer)[:1] == [200], answer
                assert served.echoes.said == ["a"]
                served.echoes.said.clear()
            else:
                assert statuses(answer) == [400], answer
                assert served.echoes.said == []
