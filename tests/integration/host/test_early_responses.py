"""Plugins that respond before they have read the whole request, and then read no more."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import evolve

from moby_plugins import Client, RetryPolicy, Settings, StatusError, TLSOptions, new_client
from moby_plugins.testing import FakeClock
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, http
from tests.integration.certificates import Certificates

TOO_LARGE = http(b'{"Err": "no room"}', 413)
SIZE = 8 << 20
# Seconds within which what is there already is received, on a machine that is busy.
SOON = 3.0
ClientOf: TypeAlias = Callable[[Behaviour], AbstractContextManager[Client]]


@pytest.fixture(params=["unix", "tcp", "tls"])
def client_of(request: pytest.FixtureRequest, short_path: Path, settings: Settings) -> ClientOf:
    """A client of a plugin with a given behaviour; it tries again, without waiting."""
    eager = evolve(settings, retry=RetryPolicy())

    @contextlib.contextmanager
    def connect(behaviour: Behaviour) -> Iterator[Client]:
        options = None
        if request.param == "unix":
            plugin = DummyPlugin.on_unix(short_path / "p.sock", behaviour)
        elif request.param == "tcp":
            plugin = DummyPlugin.on_tcp(behaviour)
        else:
            certificates = Certificates(short_path)
            plugin = DummyPlugin.on_tcp(behaviour, certificates.server())
            options = TLSOptions(certificates.ca_file)
        with (
            plugin,
            new_client(plugin.addr, options, settings=eager, clock=FakeClock()) as client,
        ):
            yield client

    return connect


def head_of(conversation: Conversation) -> bytes:
    """What comes of a request at first."""
    conversation.sock.settimeout(SOON)
    return conversation.sock.recv(4096)


def regular_file(size: int) -> Any:
    """A regular file of ``size`` bytes, which takes no room on the disk, and is not read."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  closed where it is used
    file.truncate(size)
    return file


DATA: dict[str, Callable[[], Any]] = {
    "bytes": lambda: bytes(SIZE),
    "a file in memory": lambda: io.BytesIO(bytes(SIZE)),
    "a regular file": lambda: regular_file(200 << 20),
    "chunks": lambda: iter([bytes(1000)] * (SIZE // 1000)),
}


@contextlib.contextmanager
def sent(kind: str) -> Iterator[Any]:
    """Data of this kind, which is closed at the end where it can be."""
    data = DATA[kind]()
    with data if isinstance(data, io.IOBase) else contextlib.nullcontext():
        yield data


@pytest.mark.parametrize("timeout", [None, 20.0])
@pytest.mark.parametrize("data", DATA)
def test_a_refusal_in_the_middle_of_an_upload_is_received_at_once(
    data: str, timeout: float | None, client_of: ClientOf
) -> None:
    """The status of a plugin that reads no more is the response; no request is sent again."""
    requests: list[bytes] = []

    def behave(conversation: Conversation) -> None:
        requests.append(head_of(conversation))
        conversation.send(TOO_LARGE)
        conversation.stopped.wait(4 * SOON)

    with client_of(behave) as client:
        for count in (1, 2):
            began = time.monotonic()
            with sent(data) as given, pytest.raises(StatusError, match="no room") as caught:
                client.send_file("M.x", given, timeout=timeout)

            assert time.monotonic() - began < SOON
            assert caught.value.status == 413
            assert len(requests) == count


@pytest.mark.parametrize("timeout", [None, 20.0])
def test_an_upload_stops_at_a_refusal_although_the_plugin_reads_on(
    timeout: float | None, client_of: ClientOf
) -> None:
    """A status line ends the sending, even if there is room to send more."""
    received: list[int] = []

    def behave(conversation: Conversation) -> None:
        received.append(len(head_of(conversation)))
        conversation.send(TOO_LARGE)
        with contextlib.suppress(OSError):
            while data := conversation.sock.recv(1 << 16):
                received.append(len(data))

    def slowly() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(1000)
            time.sleep(0.01)

    with client_of(behave) as client, pytest.raises(StatusError, match="no room"):
        client.send_file("M.x", slowly(), timeout=timeout)

    assert sum(received) < 100_000


@pytest.mark.parametrize("timeout", [None, 20.0])
def test_an_upload_of_a_file_stops_at_a_refusal(timeout: float | None, client_of: ClientOf) -> None:
    """The file is copied in steps, and the host looks for a response before each of them."""
    received: list[int] = []

    def behave(conversation: Conversation) -> None:
        received.append(len(head_of(conversation)))
        conversation.send(TOO_LARGE)
        with contextlib.suppress(OSError):
            while data := conversation.sock.recv(1 << 20):
                received.append(len(data))

    with client_of(behave) as client, regular_file(400 << 20) as file:
        with pytest.raises(StatusError, match="no room"):
            client.send_file("M.x", file, timeout=timeout)

        assert 0 <= file.tell() < 100 << 20

    assert sum(received) < 100 << 20


@pytest.mark.parametrize("make", [lambda: io.BytesIO(bytes(SIZE)), lambda: regular_file(SIZE)])
@pytest.mark.parametrize("timeout", [None, 20.0])
def test_interim_responses_do_not_end_an_upload(
    timeout: float | None, make: Callable[[], Any], client_of: ClientOf
) -> None:
    """Status 100 or 103 may come before, during and after the sending; all bytes arrive."""

    def behave(conversation: Conversation) -> None:
        got = head_of(conversation)
        conversation.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n")
        while len(got) < 1 << 20:
            got += conversation.sock.recv(1 << 16)
        conversation.send(b"\r\nHTTP/1.1 10")
        while len(got) < SIZE + got.index(b"\r\n\r\n") + 4:
            got += conversation.sock.recv(1 << 16)
        conversation.send(b"3 Y\r\n\r\n" + http(b"%d" % (len(got) - got.index(b"\r\n\r\n") - 4)))
        conversation.hang()

    with client_of(behave) as client, make() as file:
        assert client.send_file("M.x", file, timeout=timeout) == SIZE


def test_a_connection_is_not_reused_after_an_early_response(client_of: ClientOf) -> None:
    """The plugin could take the next request for the rest of the upload."""
    connections: list[Conversation] = []

    def behave(conversation: Conversation) -> None:
        connections.append(conversation)
        head_of(conversation)
        conversation.send(http(b"1"))
        conversation.stopped.wait(4 * SOON)

    # More than the system's buffers take, and nothing is read then: it is not sent before
    # the response comes.
    data = bytes(8 * SIZE)
    with client_of(behave) as client:
        assert client.send_file("M.x", data, timeout=30) == 1
        assert client.send_file("M.x", data, timeout=30) == 1

    assert len(connections) == 2
