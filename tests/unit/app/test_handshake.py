"""The attempts of one handshake; the first may be begun before it is waited for."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field

from moby_plugins.app.activation import ActivePlugin
from moby_plugins.app.client import Client
from moby_plugins.app.handshake import Handshake, WatchedTransport
from moby_plugins.app.retrying import Ending
from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.errors import StatusError, TransportError, WaitCancelledError
from moby_plugins.domain.plugin import Managed, Manifest, Plugin
from moby_plugins.ports import PendingResponse
from moby_plugins.testing import FakeClock, MemoryDiscovery, Request, Response
from tests.cases import every
from tests.unit.app.in_memory import Pending

ADDR = "tcp://host:1"


@define(eq=False)
class Begun(Pending):
    """The plugin's response to the handshake, which counts how often it is finished."""

    status: int = 200
    finished: int = 0

    def finish(self) -> Response:
        self.finished += 1
        return Response(self.status, b'{"Implements": ["VolumeDriver"]}')


@define(eq=False)
class Beginning:
    """A transport with ``begin``, which records the requests that it gets."""

    pending: PendingResponse | None = field(factory=Begun)
    error: TransportError | None = None
    begun: list[tuple[Request, float | None]] = field(factory=list)
    sent: list[tuple[Request, float | None]] = field(factory=list)
    closed: int = 0

    def begin(self, request: Request, timeout: float | None) -> PendingResponse | None:
        self.begun.append((request, timeout))
        if self.error is not None:
            raise self.error
        return self.pending

    def send(self, request: Request, timeout: float | None) -> Response:
        self.sent.append((request, timeout))
        return Response(200, b'{"Implements": ["LogDriver"]}')

    def close(self) -> None:
        self.closed += 1


class Looked(MemoryDiscovery):
    """A discovery of one plugin, which counts its look-ups."""

    def __init__(self, plugin: Plugin) -> None:
        super().__init__()
        self.asked = 0
        self._plugin = plugin

    def lookup(self, name: str) -> Plugin:
        self.asked += 1
        return self._plugin


def handshake(
    transport: Any, plugin: Plugin | None = None, **more: Any
) -> tuple[Handshake, Looked, Ending]:
    """A handshake with plugin ``p``, with what it looks up and what ends it."""
    discovery = Looked(plugin or Plugin("p", ADDR))
    ending = Ending("p")

    def new_client(found: Plugin) -> Client:
        return Client(transport, found.address, clock=FakeClock(), name=found.name, timeout=30.0)

    known: Callable[[Plugin], ActivePlugin | None] = more.pop("known", lambda _: None)
    schemes = more.pop("schemes", frozenset({"tcp", "https"}))
    made = Handshake("p", discovery, new_client, 2.0, known, prompt_schemes=schemes, ending=ending)
    return made, discovery, ending


def test_an_attempt_that_was_begun_is_finished_by_the_first_call() -> None:
    """There is one look-up and one request for both, with the handshake's time-out."""
    transport = Beginning()
    made, discovery, _ = handshake(transport)

    pending = made.begin()
    plugin = made(1)

    assert isinstance(pending, Begun)
    assert (pending.finished, pending.closed, discovery.asked) == (1, 1, 1)
    ((request, timeout),) = transport.begun
    assert (request.method, request.attempt, timeout) == ("Plugin.Activate", 1, 2.0)
    assert transport.sent == []
    assert plugin.manifest == Manifest(("VolumeDriver",))


def test_a_second_attempt_sends_a_new_request() -> None:
    """The first request is not finished again, and the plugin is not looked up again."""
    transport = Beginning(Begun(status=500))
    made, discovery, _ = handshake(transport)
    made.begin()
    with pytest.raises(StatusError, match=r"Plugin\.Activate"):
        made(1)

    plugin = made(2)

    assert [(request.attempt, timeout) for request, timeout in transport.sent] == [(2, 2.0)]
    assert (len(transport.begun), discovery.asked) == (1, 1)
    assert plugin.manifest == Manifest(("LogDriver",))


def test_a_request_that_the_transport_cannot_begin_is_sent_by_the_first_call() -> None:
    """The same request object is sent, and the plugin is looked up once."""
    transport = Beginning(None)
    made, discovery, _ = handshake(transport)

    assert made.begin() is None
    made(1)

    ((begun, _),) = transport.begun
    ((sent, timeout),) = transport.sent
    assert sent is begun
    assert (timeout, discovery.asked) == (2.0, 1)


@every(
    ("plugin", "schemes"),
    [
        (Plugin("p", ADDR), frozenset({"unix"})),
        (Plugin("p", "tcp://user@host:1"), frozenset({"tcp"})),
        (Plugin("p", ADDR, TLSOptions(ca_file="/ca")), frozenset({"tcp"})),
        (
            Plugin("p", "https://host:1", TLSOptions(insecure_skip_verify=True)),
            frozenset({"https"}),
        ),
    ],
)
def test_a_handshake_whose_beginning_might_wait_is_not_begun(
    plugin: Plugin, schemes: frozenset[str]
) -> None:
    """Making a TLS client or logging a warning may wait; the plugin is still looked up once."""
    transport = Beginning()
    made, discovery, _ = handshake(transport, plugin, schemes=schemes)

    assert made.begin() is None
    assert transport.begun == []
    made(1)
    assert (len(transport.sent), discovery.asked) == (1, 1)


def test_a_managed_plugin_is_activated_without_a_request() -> None:
    """The engine that manages the plugin has already said what it implements."""
    transport = Beginning()
    managed = Plugin("p", ADDR, manifest=Manifest(("authz",)), managed=Managed("/r"))
    made, _, _ = handshake(transport, managed)

    assert made.begin() is None
    plugin = made(1)

    assert (transport.begun, transport.sent) == ([], [])
    assert (plugin.manifest, plugin.managed) == (Manifest(("authz",)), Managed("/r"))


def test_an_error_of_begin_is_the_error_of_the_first_attempt() -> None:
    """The error names the plugin; the second attempt does not look it up again."""
    transport = Beginning(error=TransportError("no socket there", ADDR))
    made, discovery, _ = handshake(transport)

    with pytest.raises(TransportError, match="plugin 'p' at tcp://host:1: no socket there"):
        made.begin()
    made(2)
    assert discovery.asked == 1


def test_a_handshake_that_was_ended_sends_nothing() -> None:
    """``begin`` and an attempt both raise a WaitCancelledError that says why it was ended."""
    transport = Beginning()
    made, discovery, _ = handshake(transport)
    made.end("this registry is closed")

    for attempt in (made.begin, lambda: made(1)):
        with pytest.raises(WaitCancelledError, match="this registry is closed") as caught:
            attempt()
        assert caught.value.plugin == "p"
    assert (transport.begun, transport.sent, discovery.asked) == ([], [], 0)


def test_an_error_after_the_wait_was_ended_becomes_a_wait_cancelled_error() -> None:
    """The WaitCancelledError has the transport's error as its cause."""
    error = TransportError("reset", ADDR)
    made, _, ending = handshake(Beginning(error=error))
    ending.end("cancelled")

    with pytest.raises(WaitCancelledError, match="cancelled") as caught:
        made.begin()
    assert caught.value.__cause__ is error


def test_ending_a_handshake_closes_its_client_unless_it_has_succeeded() -> None:
    """After success the client belongs to the plugin; a second end has no effect."""
    lost, kept = Beginning(), Beginning()
    first, _, _ = handshake(lost)
    first.begin()
    first.end("over")
    first.end("over again")
    second, _, _ = handshake(kept)
    second.begin()
    second(1)
    second.end("over")

    assert (lost.closed, kept.closed) == (1, 0)


def test_a_handshake_ends_even_if_its_client_cannot_be_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exception is logged, so that the caller can go on to end other handshakes."""

    class Stubborn(Beginning):
        def close(self) -> None:
            raise OSError("stuck")

    made, _, _ = handshake(Stubborn())
    made.begin()
    made.end("over")

    (record,) = caplog.records
    assert record.getMessage() == "closing the client of plugin 'p' failed"
    assert "stuck" in caplog.text
    with pytest.raises(WaitCancelledError, match="over"):
        made(1)


def test_a_managed_plugin_that_is_active_under_another_name_is_shared() -> None:
    """No request is sent, and giving up does not close the shared client."""
    transport = Beginning()
    managed = Plugin("p:latest", ADDR, manifest=Manifest(("authz",)), managed=Managed("/r"))
    first, _, _ = handshake(transport, managed)
    active = first(1)
    made, _, _ = handshake(Beginning(), managed, known=lambda _: active)

    assert made(1) is active
    made.give_up()
    assert transport.closed == 0


def test_a_call_of_a_managed_plugin_keeps_its_time_out() -> None:
    """The transport that watches for a missing socket passes the time-out on."""
    transport, missing = Beginning(), []
    watched = WatchedTransport(transport, lambda: missing.append(1))

    watched.send(Request("M.x"), 4.0)

    assert [timeout for _, timeout in transport.sent] == [4.0]
    assert missing == []
