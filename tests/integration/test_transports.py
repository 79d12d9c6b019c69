"""Every transport over real sockets keeps the contract of all transports."""

import contextlib
import json
import select
import ssl
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from moby_plugins import TLSOptions
from moby_plugins.adapters import urllib3_http
from moby_plugins.adapters.requests_session import RequestsConnect
from moby_plugins.adapters.system_clock import SystemClock
from moby_plugins.domain.address import Address
from moby_plugins.ports import Connect, Transport
from tests.contracts.transport import (
    ANSWER,
    FAILURE,
    MUCH,
    PAGE,
    PluginThat,
    TransportContract,
    Way,
)
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, http


def body_of(request: bytes) -> bytes:
    """The body of a request as it came, out of its chunks if it was sent in chunks."""
    head, _, rest = request.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def told_of(request: bytes) -> bytes:
    """The answer that describes a request."""
    line, *headers = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    told: dict[str, Any] = {
        "method": line.removeprefix("POST /").removesuffix(" HTTP/1.1"),
        "headers": {name.lower(): value for name, _, value in (h.partition(": ") for h in headers)},
        "body": body_of(request).decode(),
    }
    return json.dumps(told).encode()


ANSWERS: dict[Way, Callable[[bytes], bytes]] = {
    "answers": lambda _: http(ANSWER),
    "answers nothing": lambda _: http(b""),
    "echoes": lambda request: http(body_of(request)),
    "tells": lambda request: http(told_of(request)),
    "fails": lambda _: http(FAILURE, 500),
    "sends a page": lambda _: http(PAGE),
    "sends much": lambda _: http(bytes(MUCH)),
}
LAST_WORDS: dict[Way, bytes] = {
    "drops": b"",
    "drops mid-body": http(b'{"', length=100),
    "is malformed": b"220 mail.example ESMTP ready\r\n",
}


def requests_of(conversation: Conversation) -> Iterator[bytes]:
    """The requests of one connection, until either end has had enough."""
    while not conversation.stopped.is_set():
        if select.select([conversation.sock], [], [], 0.02)[0]:
            request = conversation.read_request()
            if not request:
                return
            yield request


def behaviour_for(way: Way) -> Behaviour:
    """How a plugin of that name goes about one connection."""

    def behave(conversation: Conversation) -> None:
        # A host that gives up on a connection ends the conversation here.
        with contextlib.suppress(ConnectionError):
            for request in requests_of(conversation):
                if way in ANSWERS:
                    conversation.send(ANSWERS[way](request))
                elif way in LAST_WORDS:
                    conversation.send(LAST_WORDS[way])
                    return
                elif way == "drips":
                    conversation.send(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(ANSWER))
                    conversation.drip(ANSWER, every=0.1)
                else:
                    conversation.hang()

    return behave


class SocketContract(TransportContract):
    """The contract, with a plugin behind a socket for each test."""

    @pytest.fixture
    def clock(self) -> SystemClock:
        """Time on a wire is real."""
        return SystemClock()

    @pytest.fixture
    def connect(self) -> Connect:
        """How the transport under test is made."""
        return urllib3_http.connect

    @pytest.fixture
    def tls(self) -> TLSOptions | None:
        """The options it is made with."""
        return None

    @pytest.fixture
    def plugin_that(
        self, short_path: Path, connect: Connect, tls: TLSOptions | None
    ) -> Iterator[PluginThat]:
        """Transports to plugins behind real sockets, all closed at the end."""
        with contextlib.ExitStack() as stack:

            def start(way: Way) -> Transport:
                plugin = stack.enter_context(self.serve(short_path, behaviour_for(way)))
                if way == "refuses":
                    plugin.close()
                return stack.enter_context(contextlib.closing(connect(Address(plugin.addr), tls)))

            yield start

    @abstractmethod
    def serve(self, path: Path, behaviour: Behaviour) -> DummyPlugin:
        """A plugin on a socket of the kind under test."""


class TestUrllib3OverUnixSocket(SocketContract):
    REFUSED = "stale socket: it exists, but nobody listens on it"

    def serve(self, path: Path, behaviour: Behaviour) -> DummyPlugin:
        return DummyPlugin.on_unix(path / "p.sock", behaviour)


class TestUrllib3OverTCP(SocketContract):
    REFUSED = "connection refused: nobody listens there"

    def serve(self, path: Path, behaviour: Behaviour) -> DummyPlugin:
        return DummyPlugin.on_tcp(behaviour)


class TestUrllib3OverTLS(SocketContract):
    REFUSED = "connection refused: nobody listens there"

    AUTHORITY = trustme.CA()

    @pytest.fixture
    def tls(self, tmp_path: Path) -> TLSOptions:
        self.AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
        return TLSOptions(ca_file=str(tmp_path / "ca.pem"), exclusive_root_pools=True)

    def serve(self, path: Path, behaviour: Behaviour) -> DummyPlugin:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.AUTHORITY.issue_cert("localhost").configure_cert(context)
        return DummyPlugin.on_tcp(behaviour, context)


class TestRequestsOverTCP(SocketContract):
    REFUSED = "connection refused: nobody listens there"

    @pytest.fixture
    def connect(self) -> Iterator[Connect]:
        with requests.Session() as session:
            yield RequestsConnect(session)

    def serve(self, path: Path, behaviour: Behaviour) -> DummyPlugin:
        return DummyPlugin.on_tcp(behaviour)
