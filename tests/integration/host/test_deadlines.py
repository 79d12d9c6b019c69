"""A call's time-out bounds the whole call, wherever a plugin becomes slow or stops."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from moby_plugins import (
    RetryPolicy,
    Settings,
    StatusError,
    TLSOptions,
    TransportError,
    TransportTimeoutError,
    new_client,
)
from moby_plugins.app.client import Client
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, http
from tests.integration.certificates import Certificates

TIMEOUT = 0.2
# A drip goes on for longer, and a plugin that hangs for ever.
SLACK = 1.0
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# What comes at once, what drips after it, and whether that is after a status line.
DRIPS = {
    "status line": (b"", b"HTTP/1.1 200 " + b"O" * 99, False),
    "interim headers": (b"HTTP/1.1 103 Hints\r\n", b"Link: " + b"x" * 99, False),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 9, False),
    "header": (OK, b"Content-Type: " + b"x" * 99, True),
    "body": (OK + b"Content-Length: 99\r\n\r\n", b" " * 99, True),
    "body without length": (OK + b"\r\n", b" " * 99, True),
    "chunk size": (CHUNKED, b"0" * 99, True),
    "chunk": (CHUNKED + b"63\r\n", b" " * 99, True),
    "small chunks": (CHUNKED, b"1\r\n \r\n" * 20, True),
    "end of chunk": (CHUNKED + b"1\r\n1", b"\r", True),
    "trailer": (CHUNKED + b"1\r\n1\r\n0\r\n", b"X: " + b"y" * 99, True),
    "trailers": (CHUNKED + b"1\r\n1\r\n0\r\n", b"X: y\r\n" * 20, True),
}


def dripping(at_once: bytes, dripped: bytes) -> Behaviour:
    """A plugin that stops being quick in the middle of an answer, and never hangs up."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(at_once)
        conversation.drip(dripped, every=0.02)
        conversation.hang()

    return behave


ClientOf: TypeAlias = Callable[[Behaviour], contextlib.AbstractContextManager[Client]]


@pytest.fixture(params=["unix", "tls"])
def client_of(request: pytest.FixtureRequest, short_path: Path, once: Settings) -> ClientOf:
    """A client of a plugin with a given behaviour, over a UNIX socket and over TLS."""

    @contextlib.contextmanager
    def connect(behaviour: Behaviour) -> Iterator[Client]:
        options = None
        if request.param == "unix":
            plugin = DummyPlugin.on_unix(short_path / "p.sock", behaviour)
        else:
            certificates = Certificates(short_path)
            plugin = DummyPlugin.on_tcp(behaviour, certificates.server())
            options = TLSOptions(certificates.ca_file)
        with plugin, new_client(plugin.addr, options, settings=once) as client:
            yield client

    return connect


@contextlib.contextmanager
def ends_in_time(timeout: float = TIMEOUT) -> Iterator[None]:
    """What happens inside ends at the time-out, and not much later."""
    began = time.monotonic()
    yield
    assert timeout - 0.01 <= time.monotonic() - began <= timeout + SLACK


@pytest.mark.parametrize("place", DRIPS)
def test_a_response_that_drips_at_any_place_ends_at_the_time_out(
    place: str, client_of: ClientOf
) -> None:
    """A call ends in time although its response's head, body or trailers come byte by byte."""
    at_once, dripped, answered = DRIPS[place]

    with client_of(dripping(at_once, dripped)) as client:
        with ends_in_time(), pytest.raises(TransportTimeoutError) as caught:
            client.call("M.x", {}, timeout=TIMEOUT)

        assert caught.value.answered is answered
        assert caught.value.reason == "timed out"
        assert isinstance(caught.value, TimeoutError)


def test_an_error_response_that_drips_keeps_its_status_and_text(client_of: ClientOf) -> None:
    """The error at the time-out has the status, and the text that came in time."""
    head = b"HTTP/1.1 500 X\r\nContent-Length: 999\r\n\r\n"

    with client_of(dripping(head + b"disk", b"!" * 99)) as client:
        with ends_in_time(), pytest.raises(StatusError) as caught:
            client.call("M.x", {}, timeout=TIMEOUT)

        assert caught.value.status == 500
        assert caught.value.message.startswith("disk!")
        assert isinstance(caught.value.__cause__, TransportTimeoutError)


def test_a_stream_that_drips_ends_at_its_time_out(client_of: ClientOf) -> None:
    """The stream gives the bytes that come in time, and then raises."""
    came: list[bytes] = []

    with client_of(dripping(OK + b"\r\n", b"x" * 99)) as client:
        with (
            ends_in_time(),
            client.stream("M.x", timeout=TIMEOUT) as stream,
            pytest.raises(TransportTimeoutError) as caught,
        ):
            came.extend(stream)

        assert caught.value.answered
        assert 1 <= len(b"".join(came)) < 20


def test_a_stream_without_a_time_out_may_be_slow(client_of: ClientOf) -> None:
    """A stream whose bytes come one by one is read to its end."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(OK + b"Content-Length: 9\r\n\r\n")
        conversation.drip(b"123456789", every=0.02)

    with client_of(behave) as client, client.stream("M.x") as stream:
        assert b"".join(stream) == b"123456789"


def test_a_call_of_a_plugin_that_reads_nothing_ends_at_the_time_out(client_of: ClientOf) -> None:
    """The time-out bounds the sending too: of bytes, of a file and of an iterable."""

    def deaf(conversation: Conversation) -> None:
        conversation.stopped.wait(10)

    size = 32 << 20
    with client_of(deaf) as client, tempfile.TemporaryFile() as file:
        file.truncate(size)
        for body in (bytes(size), io.BytesIO(bytes(size)), file, iter([bytes(size)])):
            with ends_in_time(), pytest.raises(TransportTimeoutError) as caught:
                client.send_file("M.x", body, timeout=TIMEOUT)

            assert not caught.value.answered


def test_time_spent_on_sending_is_not_given_again_to_receiving(client_of: ClientOf) -> None:
    """A call ends at its time-out, even if sending the body took most of that time."""

    def body() -> Iterator[bytes]:
        yield b"1"
        time.sleep(TIMEOUT * 0.75)
        yield b"2"

    with client_of(dripping(b"", b"")) as client:
        with ends_in_time(), pytest.raises(TransportTimeoutError) as caught:
            client.send_file("M.x", body(), timeout=TIMEOUT)

        assert not caught.value.answered


def test_a_hang_up_on_a_reused_connection_ends_the_call_before_its_time_out(
    client_of: ClientOf,
) -> None:
    """The call is an error when the plugin hangs up, and its request is not sent again."""
    conversations: list[Conversation] = []

    def behave(conversation: Conversation) -> None:
        conversations.append(conversation)
        conversation.read_request()
        conversation.send(http(b"1"))
        conversation.read_request()
        conversation.stopped.wait(TIMEOUT * 0.5)

    with client_of(behave) as client:
        assert client.call("M.x", {}) == 1
        with pytest.raises(TransportError, match="without a response") as caught:
            client.call("M.x", {}, timeout=TIMEOUT * 10)

    assert len(conversations) == 1
    assert not caught.value.answered


def test_a_call_within_its_time_out_leaves_no_deadline_behind(client_of: ClientOf) -> None:
    """A later call without a time-out over the same connection may take longer."""

    def behave(conversation: Conversation) -> None:
        for pause in (0.0, 0.3):
            conversation.read_request()
            conversation.stopped.wait(pause)
            conversation.send(http(b"1"))

    with client_of(behave) as client:
        assert client.call("M.x", {}, timeout=TIMEOUT) == 1
        assert client.call("M.x", {}) == 1


def test_a_time_out_is_retried_only_before_a_response_has_begun(client_of: ClientOf) -> None:
    """A call without a response is sent again; a call whose response had begun is not."""
    policy = RetryPolicy(initial=0.01, max_delay=0.01, budget=5)
    requests: list[bytes] = []

    def behave(conversation: Conversation) -> None:
        requests.append(conversation.read_request())
        if len(requests) > 1:
            conversation.send(OK)
        conversation.hang()

    with client_of(behave) as client, pytest.raises(TransportError) as caught:
        client.call("M.x", {}, timeout=TIMEOUT, retry=policy)

    assert caught.value.answered
    assert caught.value.attempts == len(requests) == 2
