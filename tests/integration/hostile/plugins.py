"""Hostile plugins, and the ways to them: each built-in transport, over UNIX sockets and TCP."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from attrs import evolve, frozen

from moby_plugins import Client, RetryPolicy, Settings, new_client
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin
from tests.integration.loops import TRANSPORTS, settings_over

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
# Seconds that a plugin waits for a host that has stopped reading.
PATIENCE = 5.0

SOCKETS = ("unix", "tcp")

_NUMBER = re.compile(rb'"Number":(\d+)')


@frozen
class Way:
    """A transport and a kind of socket."""

    transport: str
    socket: str

    def __str__(self) -> str:
        return f"{self.transport} over {self.socket}"


WAYS = [Way(transport, socket) for transport in TRANSPORTS for socket in SOCKETS]
# For what a parser makes of bytes: each transport once, over the one kind of socket or the other.
ONE_EACH = [Way(transport, SOCKETS[turn % 2]) for turn, transport in enumerate(TRANSPORTS)]

Against: TypeAlias = Callable[..., AbstractContextManager[Client]]


@contextmanager
def against(way: Way, directory: Path) -> Iterator[Against]:
    """What makes a client of a plugin with a given behaviour; it never tries again."""
    with settings_over(way.transport) as settings:
        once = evolve(settings, retry=RetryPolicy.never())
        yield _against(way.socket, directory, once)


def _against(socket: str, directory: Path, once: Settings) -> Against:
    @contextmanager
    def connect(behaviour: Behaviour, **settings: Any) -> Iterator[Client]:
        if socket == "unix":
            plugin = DummyPlugin.on_unix(directory / "p.sock", behaviour)
        else:
            plugin = DummyPlugin.on_tcp(behaviour)
        with plugin, new_client(plugin.addr, settings=evolve(once, **settings)) as client:
            yield client
        (directory / "p.sock").unlink(missing_ok=True)

    return connect


def endless(head: bytes, piece: bytes) -> Behaviour:
    """A plugin that never stops answering: ``head``, then ``piece`` until the host hangs up."""

    def behave(conversation: Conversation) -> None:
        conversation.sock.settimeout(PATIENCE)
        conversation.read_request()
        try:
            conversation.sock.sendall(head)
            while not conversation.stopped.is_set():
                conversation.sock.sendall(piece)
        except OSError:
            return  # the host has had enough

    return behave


def number_of(request: bytes) -> int:
    """The number that a call carries in its arguments."""
    match = _NUMBER.search(request)
    assert match, f"no number in {request!r}"
    return int(match[1])


def call(client: Client, number: int, timeout: float | None = PATIENCE) -> Any:
    """Call number so and so."""
    return client.call("M.x", {"Number": number}, timeout=timeout)


def answer_to(request: bytes) -> bytes:
    """The body that answers a numbered call: its number."""
    return json.dumps(number_of(request)).encode()
