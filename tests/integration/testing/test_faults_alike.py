"""Plugins that fail over real sockets as they fail in memory: one table, two places."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from moby_plugins import Response, Settings, SettingsError, TLSOptions, TransportError, new_client
from moby_plugins.adapters.memory.fault_server import NOBODY
from moby_plugins.domain.address import ServerTLS
from moby_plugins.serving import NoAnswerError
from moby_plugins.testing import (
    FakeClock,
    Fault,
    FaultServer,
    MemoryTransport,
    denied,
    drips,
    drops,
    drops_mid_body,
    hangs,
    malformed,
    missing_socket,
    not_json,
    refused,
    script,
    status,
)
from tests.integration.certificates import Certificates


def half_an_answer() -> Iterator[bytes]:
    """What an app gives that finds out too late that it has no answer."""
    yield b"{"
    raise NoAnswerError("gone")


# Each fault by itself, and on its way to an answer.
REPLIES: dict[str, Callable[[], Any]] = {
    "missing socket": missing_socket,
    "refused": refused,
    "denied": denied,
    "hangs": hangs,
    "hangs, then answers": lambda: hangs(0.01, {"A": 1}),
    "hangs, then drops": lambda: hangs(0.01, drops()),
    "drops": drops,
    "malformed": malformed,
    "drops mid-body": drops_mid_body,
    "drops mid-body of an error": lambda: drops_mid_body(b"oh n", 500),
    "drips": lambda: drips(b"[1]", 0.01),
    "drips for too long": lambda: drips(b"[1, 2, 3, 4, 5, 6]", 0.2),
    "drips an error for too long": lambda: drips(b"no, no, no", 1.0, 500),
    "not JSON": not_json,
    "status 404": lambda: status(404, "no such volume"),
    "status 500": lambda: status(500),
    "refused, then not": lambda: script(refused(), refused(), {"A": 1}),
    "all, then an answer": lambda: script(missing_socket(), refused(), denied(), drops(), {"A": 1}),
    "drops after an answer": lambda: script({"A": 1}, drops(), {"A": 2}),
    "a function that fails": lambda: lambda _: refused(),
    "a function that raises": lambda: lambda request: [][request.attempt],
    "an exception": lambda: TransportError("of a test's own"),
    "an app without an answer": lambda: NoAnswerError("gone"),
    "an app with half an answer": lambda: lambda _: half_an_answer(),
    "a script that is too short": lambda: script({"A": 1}),
    "bytes": lambda: b"[1]",
    "an iterator": lambda: script(iter([b"[", b"1", b"]"]), 2),
    "a response": lambda: Response(403, b"nothing for you", {"Content-Length": "3"}),
}
# Time-outs, in seconds, for those that never end; the others get all the time they need.
TIMEOUTS = {"hangs": 0.1, "drips for too long": 0.4, "drips an error for too long": 0.4}
# What a port cannot do.
ONLY_UNIX = {"missing socket", "denied", "all, then an answer"}
BOTH = pytest.mark.parametrize("reply", REPLIES)


@frozen
class Outcome:
    """What two calls came to, and what the plugin saw of them."""

    results: list[Any]
    calls: list[tuple[str, bytes, int, str]]
    sleeps: list[float]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it is said to come from."""
    while error is not None:
        yield error
        error = error.__cause__


def told(error: Exception) -> dict[str, Any]:
    """What an error tells a program and a person; elapsed time apart, which is real on a wire."""
    names = ("answered", "body_spent", "attempts", "status", "message", "method", "plugin")
    facts = {name: getattr(error, name, None) for name in (*names, "address")}
    # What exactly was no HTTP is the parser's to say.
    reason = str(getattr(error, "reason", "")).partition(":")[0]
    numbers = {getattr(cause, "errno", None) for cause in causes(error)} - {None}
    return {"type": type(error), "reason": reason, **facts, "numbers": numbers}


def outcome(
    plugin: MemoryTransport | FaultServer,
    clock: FakeClock,
    timeout: float = 10.0,
    tls: TLSOptions | None = None,
) -> Outcome:
    """Call the plugin twice, and tell all about it."""
    results: list[Any] = []
    settings = Settings(transports={"unix": plugin.connect}, timeout=timeout)
    with new_client("unix:///p.sock", tls, settings=settings, clock=clock) as client:
        for number in range(2):
            try:
                results.append(client.call("M.x", {"Number": number}))
            except Exception as error:
                results.append(told(error))
    calls = [(call.method, call.body, call.attempt, call.address) for call in plugin.calls]
    return Outcome(results, calls, clock.sleeps)


@BOTH
def test_memory_and_a_socket_fail_alike(reply: str, short_path: Path) -> None:
    """The same table gives the same errors, messages, attempts and waits in both."""
    clock = FakeClock()
    wanted = outcome(
        MemoryTransport({"M.x": REPLIES[reply]()}, clock=clock), clock, TIMEOUTS.get(reply, 10.0)
    )

    clock = FakeClock()
    with FaultServer.unix({"M.x": REPLIES[reply]()}, short_path / "p.sock", clock=clock) as server:
        assert outcome(server, clock, TIMEOUTS.get(reply, 10.0)) == wanted
    assert os.listdir(short_path) == []


@pytest.mark.parametrize("reply", [name for name in REPLIES if name not in ONLY_UNIX])
def test_a_tcp_port_fails_alike_with_and_without_tls(reply: str, tmp_path: Path) -> None:
    """A fault gives the same errors, attempts and waits in both."""
    certificates = Certificates(tmp_path)
    cert, key = certificates.server_files("127.0.0.1")
    options = TLSOptions(ca_file=certificates.ca_file)
    outcomes = []
    for tls in (None, ServerTLS(cert, key)):
        clock = FakeClock()
        with FaultServer.tcp({"M.x": REPLIES[reply]()}, tls=tls, clock=clock) as server:
            outcomes.append(outcome(server, clock, TIMEOUTS.get(reply, 10.0), options))

    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0].calls) > 0


@pytest.mark.parametrize("fault", [missing_socket(), denied()], ids=["missing", "denied"])
def test_a_tcp_port_cannot_have_the_faults_of_a_socket_file(fault: Fault) -> None:
    """A missing socket or missing permission in the table is a SettingsError in the caller."""
    with FaultServer.tcp({"M.x": fault}) as server:
        first, second = outcome(server, FakeClock()).results

    assert first["type"] is second["type"] is SettingsError


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_fault_denied_is_the_same_for_root_and_for_other_users(short_path: Path) -> None:
    """The mode of the socket keeps out its owner; as root, the host connects as another user."""
    with FaultServer.unix({"M.x": denied()}, short_path / "p.sock") as server:
        mine = outcome(server, FakeClock())
    os.chown(short_path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        with FaultServer.unix({"M.x": denied()}, short_path / "p.sock") as server:
            assert outcome(server, FakeClock()) == mine
    finally:
        os.seteuid(0)
