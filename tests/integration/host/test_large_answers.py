"""Responses and requests of any size: limited where they are decoded, streamed elsewhere."""

import tracemalloc
from pathlib import Path

import pytest
from attrs import evolve

from moby_plugins import Settings, StatusError, WireError, new_client
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, http

LIMIT = 1 << 20
MIB = bytes(1 << 20)


def endless(head: bytes, part: bytes = MIB) -> Behaviour:
    """A plugin that sends ``part`` again and again until its host hangs up."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(head)
        while not conversation.stopped.is_set():
            try:
                conversation.sock.sendall(part)
            except OSError:
                return

    return behave


ENDLESS = {
    "10 GB announced": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"),
    "no length": endless(b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunks": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + MIB + b"\r\n"
    ),
    "one chunk": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n"),
}


@pytest.fixture
def limited(once: Settings) -> Settings:
    """Settings with a bound on answers."""
    return evolve(once, max_response_bytes=LIMIT)


@pytest.mark.parametrize("behaviour", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_response_is_a_wire_error_and_takes_bounded_memory(
    behaviour: Behaviour, short_path: Path, limited: Settings
) -> None:
    """Reading stops once a response is larger than ``max_response_bytes``."""
    with (
        DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin,
        new_client(plugin.addr, settings=limited) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(WireError) as caught:
                client.call("M.x", {}, timeout=10)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert caught.value.reason == f"the response is larger than {LIMIT} bytes"
    assert peak < 4 * LIMIT


@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False)])
def test_the_limit_on_the_size_of_a_response_is_exact(
    size: int, short_path: Path, limited: Settings, *, fits: bool
) -> None:
    """A response of ``max_response_bytes`` is read; with one byte more it is a ``WireError``."""
    answer = http(b'"' + b"x" * (size - 2) + b'"')

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(answer)

    with (
        DummyPlugin.on_unix(short_path / "p.sock", behave) as plugin,
        new_client(plugin.addr, settings=limited) as client,
    ):
        if fits:
            assert client.call("M.x", {}, str) == "x" * (size - 2)
        else:
            with pytest.raises(WireError):
                client.call("M.x", {}, str)


def test_the_text_of_an_error_is_cut_after_one_mebibyte(
    short_path: Path, limited: Settings
) -> None:
    """An error response that never ends gives an error with one mebibyte of its text."""
    behaviour = endless(b"HTTP/1.1 500 X\r\n\r\n", b"x" * 1000)

    with (
        DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin,
        new_client(plugin.addr, settings=limited) as client,
        pytest.raises(StatusError) as caught,
    ):
        client.call("M.x", {}, timeout=10)

    assert caught.value.status == 500
    assert caught.value.message == "x" * (1 << 20)


def test_a_stream_has_no_limit_on_its_size(short_path: Path, limited: Settings) -> None:
    """A stream gives more than ``max_response_bytes`` without keeping it."""
    wanted = 16 * LIMIT
    came = 0

    with (
        DummyPlugin.on_unix(short_path / "p.sock", ENDLESS["chunks"]) as plugin,
        new_client(plugin.addr, settings=limited) as client,
        client.stream("M.x", timeout=10) as stream,
    ):
        while came < wanted:
            chunk = stream.read()
            assert 1 <= len(chunk) <= 256 << 10
            came += len(chunk)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_early_error_during_an_upload_is_read(
    kind: str, short_path: Path, limited: Settings, *, chunked: bool
) -> None:
    """The response of a plugin that refuses an upload after its first bytes is received."""

    def refuse(conversation: Conversation) -> None:
        conversation.sock.recv(1000)
        conversation.send(http(b'{"Err": "disk full"}', 500))
        if kind == "tcp":
            # To hang up on data that was not read is a reset, which may overtake the answer.
            conversation.hang()

    data = bytes(10 << 20)
    body = iter([data[:LIMIT], data[LIMIT:]]) if chunked else data
    plugin = (
        DummyPlugin.on_tcp(refuse)
        if kind == "tcp"
        else DummyPlugin.on_unix(short_path / "p.sock", refuse)
    )
    with plugin, new_client(plugin.addr, settings=limited) as client:
        with pytest.raises(StatusError) as caught:
            client.send_file("M.x", body, timeout=5)

        assert str(caught.value) == "M.x: disk full"
