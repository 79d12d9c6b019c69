"""A host under gevent, in a process of its own."""

from pathlib import Path

import pytest

from moby_plugins.app.settings import BUILT_IN
from tests.dummy_plugin import Conversation, DummyPlugin, http
from tests.integration.certificates import Certificates
from tests.integration.process.programs import python

MANIFEST = http(b'{"Implements":["A"]}')


def behave(conversation: Conversation) -> None:
    """Answer as the method says."""
    sock = conversation.sock
    while head := sock.recv(1 << 16):
        if b"M.refuse" in head:
            conversation.send(http(b"no room", 413))
            conversation.stopped.wait(10)
            return
        while b"\r\n\r\n" not in head:
            head += sock.recv(1 << 16)
        left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        left -= len(head.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(sock.recv(min(left, 1 << 16)))
        if b"M.hang" in head:
            conversation.stopped.wait(10)
            return
        if b"M.slow" in head:
            conversation.stopped.wait(0.5)
        conversation.send(MANIFEST if b"Plugin.Activate" in head else http(b"1"))


REFUSED = "StatusError: M.refuse: no room"
CALLS = ["1 1 1", "1", "1", REFUSED, REFUSED, "1"]
TOLD = [*CALLS, *CALLS, "TransportTimeoutError", "in time True", "10 True"]


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
@pytest.mark.parametrize("kind", ["tcp", "https"])
def test_a_host_under_gevent_can_make_each_kind_of_call(
    kind: str, transport: str, short_path: Path, tmp_path: Path
) -> None:
    """Calls, files, early responses, streams and time-outs work over UNIX sockets, TCP and TLS."""
    certificates = Certificates(tmp_path)
    context = certificates.server() if kind == "https" else None
    with (
        DummyPlugin.on_unix(short_path / "p.sock", behave),
        DummyPlugin.on_tcp(behave, context) as plugin,
    ):
        said = python(
            *("-m", "tests.integration.process.green_host", transport),
            *(str(short_path), plugin.addr, certificates.ca_file),
        )

    assert said == ["['p'] ['p']", *TOLD, *TOLD]
