"""Uploads of a managed plugin to a Docker engine, also to a slow, broken or false one."""

import io
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins import (
    PluginError,
    Settings,
    SettingsError,
    SpecError,
    StatusError,
    TransportError,
)
from moby_plugins.app.packaging import create, package_size

PONG = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK"
SECONDS = 10


class Engine:
    """Sends the next of some responses on each connection, and keeps the requests that it got."""

    def __init__(self, path: Path) -> None:
        self.settings = Settings(engine=f"unix://{path}")
        self.sent: list[bytes] = []
        self.responses: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for it."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(SECONDS)
                self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                data += peer.recv(1 << 16)
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if b"Content-Length" in line), 0
            )
            while len(body) < length and (more := peer.recv(1 << 16)):
                body += more
            self.sent += [head, body]
            peer.sendall(self.responses.pop(0))
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 16):
                pass
        except OSError:
            pass


@pytest.fixture
def engine(short_path: Path) -> Iterator[Engine]:
    """An engine that does as it is told."""
    made = Engine(short_path / "s")
    yield made
    made.close()


@pytest.fixture
def directory(short_path: Path) -> str:
    """A plugin's directory with a file of 1 MB."""
    path = short_path / "plugin"
    (path / "rootfs").mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "rootfs" / "x").write_bytes(b"x" * 1_000_000)
    return str(path)


def test_creating_a_plugin_pings_the_engine_and_uploads_one_tar(
    engine: Engine, directory: str
) -> None:
    """The path has the API version of the ping, and the plugin's name is percent-encoded."""
    engine.responses = [PONG, b"HTTP/1.1 204 No Content\r\n\r\n"]
    followed: list[int] = []

    create(directory, "host:5000/mp/shelf:1.0", engine.settings, follow=followed.append)

    ping, nothing, head, body = engine.sent
    assert (ping.split(b"\r\n")[0], nothing) == (b"GET /_ping HTTP/1.1", b"")
    lines = head.split(b"\r\n")
    name = b"host%3A5000%2Fmp%2Fshelf%3A1.0"
    assert lines[0] == b"POST /v1.41/plugins/create?name=" + name + b" HTTP/1.1"
    assert b"Content-Type: application/x-tar" in lines
    assert len(body) == package_size(directory) == followed[-1]
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert tar.getnames() == ["config.json", "rootfs", "rootfs/x"]


@pytest.mark.parametrize("name", ["", "../x", "a b", "a?x", "a#x", "a%2fb", "a\r\nb", "a" * 10_000])
def test_an_invalid_plugin_name_is_refused_before_anything_is_sent(
    engine: Engine, directory: str, name: str
) -> None:
    """``create`` raises ``SettingsError``, and the engine gets no request."""
    with pytest.raises(SettingsError, match="is not a managed plugin's name"):
        create(directory, name, engine.settings)

    assert engine.sent == []


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (b'409 x\r\n\r\n{"message": "plugin shelf already exists"}', "docker plugin rm"),
        (b'500 x\r\n\r\n{"message": "content sha256:0 already exists"}', "another plugin of the"),
        (b'500 x\r\n\r\n{"message": "no \\u001b[2J"}', r"no \x1b[2J"),
        (b"502 x\r\n\r\n<html>bad gateway", "<html>bad gateway"),
        (b"200 x\r\n\r\n{", ""),
        (b"500 x\r\n\r\n[]", "[]"),
        (b"500 x\r\n\r\n" + b"x" * 1_000_000, "x" * 100),
    ],
)
def test_an_error_of_an_engine_is_reported_with_what_to_do(
    engine: Engine, directory: str, response: bytes, told: str
) -> None:
    """The engine's message is escaped, cut and explained; status 200 is a success with any body."""
    engine.responses = [PONG, b"HTTP/1.1 " + response]
    if not told:
        create(directory, "shelf", engine.settings)
        return

    with pytest.raises(StatusError) as caught:
        create(directory, "shelf", engine.settings)

    assert told in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "ping",
    [
        b"",
        b"hello",
        b"<html>",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nApi-Version: ../x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nApi-Version: 1.41 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    ],
)
def test_a_server_that_is_not_an_engine_gets_no_plugin(
    engine: Engine, directory: str, ping: bytes
) -> None:
    """A wrong response to the ping raises ``TransportError`` with the address."""
    engine.responses = [ping]

    with pytest.raises(TransportError) as caught:
        create(directory, "shelf", engine.settings)

    assert str(engine.settings.engine) in str(caught.value)
    assert len(engine.sent) == 2


def test_an_upload_that_gets_no_response_is_not_repeated(engine: Engine, directory: str) -> None:
    """``TransportError`` is raised at once, because the engine may have created the plugin."""
    engine.responses = [PONG, b""]

    with pytest.raises(TransportError):
        create(directory, "shelf", engine.settings)

    assert len(engine.sent) == 4


def test_an_engine_that_sends_slowly_is_given_up_at_the_time_out(
    short_path: Path, directory: str
) -> None:
    """The time-out counts from the dial to the last byte, however slowly the bytes come."""
    address = f"unix://{short_path}/s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_path / "s"))
        listening.listen()
        over = threading.Event()

        def drip() -> None:
            peer, _ = listening.accept()
            with peer:
                for byte in PONG:
                    if over.wait(0.1):
                        return
                    try:
                        peer.send(bytes([byte]))
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with pytest.raises(TransportError):
            create(directory, "shelf", Settings(engine=address, activation_timeout=0.5))
        took = time.monotonic() - began
        over.set()
        thread.join()

    assert 0.4 < took < 3


def test_a_missing_engine_or_plugin_directory_is_named_in_the_error(
    short_path: Path, directory: str
) -> None:
    """A missing socket is a ``TransportError``, and a missing directory a ``SpecError``."""
    settings = Settings(engine=f"unix://{short_path}/none")
    with pytest.raises(TransportError, match="none"):
        create(directory, "shelf", settings)
    with pytest.raises(SpecError, match="No such file"):
        package_size(str(short_path / "none"))
    assert issubclass(SpecError, PluginError)
