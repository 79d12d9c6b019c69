"""Malicious or false Docker engines: each request ends within its bounds, and only reads."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import (
    EngineDiscovery,
    InvalidPluginNameError,
    PluginError,
    Settings,
    SpecError,
    StatusError,
    TLSOptions,
    TransportError,
    TransportTimeoutError,
    WireError,
    new_local_registry,
)
from moby_plugins.testing import FakeEngine
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin
from tests.integration.certificates import Certificates
from tests.integration.cli.machine import stale_socket
from tests.unit.adapters import test_engine as in_memory

OK = b"HTTP/1.1 200 OK\r\n"
PLUGIN = {
    "Config": {"Interface": {"Socket": "s.sock", "Types": ["docker.volumedriver/1.0"]}},
    "Enabled": True,
    "Id": "a" * 64,
    "Name": "shelf:latest",
}
TIMEOUT, SLACK = 0.5, 2.0


class TestEngineDiscoveryOverASocket(in_memory.TestEngineDiscovery):
    """The promises of each discovery, kept over an engine's own socket."""

    @pytest.fixture
    def place(self, short_path: Path) -> Any:
        """An engine without plugins, on a socket."""
        engine = FakeEngine()

        class OnASocket:
            """The place that the contract tests fill with plugins: the engine."""

            def __init__(self, addr: str) -> None:
                self.ids: dict[str, str] = {}
                self.discovery = EngineDiscovery(addr)

            def add(self, name: str, addr: str) -> None:
                self.ids[name] = engine.install(name)

            def remove(self, name: str) -> None:
                engine.remove(name)

        with engine.serve(short_path / "e.sock") as server:
            yield OnASocket(server.addr)


def response(body: bytes, head: bytes = OK) -> bytes:
    """A response with a length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def engine_that_says(pages: dict[str, Any], requests: list[bytes]) -> Behaviour:
    """An engine with these pages, which notes each request."""

    def converse(conversation: Conversation) -> None:
        while request := conversation.read_request():
            requests.append(request)
            path = request.split(b" ")[1].decode("latin-1")
            if path == "/_ping":
                conversation.send(response(b"OK", OK + b"Api-Version: 1.47\r\n"))
            elif path in pages:
                conversation.send(response(json.dumps(pages[path]).encode()))
            else:
                missing = b"HTTP/1.1 404 Not Found\r\n"
                conversation.send(response(b'{"message": "not found"}', missing))

    return converse


@pytest.fixture
def requests() -> list[bytes]:
    """What came to the engine."""
    return []


@pytest.fixture
def engine(short_path: Path, requests: list[bytes]) -> Iterator[DummyPlugin]:
    """An engine with one plugin."""
    pages = {
        "/v1.47/plugins": [PLUGIN],
        "/v1.47/plugins/shelf:latest/json": PLUGIN,
        "/v1.47/info": {"DockerRootDir": "/d"},
    }
    with DummyPlugin.on_unix(short_path / "e.sock", engine_that_says(pages, requests)) as engine:
        yield engine


def test_engine_discovery_sends_only_get_requests(
    engine: DummyPlugin, requests: list[bytes]
) -> None:
    """Each request has no body, the engine's API version, and its own connection."""
    discovery = EngineDiscovery(engine.addr)

    assert discovery.scan() == ["shelf:latest"]
    assert discovery.lookup("shelf").name == "shelf:latest"
    discovery.candidates("shelf")
    discovery.ignored()

    lines = [request.split(b"\r\n")[0].decode() for request in requests]
    assert lines[:2] == ["GET /_ping HTTP/1.1", "GET /v1.47/plugins HTTP/1.1"]
    assert lines[2:5] == [
        "GET /_ping HTTP/1.1",
        "GET /v1.47/plugins/shelf:latest/json HTTP/1.1",
        "GET /v1.47/info HTTP/1.1",
    ]
    assert {line.split(" ")[0] for line in lines} == {"GET"}
    assert all(request.endswith(b"\r\n\r\n") for request in requests)
    assert not [request for request in requests if b"content-length" in request.lower()]
    assert engine.connections == len(requests)


def test_no_plugin_name_changes_the_form_of_a_request_line(
    engine: DummyPlugin, requests: list[bytes]
) -> None:
    """An invalid name is not sent; a valid name is sent unchanged, as part of one path."""
    discovery = EngineDiscovery(engine.addr)

    for name in in_memory.NO_NAMES:
        with pytest.raises(InvalidPluginNameError):
            discovery.lookup(name)
    assert requests == []
    for name in ("mp/none", "x@sha256:" + "0" * 64, "localhost:5000/a:v1", "f" * 64):
        with pytest.raises(LookupError):
            discovery.lookup(name)

    lines = [request.split(b"\r\n")[0] for request in requests if b" /v1" in request]
    assert len(lines) == 4
    for line in lines:
        assert re.fullmatch(rb"GET /v1\.47/plugins/[A-Za-z0-9:/@._-]+/json HTTP/1\.1", line)


def endless(conversation: Conversation) -> None:
    """A body that does not end, as fast as it is read."""
    conversation.read_request()
    conversation.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while not conversation.stopped.is_set():
        try:
            conversation.sock.sendall(chunk)
        except OSError:
            return


def says(data: bytes) -> Behaviour:
    """What sends these bytes to each request, and hangs up."""

    def converse(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(data)

    return converse


def drips(data: bytes) -> Behaviour:
    """What sends these bytes slowly."""

    def converse(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.drip(data, 0.1)

    return converse


def hangs(conversation: Conversation) -> None:
    """What takes a request and says nothing."""
    conversation.read_request()
    conversation.hang()


@pytest.mark.parametrize(
    ("behaviour", "kinds"),
    [
        (hangs, TransportTimeoutError),
        (drips(OK * 99), TransportTimeoutError),
        (drips(OK + b"Content-Length: 999\r\n\r\n" + b" " * 999), TransportTimeoutError),
        (endless, (WireError, TransportTimeoutError)),
        (says(response(b"<!DOCTYPE html><title>It works!</title>")), WireError),
        (says(response(b'[{"Name": "sh')), WireError),
        (says(OK + b"Content-Length: 99\r\n\r\n["), WireError),
        (says(response(b"null\xff")), WireError),
        (says(response(b"[" * 1000)), WireError),
        (says(response(b'[{"Name": "a"}, null]')), WireError),
        (says(b"220 mail.example.org ESMTP ready\r\n"), TransportError),
        (says(b""), TransportError),
        (
            says(response(b"", b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n")),
            WireError,
        ),
        (says(response(b'{"message": "no"}', b"HTTP/1.1 500 X\r\n")), StatusError),
        (says(response(b"no", b"HTTP/1.1 403 X\r\n")), WireError),
    ],
)
def test_a_server_that_is_not_an_engine_gives_an_error_within_the_time_out(
    short_path: Path, behaviour: Behaviour, kinds: Any
) -> None:
    """Scan and look-up raise an error with the server's address, whatever the server sends."""
    with DummyPlugin.on_unix(short_path / "e.sock", behaviour) as engine:
        discovery = EngineDiscovery(engine.addr, timeout=TIMEOUT)
        for ask in (discovery.scan, lambda: discovery.lookup("shelf")):
            began = time.monotonic()
            with pytest.raises(kinds) as caught:
                ask()
            assert time.monotonic() - began < TIMEOUT + SLACK
            assert isinstance(caught.value, PluginError)
            assert vars(caught.value)["address"] == engine.addr


def test_a_response_of_an_engine_has_at_most_16_mebibytes(short_path: Path) -> None:
    """One byte more is a ``WireError``, which states the bound."""
    most = b"[" + b" " * ((16 << 20) - 2) + b"]"
    with DummyPlugin.on_unix(short_path / "e.sock", says(response(most))) as engine:
        assert EngineDiscovery(engine.addr).scan() == []
    with (
        DummyPlugin.on_unix(short_path / "f.sock", says(response(most + b" "))) as engine,
        pytest.raises(WireError, match="larger than 16777216 bytes"),
    ):
        EngineDiscovery(engine.addr).scan()


def test_an_engine_that_is_gone_is_named_in_the_error(short_path: Path) -> None:
    """Scan and look-up name the address if no socket is there, or no process listens."""
    stale_socket(short_path / "stale.sock")
    for name in ("none", "stale"):
        address = f"unix://{short_path}/{name}.sock"
        settings = Settings(short_path, (), engine=address)
        with new_local_registry(settings) as registry:
            for ask in (registry.scan, lambda found=registry: found.lookup("shelf")):
                with pytest.raises(TransportError) as caught:
                    ask()
                assert caught.value.address == address


def test_a_plugin_socket_outside_of_the_engines_directory_is_never_dialled(
    short_path: Path,
) -> None:
    """A plugin whose socket's name leads elsewhere with ``../`` is a ``SpecError``."""
    with DummyPlugin.on_unix(short_path / "evil.sock", hangs) as evil:
        up = "../" * 20
        plugin = json.loads(json.dumps(PLUGIN))
        plugin["Config"]["Interface"]["Socket"] = f"{up}{short_path}/evil.sock".replace("//", "/")
        pages = {"/v1.47/plugins/shelf:latest/json": plugin}
        pages["/v1.47/info"] = {"DockerRootDir": "/d"}
        with DummyPlugin.on_unix(short_path / "e.sock", engine_that_says(pages, [])) as engine:
            settings = Settings(short_path, (), engine=engine.addr)
            with new_local_registry(settings) as registry, pytest.raises(SpecError):
                registry.get("shelf")

        assert evil.connections == 0


def test_an_engine_behind_tls_is_verified(tmp_path: Path) -> None:
    """``engine_tls`` names the authority; the certificate of an unknown authority is refused."""
    certificates = Certificates(tmp_path)
    pages = {"/v1.47/plugins": [PLUGIN]}
    with DummyPlugin.on_tcp(engine_that_says(pages, []), certificates.server()) as engine:
        known = TLSOptions(ca_file=certificates.ca_file)
        settings = Settings(tmp_path, (), engine=engine.addr, engine_tls=known)
        with new_local_registry(settings) as registry:
            assert registry.scan() == ["shelf:latest"]
        with pytest.raises(TransportError, match="certificate"):
            EngineDiscovery(engine.addr).scan()
