"""Failed calls over real sockets leave no reference cycles for the garbage collector."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import Client, PluginError, Settings, new_client
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, answering, http

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """The garbage collector does not run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def hangs(conversation: Conversation) -> None:
    """Never answer."""
    conversation.hang()


def refuses(conversation: Conversation) -> None:
    """Answer before a file was read, and read no more."""
    conversation.sock.recv(100)
    conversation.send(http(b"no", 413))
    conversation.stopped.wait(10)


def calls(client: Client) -> None:
    """Call once."""
    client.call("M.x", {}, timeout=0.3)


def breaks_off(client: Client) -> None:
    """Send what fails as it is read."""
    client.send_file("M.x", (bytes(1 // 0) for _ in "x"))


FAILURES: dict[str, tuple[Behaviour, Callable[[Client], None]]] = {
    "no answer": (lambda conversation: conversation.read_request(), calls),
    "a time-out": (hangs, calls),
    "no HTTP": (answering(b"garbage\r\n\r\n"), calls),
    "a bad header": (answering(OK + b"X : y\r\n\r\n"), calls),
    "a bad length": (answering(OK + b"Content-Length: x\r\n\r\n"), calls),
    "too many headers": (answering(OK + b"X: y\r\n" * 200 + b"\r\n"), calls),
    "headers cut off": (answering(OK), calls),
    "an error": (answering(http(b"no", 500)), calls),
    "no JSON": (answering(http(b"no")), calls),
    "a body cut off": (answering(http(b"no", length=9)), calls),
    "chunks cut off": (answering(CHUNKED + b"9\r\n1"), calls),
    "bad chunks": (answering(CHUNKED + b"zz\r\n"), calls),
    "a bad trailer": (answering(CHUNKED + b"1\r\n1\r\n0\r\nX : y\r\n\r\n"), calls),
    "a file refused": (refuses, lambda client: client.send_file("M.x", bytes(8 << 20))),
    "a file that breaks off": (hangs, breaks_off),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_call_keeps_no_reference_to_its_client(
    failure: str, short_path: Path, once: Settings
) -> None:
    """The client and its transport are freed at once, whatever the failure was."""
    behaviour, fail = FAILURES[failure]
    with DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin:
        client = new_client(plugin.addr, settings=once)
        kept: list[weakref.ref[Any]] = [weakref.ref(client), weakref.ref(client._transport)]  # noqa: SLF001
        with suppress(PluginError, ZeroDivisionError):
            fail(client)
        client.close()

        del client

        assert [reference() for reference in kept] == [None, None]


def test_a_stream_that_was_read_in_part_keeps_no_reference_to_its_client(
    short_path: Path, once: Settings
) -> None:
    """The client, its transport and the stream are freed at once."""
    endless = answering(CHUNKED + b"1\r\n1\r\n")
    with DummyPlugin.on_unix(short_path / "p.sock", endless) as plugin:
        client = new_client(plugin.addr, settings=once)
        with client.stream("M.x") as stream:
            assert stream.read(1) == b"1"
        kept: list[weakref.ref[Any]] = [
            weakref.ref(client),
            weakref.ref(client._transport),  # noqa: SLF001
            weakref.ref(stream),
        ]
        client.close()

        del client, stream

        assert [reference() for reference in kept] == [None] * 3
