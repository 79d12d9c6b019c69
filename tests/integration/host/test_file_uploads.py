"""Regular files as bodies: copied by the system over plain sockets, read everywhere else."""

import contextlib
import errno
import gzip
import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import chain, islice, repeat
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import pytest
from attrs import evolve

from moby_plugins import (
    Client,
    RetryPolicy,
    Settings,
    TLSOptions,
    TransportError,
    connect_by_name,
    new_client,
)
from moby_plugins.app.settings import BUILT_IN
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import FilePart
from moby_plugins.ports import Request
from moby_plugins.testing import FakeClock
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, http
from tests.integration.certificates import Certificates

# More than one copy takes, with a hole, and of no round size.
CONTENT = random.Random(1).randbytes(2_500_001) + bytes(1 << 20) + b"the end"  # noqa: S311
# More than the buffers of any socket take.
LARGE = 64 << 20
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the content, in which what is zero takes no room."""
    path = tmp_path / "content"
    with path.open("wb") as file:
        file.write(CONTENT[:2_500_001])
        file.seek(len(CONTENT) - 7)
        file.write(CONTENT[-7:])
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A large file of zeros, which takes no room."""
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, LARGE)
    return path


def keeping(bodies: list[bytes]) -> Behaviour:
    """A plugin that keeps what it receives, and takes one request after the other."""

    def behave(conversation: Conversation) -> None:
        while request := conversation.read_request():
            bodies.append(request.partition(b"\r\n\r\n")[2])
            conversation.send(http(b"1"))

    return behave


def interrupted(act: Callable[[], object]) -> Behaviour:
    """A plugin that does something once a part of the body has come, and then reads the rest."""

    def behave(conversation: Conversation) -> None:
        left = 1 << 20
        while left > 0:
            left -= len(conversation.sock.recv(1 << 16))
        act()
        with contextlib.suppress(OSError):
            while conversation.sock.recv(1 << 16):
                pass

    return behave


@pytest.mark.parametrize("timeout", [None, 20.0])
@pytest.mark.parametrize(("mode", "buffering"), [("rb", 0), ("rb", -1), ("r+b", -1)])
def test_a_file_is_sent_from_its_position_to_its_end(
    mode: str, buffering: int, timeout: float | None, path: Path, client_of: ClientOf
) -> None:
    """All bytes arrive, holes too; the file stays open, and the connection is reused."""
    bodies: list[bytes] = []
    with client_of(keeping(bodies)) as client, path.open(mode, buffering) as opened:
        file = cast("BinaryIO", opened)
        for start in (0, 1, 1_000_001, len(CONTENT)):
            file.seek(0)
            assert file.read(start) == CONTENT[:start]  # it may have read ahead
            assert client.send_file("M.x", file, timeout=timeout) == 1
            assert file.tell() == len(CONTENT)
            assert client.call("M.x", timeout=timeout) == 1

            assert bodies[-2:] == [CONTENT[start:], b""]

        file.seek(5)
        assert file.read(5) == CONTENT[5:10]


class Upper(io.FileIO):
    """A file whose ``read`` gives other bytes than its descriptor has."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).upper()


def piped(path: Path) -> BinaryIO:
    """A pipe with the beginning of a file."""
    reading, writing = os.pipe()
    with path.open("rb") as file, open(writing, "wb") as end:
        end.write(file.read(1000))
    return open(reading, "rb")


def zipped(path: Path) -> BinaryIO:
    """A compressed file, whose descriptor has other bytes than it gives."""
    with gzip.open(path.with_suffix(".gz"), "wb") as file:
        file.write(path.read_bytes())
    return gzip.open(path.with_suffix(".gz"))  # type: ignore[return-value]


READ: dict[str, tuple[Callable[[Path], BinaryIO], bytes]] = {
    "in memory": (lambda path: io.BytesIO(path.read_bytes()), CONTENT),
    "a pipe": (piped, CONTENT[:1000]),
    "compressed": (zipped, CONTENT),
    "derived": (Upper, CONTENT.upper()),
    "buffered around derived": (lambda path: io.BufferedReader(Upper(path)), CONTENT),
}


@pytest.mark.parametrize("kind", READ)
def test_a_file_object_that_is_not_a_plain_regular_file_is_read_and_not_copied(
    kind: str, path: Path, client_of: ClientOf
) -> None:
    """Reading a compressed or derived file gives other bytes than its descriptor would."""
    make, content = READ[kind]
    bodies: list[bytes] = []
    with client_of(keeping(bodies)) as client, make(path) as file:
        assert client.send_file("M.x", file) == 1

    whole = bodies[0] if kind != "a pipe" else unchunked(bodies[0])
    assert whole == content


def unchunked(body: bytes) -> bytes:
    """What a body of one chunk has."""
    size, _, rest = body.partition(b"\r\n")
    return rest[: int(size, 16)]


class Failing:
    """A body that is the file at ``path``, whose descriptor is one of ``numbers`` at each copy."""

    def __init__(self, path: Path, numbers: Iterator[int]) -> None:
        self.copied = 0
        self._path = path
        self._numbers = numbers
        self._part = self.part()

    def part(self) -> FilePart:
        self._part = FilePart(lambda: next(self._numbers), 0, len(CONTENT))
        return self._part

    def __iter__(self) -> Iterator[bytes]:
        self.copied = self._part.offset
        with self._path.open("rb") as file:
            file.seek(self.copied)
            while chunk := file.read(1 << 16):
                yield chunk


@pytest.mark.parametrize("copies", [0, 1, 2])
@pytest.mark.parametrize("name", sorted(BUILT_IN))
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_file_that_the_system_stops_copying_is_read_from_there_on(
    kind: str, name: str, copies: int, path: Path, short_path: Path
) -> None:
    """No byte is sent twice, and none is left out, wherever ``sendfile`` fails."""
    bodies: list[bytes] = []
    with contextlib.ExitStack() as stack:
        if kind == "unix":
            plugin = DummyPlugin.on_unix(short_path / "p.sock", keeping(bodies))
        else:
            plugin = DummyPlugin.on_tcp(keeping(bodies))
        stack.enter_context(plugin)
        file = stack.enter_context(path.open("rb"))
        directory = os.open(path.parent, os.O_RDONLY)
        stack.callback(os.close, directory)
        transport = connect_by_name(name)(Address(plugin.addr), None)
        stack.callback(transport.close)
        body = Failing(path, chain(islice(repeat(file.fileno()), copies), repeat(directory)))

        response = transport.send(Request("M.x", body, length=len(CONTENT)), 20.0)

        assert response.body.read(9) == b"1"
        response.body.close()
        assert bool(body.copied) is bool(copies)
    assert bodies == [CONTENT]


@pytest.mark.parametrize("what", ["closed", "unreadable"])
def test_an_error_of_reading_the_file_is_raised_unchanged(
    what: str, large: Path, client_of: ClientOf
) -> None:
    """The ``OSError`` or ``ValueError`` is no ``TransportError``, and the call is not retried."""
    connections: list[Conversation] = []
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(large.open("rb", buffering=0))
        other = os.open(large, os.O_WRONLY)
        stack.callback(os.close, other)
        act = interrupted(file.close if what == "closed" else lambda: os.dup2(other, file.fileno()))

        def behave(conversation: Conversation) -> None:
            connections.append(conversation)
            act(conversation)

        client = stack.enter_context(client_of(behave))
        with pytest.raises((ValueError, OSError)) as caught:
            client.send_file("M.x", file, timeout=20)

    assert not isinstance(caught.value, TransportError)
    if what == "unreadable" or isinstance(caught.value, OSError):  # closed while it was read
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.EBADF
    else:
        assert type(caught.value) is ValueError
    assert len(connections) == 1


def test_a_file_that_shrinks_during_an_upload_is_a_value_error(
    large: Path, client_of: ClientOf
) -> None:
    """The error says how many bytes of the announced length are missing."""
    behave = interrupted(lambda: os.truncate(large, 2 << 20))
    with (
        client_of(behave) as client,
        large.open("rb") as file,
        pytest.raises(ValueError, match=r"^the file became shorter by \d+ bytes while it"),
    ):
        client.send_file("M.x", file, timeout=20)


def test_a_file_that_grows_is_sent_to_its_announced_length(
    large: Path, client_of: ClientOf
) -> None:
    """Bytes that are added to a file while it is sent are not part of the body."""
    received: list[int] = []

    def behave(conversation: Conversation) -> None:
        head = conversation.sock.recv(4096)
        os.truncate(large, LARGE + (1 << 20))
        left = LARGE - len(head.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(conversation.sock.recv(min(left, 1 << 20)))
        conversation.send(http(b"1"))
        conversation.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            received.append(len(conversation.sock.recv(1)))

    with client_of(behave) as client, large.open("rb") as file:
        assert client.send_file("M.x", file, timeout=20) == 1
        assert file.tell() == LARGE

    assert sum(received) == 0


def test_a_retry_sends_all_of_the_file_again(path: Path, client_of: ClientOf) -> None:
    """A retry begins at the file's first position, however much the first attempt has sent."""
    bodies: list[bytes] = []
    beginnings = iter((0, 1, 1 << 20))
    keep = keeping(bodies)

    def behave(conversation: Conversation) -> None:
        for size in beginnings:
            received = 0
            while received < size:
                received += len(conversation.sock.recv(size - received))
            return
        keep(conversation)

    with client_of(behave) as client, path.open("rb") as file:
        file.seek(10)
        assert client.send_file("M.x", file, timeout=20) == 1
        assert file.tell() == len(CONTENT)

    assert bodies == [CONTENT[10:]]


def test_a_file_is_back_at_its_first_position_after_a_connection_broke(
    large: Path, client_of: ClientOf
) -> None:
    """The caller can send the same file again after the ``TransportError``."""

    def behave(conversation: Conversation) -> None:
        conversation.sock.recv(4096)

    with client_of(behave) as client, large.open("rb") as file:
        file.seek(7)
        with pytest.raises(TransportError) as caught:
            client.send_file("M.x", file, timeout=20, retry=RetryPolicy.never())

        assert not caught.value.answered
        assert file.tell() == 7
