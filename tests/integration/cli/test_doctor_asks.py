"""What ``moby-plugins doctor`` finds by calling plugins: those that exist and do not work."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering
from tests.integration.certificates import Certificates
from tests.integration.cli.machine import Machine
from tests.integration.cli.test_doctor import diagnosed

ACTIVE = keeps_answering(b'{"Implements": ["authz"]}')


@pytest.fixture
def certificates(short_path: Path) -> Certificates:
    """An authority, and what a plugin shows."""
    directory = short_path / "tls"
    directory.mkdir()
    return Certificates(directory)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is entered here is left at the end."""
    with ExitStack() as stack:
        yield stack


def unused_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    ("behave", "what", "remedy"),
    [
        (Conversation.hang, "the plugin did not respond within 1 s", "inspect --timeout 30 odd"),
        (
            lambda talk: (talk.read_request(), talk.send(b"SSH-2.0-x\r\n")),
            "malformed response: not a status line: b'SSH-2.0-x",
            "moby-plugins inspect odd",
        ),
        (
            Conversation.read_request,
            "the plugin closed the connection without a response",
            "moby-plugins inspect odd",
        ),
        (
            answering(http(b"404 page not found", 404)),
            "it answered Plugin.Activate with 404 Not Found: 404 page not found",
            "no other program, listens there; then: moby-plugins inspect odd",
        ),
        (
            answering(http(b'{"Err": "not today"}', 500)),
            "it answered Plugin.Activate with 500 Internal Server Error: not today",
            "look into the plugin's log; then: moby-plugins inspect odd",
        ),
        (
            answering(http(b"<html>")),
            "its response to Plugin.Activate cannot be used",
            "moby-plugins inspect odd",
        ),
    ],
    ids=["hangs", "not HTTP", "hangs up", "404", "500", "not JSON"],
)
@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_a_plugin_that_does_not_work_is_a_problem(
    machine: Machine,
    stack: ExitStack,
    *,
    behave: Callable[[Conversation], object],
    what: str,
    remedy: str,
    over: str,
) -> None:
    """What is wrong and what to do are reported; with ``--no-ask`` no plugin is called."""
    path = machine.sockets / "odd.sock"
    if over == "unix":
        stack.enter_context(DummyPlugin.on_unix(path, behave))
    else:
        path = machine.specs / "odd.spec"
        path.write_text(stack.enter_context(DummyPlugin.on_tcp(behave)).addr)

    found = diagnosed(machine, "--timeout", "1")

    assert [*found] == [path.name]
    finding = found[path.name]
    assert finding["severity"] == "problem"
    assert what in finding["what"]
    assert finding["remedy"].endswith(remedy)
    assert diagnosed(machine, "--no-ask") == {}


def test_a_tcp_port_that_nothing_listens_on_is_a_problem(machine: Machine) -> None:
    """A dead plugin over TCP has no socket file to look at, so that its port is tried."""
    (machine.specs / "far.spec").write_text(f"tcp://127.0.0.1:{unused_port()}")

    finding = diagnosed(machine)["far.spec"]

    assert finding["what"] == "connection refused: no process listens there"
    assert finding["remedy"] == "start the plugin, or correct the address in the spec"


def test_an_unknown_host_in_an_address_is_a_problem(machine: Machine) -> None:
    """The spec has a host name that cannot exist, as it is reserved."""
    (machine.specs / "far.spec").write_text("tcp://plugin.invalid:1")

    finding = diagnosed(machine)["far.spec"]

    assert finding["severity"] == "problem"
    assert "host" in finding["what"] or "answer" in finding["what"] or "name" in finding["what"]


def test_a_certificate_of_another_authority_is_a_problem(
    machine: Machine, certificates: Certificates, short_path: Path, stack: ExitStack
) -> None:
    """The certificate is good, and the spec names an authority that did not sign it."""
    other = short_path / "other"
    other.mkdir()
    plugin = stack.enter_context(DummyPlugin.on_tcp(ACTIVE, certificates.server()))
    tls = {"CAFile": Certificates(other).ca_file}
    (machine.specs / "far.json").write_text(json.dumps({"Addr": plugin.addr, "TLSConfig": tls}))

    finding = diagnosed(machine)["far.json"]

    assert "certificate verify failed" in finding["what"]
    assert finding["remedy"].endswith("in TLSConfig.CAFile")


def test_a_certificate_for_another_host_is_a_problem(
    machine: Machine, certificates: Certificates, stack: ExitStack
) -> None:
    """The authority is right, and the address is not the one that the certificate is for."""
    plugin = stack.enter_context(DummyPlugin.on_tcp(ACTIVE, certificates.server()))
    address = plugin.addr.replace("localhost", "127.0.0.1")
    tls = {"CAFile": certificates.ca_file}
    (machine.specs / "far.json").write_text(json.dumps({"Addr": address, "TLSConfig": tls}))

    finding = diagnosed(machine)["far.json"]

    assert "certificate verify failed" in finding["what"]
    assert "certificate made for the host" in finding["remedy"]


@pytest.mark.parametrize("asks_for_client", [False, True])
def test_a_tls_port_with_a_tcp_address_is_a_problem(
    machine: Machine, certificates: Certificates, stack: ExitStack, *, asks_for_client: bool
) -> None:
    """The doctor tries TLS before it reports this, also where a client certificate is required."""
    context = certificates.server(asks_for_client=asks_for_client)
    plugin = stack.enter_context(DummyPlugin.on_tcp(ACTIVE, context))
    address = plugin.addr.replace("https://localhost", "tcp://127.0.0.1")
    (machine.specs / "far.spec").write_text(address)

    finding = diagnosed(machine)["far.spec"]

    assert finding["what"] == "the plugin speaks TLS, and its address says tcp://"
    assert finding["remedy"] == "write https:// in place of tcp:// in the spec"


def test_a_plain_text_port_with_an_https_address_is_a_problem(
    machine: Machine, certificates: Certificates, stack: ExitStack
) -> None:
    """The doctor tries plain text before it reports this."""

    def behave(talk: Conversation) -> None:
        plain = talk.sock.recv(1 << 16).startswith(b"POST ")
        talk.send(http(b'{"Implements": ["authz"]}') if plain else http(b"", 400))

    plugin = stack.enter_context(DummyPlugin.on_tcp(behave))
    tls = {"CAFile": certificates.ca_file}
    spec = {"Addr": plugin.addr.replace("tcp://", "https://"), "TLSConfig": tls}
    (machine.specs / "far.json").write_text(json.dumps(spec))

    finding = diagnosed(machine)["far.json"]

    assert finding["what"] == "the plugin speaks plain text, and its address says https://"


def test_a_plugin_that_implements_nothing_is_a_warning(machine: Machine, stack: ExitStack) -> None:
    """An empty manifest is allowed by the protocol, and of no use."""
    stack.enter_context(DummyPlugin.on_unix(machine.sockets / "p.sock", keeps_answering(b"{}")))

    assert diagnosed(machine)["p.sock"]["severity"] == "warning"


def test_plugins_are_called_side_by_side(machine: Machine, stack: ExitStack) -> None:
    """Twenty plugins that hang take one time-out together."""
    for number in range(20):
        path = machine.sockets / f"mute{number}.sock"
        stack.enter_context(DummyPlugin.on_unix(path, Conversation.hang))
    began = time.monotonic()

    found = diagnosed(machine, "--timeout", "1")

    assert len(found) == 20
    assert time.monotonic() - began < 5


def test_a_fifo_in_place_of_a_file_is_reported_and_never_opened(machine: Machine) -> None:
    """Opening a FIFO waits for a writer; here a spec, a CA file and a socket are FIFOs."""
    os.mkfifo(machine.specs / "a.spec")
    os.mkfifo(machine.root / "ca")
    spec = {"Addr": "https://127.0.0.1:1", "TLSConfig": {"CAFile": str(machine.root / "ca")}}
    (machine.specs / "b.json").write_text(json.dumps(spec))
    (machine.specs / "c.spec").write_text(f"unix://{machine.root}/ca")
    began = time.monotonic()

    found = diagnosed(machine)

    assert time.monotonic() - began < 10
    assert {name: found[name]["what"] for name in found} == {
        "a.spec": "it is not a regular file",
        "b.json": f"CAFile {machine.root}/ca is a FIFO",
        "c.spec": f"{machine.root}/ca is not a socket: it is a FIFO",
    }
    assert "not a regular file" in machine.run("ls").stdout
