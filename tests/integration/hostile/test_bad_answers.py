"""Responses that no correct plugin sends: each raises the right error at once."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from moby_plugins import (
    Settings,
    StatusError,
    TransportError,
    WireError,
    new_client,
)
from tests.cases import case
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, answering, http

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 1\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Call: TypeAlias = Callable[[Behaviour], Any]


@pytest.fixture
def call(short_path: Path, once: Settings) -> Call:
    """What a call to a plugin with a given behaviour comes to, within five seconds."""

    def call_once(behaviour: Behaviour) -> Any:
        (short_path / "p.sock").unlink(missing_ok=True)
        with (
            DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin,
            new_client(plugin.addr, settings=once) as client,
        ):
            return client.call("M.x", {}, timeout=5)

    return call_once


NOT_HTTP = {
    "garbage": b"\x00\xff\x17garbage\r\n\r\n",
    "another protocol": b"220 mail.example ESMTP\r\n",
    "a web page": b"<html>It works!</html>\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status that is not a number": b"HTTP/1.1 abc OK\r\n\r\n",
    "an empty line": b"\r\n\r\n",
    "an endless status line": b"HTTP/1.1 200 " + b"x" * 70_000,
    "a header without a colon": LENGTH + b"nonsense\r\nX: y\r\n\r\n1",
    "a header that begins with a space": OK + b" X: y\r\nContent-Length: 1\r\n\r\n1",
    "200 headers": LENGTH + b"X: y\r\n" * 200 + b"\r\n1",
    "an endless header": LENGTH + b"X: " + b"x" * 70_000 + b"\r\n\r\n1",
    "endless interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + LENGTH + b"\r\n1",
    "200 headers of an interim answer": b"HTTP/1.1 103 X\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "a negative length": OK + b"Content-Length: -1\r\n\r\n1",
    "a signed length": OK + b"Content-Length: +1\r\n\r\n1",
    "an underscored length": OK + b"Content-Length: 1_0\r\n\r\n1234567890",
    "a hexadecimal length": OK + b"Content-Length: 0x1\r\n\r\n1",
    "a length in other digits": OK + "Content-Length: \u0661\r\n\r\n1".encode(),
    "an empty length": OK + b"Content-Length: \r\n\r\n1",
    "a length that is not a number": OK + b"Content-Length: one\r\n\r\n1",
    "an absurd length": OK + b"Content-Length: 9" + b"9" * 30 + b"\r\n\r\n1",
    "two lengths": LENGTH + b"Content-Length: 2\r\n\r\n12",
    "two lengths in one": OK + b"Content-Length: 1, 2\r\n\r\n12",
    "an unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\n1",
    "an unknown coding, chunked": OK
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n1\r\n1\r\n0\r\n\r\n",
}


def test_a_response_with_a_malformed_head_is_a_transport_error(call: Call) -> None:
    """A response whose head is not valid HTTP counts as none, so the call may be retried."""
    for kind, answer in NOT_HTTP.items():
        with case(kind):
            with pytest.raises(TransportError) as caught:
                call(answering(answer))

            assert type(caught.value) is TransportError
            assert caught.value.reason.startswith("malformed response: ")
            assert "Connection aborted" not in str(caught.value)
            assert not caught.value.answered


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: -5",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Transfer-Encoding: gzip, chunked",
    ],
)
def test_the_error_of_a_malformed_response_names_the_wrong_header(
    header: bytes, call: Call
) -> None:
    """The message shows the author of a plugin which header is wrong."""
    with pytest.raises(TransportError) as caught:
        call(answering(OK + header + b"\r\n\r\n1"))

    assert header.partition(b":")[0].decode() in caught.value.reason


@pytest.mark.parametrize("sent", [b"", b"HTTP", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_response_that_is_cut_off_before_its_status_counts_as_none(
    sent: bytes, call: Call
) -> None:
    """If the connection ends before the status line does, ``TransportError.answered`` is false."""
    with pytest.raises(TransportError) as caught:
        call(answering(sent))

    assert not caught.value.answered


@pytest.mark.parametrize("sent", [OK, OK + b"X: y\r\n", LENGTH, LENGTH + b"X: y\r\n"])
def test_a_response_that_is_cut_off_within_its_headers_is_a_transport_error(
    sent: bytes, call: Call
) -> None:
    """The plugin has responded by then, so ``answered`` is true and the call is not retried."""
    with pytest.raises(TransportError) as caught:
        call(answering(sent))

    assert caught.value.reason == (
        "the connection failed during the response: it was closed within the headers"
    )
    assert caught.value.answered


BAD_BODIES = {
    "cut off": OK + b"Content-Length: 9\r\n\r\n1",
    "cut off before it begins": OK + b"Content-Length: 9\r\n\r\n",
    "no chunk": CHUNKED,
    "a negative chunk": CHUNKED + b"-5\r\n12345\r\n0\r\n\r\n",
    "a signed chunk": CHUNKED + b"+1\r\n1\r\n0\r\n\r\n",
    "a prefixed chunk": CHUNKED + b"0x1\r\n1\r\n0\r\n\r\n",
    "an underscored chunk": CHUNKED + b"1_0\r\n1234567890123456\r\n0\r\n\r\n",
    "an empty chunk size": CHUNKED + b"\r\n1\r\n0\r\n\r\n",
    "a chunk size that is not a number": CHUNKED + b"zz\r\n1\r\n0\r\n\r\n",
    "a chunk size with a space before it": CHUNKED + b" 1\r\n1\r\n0\r\n\r\n",
    "an endless chunk size": CHUNKED + b"0" * 300_000 + b"1\r\n1\r\n0\r\n\r\n",
    "an endless chunk extension": CHUNKED + b"1;" + b"x" * 300_000 + b"\r\n1\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + b"1\r\n10\r\n\r\n",
    "a chunk cut off": CHUNKED + b"5\r\n1",
    "no last chunk": CHUNKED + b"1\r\n1\r\n",
    "no end of the trailer": CHUNKED + b"1\r\n1\r\n0\r\n",
    "a trailer cut off": CHUNKED + b"1\r\n1\r\n0\r\nX: y\r\n",
}


def test_a_body_that_is_cut_off_or_badly_chunked_is_a_wire_error(call: Call) -> None:
    """A body without its proper end is not a result, even if the bytes so far are valid JSON."""
    for kind, answer in BAD_BODIES.items():
        with case(kind):
            with pytest.raises(WireError) as caught:
                call(answering(answer))

            assert caught.value.reason == "the response's body is cut off or badly chunked"
            assert caught.value.method == "M.x"


def test_an_endless_trailer_is_a_wire_error(call: Call) -> None:
    """The trailer after the last chunk is bounded, too."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(CHUNKED + b"1\r\n1\r\n0\r\n" + b"X: y\r\n" * 1_000_000)

    with pytest.raises(WireError):
        call(behave)


GOOD = {
    "both a length and chunks": OK
    + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    "neither length nor chunks": OK + b"\r\n1",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n1",
    "lines that end in LF": LENGTH.replace(b"\r", b"") + b"\n1",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n1",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH + b"\r\n1",
    "a few interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 15 + LENGTH + b"\r\n1",
    "chunked in capitals": CHUNKED.replace(b"chunked", b"CHUNKED") + b"1\r\n1\r\n0\r\n\r\n",
    "chunks with extensions": CHUNKED + b"1;a=b\r\n1\r\n0;c\r\n\r\n",
    "a trailer": CHUNKED + b"1\r\n1\r\n0\r\nX: y\r\nZ: a\r\n\r\n",
    "a gzip label on plain JSON": LENGTH + b"Content-Encoding: gzip\r\n\r\n1",
    "a type of many parts": LENGTH + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n1",
}


def test_an_unusual_but_harmless_response_is_read(call: Call) -> None:
    """A response that HTTP allows, or that has a harmless fault, gives its result."""
    for kind, answer in GOOD.items():
        with case(kind):
            assert call(answering(answer)) == 1


@pytest.mark.parametrize(
    "lengths", [b"Content-Length: 1\r\nContent-Length: 1", b"Content-Length: 1, 1"]
)
def test_a_response_with_the_same_content_length_twice_is_refused(
    lengths: bytes, call: Call
) -> None:
    """Each HTTP library refuses such a response, because the parser of one of them does."""
    with pytest.raises(TransportError, match=r"malformed response: .*Content-Length"):
        call(answering(OK + lengths + b"\r\n\r\n1"))


def test_a_web_page_is_a_wire_error(call: Call) -> None:
    """A web server at the address of a plugin is not taken for a plugin."""
    with pytest.raises(WireError, match="Expecting value"):
        call(answering(http(b"<!DOCTYPE html><title>It works!</title>")))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, call: Call) -> None:
    """A plugin cannot send its host elsewhere: a redirect is an error like any other status."""
    with DummyPlugin.on_tcp(answering(http(b"1"))) as elsewhere:
        where = elsewhere.addr.replace("tcp", "http").encode()
        head = b"HTTP/1.1 %d X\r\nLocation: %b/M.x\r\nContent-Length: 5\r\n\r\n" % (status, where)

        with pytest.raises(StatusError) as caught:
            call(answering(head + b"there"))

        assert (caught.value.status, caught.value.message) == (status, "there")
        assert elsewhere.connections == 0


def test_a_reset_within_the_body_is_a_transport_error_and_is_not_retried(
    settings: Settings,
) -> None:
    """The error says that the connection failed during the response, and ``answered`` is true."""

    def reset(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(OK + b"Content-Length: 99\r\n\r\n[1,")
        # With this set, closing resets.
        conversation.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        DummyPlugin.on_tcp(reset) as plugin,
        new_client(plugin.addr, settings=settings) as client,
        pytest.raises(TransportError) as caught,
    ):
        client.call("M.x", {}, timeout=5)

    assert type(caught.value) is TransportError
    assert caught.value.reason.startswith("the connection failed during the response: ")
    assert caught.value.answered
    assert caught.value.attempts == 1
