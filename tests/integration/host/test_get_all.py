"""``get_all`` over real sockets: one thread begins many handshakes, and no plugin holds up another.

Each test runs with both HTTP libraries, httptools and urllib3; plugins are found by their
sockets, or by JSON specs over TCP.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from moby_plugins import (
    Client,
    PluginError,
    Registry,
    RetryPolicy,
    Settings,
    SpecError,
    TLSOptions,
    new_local_registry,
)
from moby_plugins.adapters.clock import SystemClock
from moby_plugins.domain.http import Response
from moby_plugins.ports import Address, Clock, Transport
from moby_plugins.testing import FaultServer, drips, drops, hangs, malformed, script, status
from tests.dummy_plugin import Conversation, DummyPlugin
from tests.integration.descriptors import descriptors, no_thread_called, soon

MANIFEST = b'{"Implements": ["VolumeDriver"]}'
# Seconds; a small machine has much to do.
SOON = 1.5


def answers(_: object) -> Response:
    """Answer the handshake at once."""
    return Response(200, MANIFEST)


def after(seconds: float) -> Any:
    """Answer it after so many seconds."""

    def answer(_: object) -> Response:
        time.sleep(seconds)
        return Response(200, MANIFEST)

    return answer


def in_chunks(_: object) -> Response:
    """Answer it with a body whose length is not said."""
    return Response(200, iter([MANIFEST[:9], MANIFEST[9:]]))


class Street:
    """Plugins of one kind of address, and a registry that finds them."""

    def __init__(self, directory: Path, scheme: str, settings: Settings, stack: ExitStack) -> None:
        self._directory = directory
        self._scheme = scheme
        self.settings = evolve(settings, retry=RetryPolicy.never())
        self._stack = stack
        self.servers: dict[str, FaultServer] = {}
        self.others: dict[str, str] = {}
        self.settled: dict[str, float] = {}
        self.failed: dict[str, PluginError] = {}

    def add(self, name: str, plugin: Any) -> None:
        """Start a plugin."""
        path = self._directory / f"{name}.sock"
        server = (
            FaultServer.tcp(plugin) if self._scheme == "tcp" else FaultServer.unix(plugin, path)
        )
        self.servers[name] = self._stack.enter_context(server)

    def registry(self, clock: Clock | None = None, **settings: Any) -> Registry:
        """A registry of all of them, in the order of their names."""
        if self._scheme == "tcp":
            for name, server in self.servers.items():
                spec = {"Name": name, "Addr": server.addr, "TLSConfig": {"CAFile": ""}}
                (self._directory / f"{name}.json").write_text(json.dumps(spec))
        here = str(self._directory)
        chosen = evolve(self.settings, plugins=self.others, **settings)
        chosen = evolve(chosen, sockets_path=here, specs_paths=(here,))
        return self._stack.enter_context(new_local_registry(chosen, clock=clock))

    def get_all(self, registry: Registry) -> set[str]:
        """The names of those that are active; when each was settled is noted."""
        began = time.monotonic()

        def met(name: str, _: Client) -> None:
            self.settled[name] = time.monotonic() - began

        def failed(name: str, error: PluginError) -> None:
            self.settled[name] = time.monotonic() - began
            self.failed[name] = error

        registry.handle("VolumeDriver", met)
        return {plugin.name for plugin in registry.get_all(on_failure=failed)}


@pytest.fixture
def settings(built_in: Settings) -> Settings:
    """What a registry begins side by side needs transports that can begin."""
    return built_in


@pytest.fixture(params=["unix", "tcp"])
def street(
    request: pytest.FixtureRequest, short_path: Path, settings: Settings
) -> Iterator[Street]:
    """Plugins to be activated together."""
    with ExitStack() as stack:
        yield Street(short_path, request.param, settings, stack)


class CountingClock(SystemClock):
    """The system's clock, and the number of threads that have worked by it."""

    def __init__(self) -> None:
        self.threads = 0

    def working(self) -> AbstractContextManager[None]:
        self.threads += 1
        return super().working()


def test_150_plugins_are_activated_by_two_threads(street: Street) -> None:
    """The caller's thread and one other send each plugin one handshake."""
    for number in range(150):
        street.add(f"p{number}", answers)
    clock = CountingClock()

    found = street.get_all(street.registry(clock))

    assert found == set(street.servers)
    assert clock.threads == 2
    assert {len(server.calls) for server in street.servers.values()} == {1}


def test_a_plugin_whose_handshake_response_drips_holds_no_other_back(street: Street) -> None:
    """19 plugins are active at once, while the bytes of the slow one come one by one."""
    street.add("drips", drips(MANIFEST, every=0.1))
    for number in range(19):
        street.add(f"p{number}", answers)

    found = street.get_all(street.registry())

    assert found == set(street.servers)
    assert street.settled.pop("drips") > 2
    assert max(street.settled.values()) < SOON


@pytest.mark.parametrize("behaviour", ["hangs", "in the middle of its head"])
def test_plugins_that_do_not_respond_hold_no_other_back(behaviour: str, street: Street) -> None:
    """30 silent plugins fail at their own time-outs; 30 others are active at once."""
    for number in range(30):
        street.add(f"a{number}", hangs() if behaviour == "hangs" else Stalls())
    for number in range(30):
        street.add(f"b{number}", answers)

    found = street.get_all(street.registry(activation_timeout=3))

    assert found == {name for name in street.servers if name.startswith("b")}
    late = [seconds for name, seconds in street.settled.items() if name.startswith("a")]
    assert max(seconds for name, seconds in street.settled.items() if name[0] == "b") < SOON
    assert min(late) >= 3
    assert max(late) < 3 + SOON
    assert {type(error).__name__ for error in street.failed.values()} == {"TransportTimeoutError"}


def Stalls() -> Any:  # noqa: N802  beside ``hangs``
    """Begin a response, and send no more."""
    return drips(MANIFEST, every=60)


def test_a_handler_of_activated_plugins_may_wait_for_a_slow_plugin(street: Street) -> None:
    """Handshakes that have begun go on while a handler calls ``get`` of another plugin."""
    street.add("a", answers)
    street.add("b", after(0.3))
    registry = street.registry()
    got = []
    registry.handle("VolumeDriver", lambda name, _: got.append(registry.get("b").name + name))

    assert street.get_all(registry) == {"a", "b"}
    assert got[0] == "ba"
    assert len(street.servers["b"].calls) == 1


def test_on_retry_may_wait_for_a_slow_plugin(street: Street) -> None:
    """``on_retry`` is not called by the thread that finishes the handshakes."""
    street.add("a", drops())
    street.add("b", after(0.3))
    found: list[str] = []

    def on_retry(*_: object) -> None:
        if not found:
            found.append(registry.get("b").name)

    # One more attempt, after a second.
    registry = street.registry(on_retry=on_retry, retry=RetryPolicy(budget=2.0))

    assert street.get_all(registry) == {"b"}
    assert found == ["b"]


def test_a_log_handler_may_wait_for_a_slow_plugin(street: Street) -> None:
    """A failure is not logged by the thread that finishes the handshakes."""
    street.add("a", drops())
    street.add("b", after(0.3))
    registry = street.registry(retry=RetryPolicy(budget=2.0))
    found: list[str] = []

    class Forwarding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not found:
                found.append(registry.get("b").name)

    handler = Forwarding()
    logging.getLogger("moby_plugins").addHandler(handler)
    try:
        assert street.get_all(registry) == {"b"}
    finally:
        logging.getLogger("moby_plugins").removeHandler(handler)
    assert found == ["b"]


def test_a_log_handler_of_an_address_warning_may_wait_for_a_slow_plugin(street: Street) -> None:
    """A client whose address causes a logged warning is made by a thread of its own."""
    street.add("slow", after(0.3))
    street.others["a"] = "tcp://user:secret@127.0.0.1:1"
    registry = street.registry()
    found: list[str] = []

    class Forwarding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not found and "tcp://127.0.0.1:1" in record.getMessage():
                found.append(registry.get("slow").name)

    handler = Forwarding()
    logging.getLogger("moby_plugins").addHandler(handler)
    try:
        assert street.get_all(registry) == {"slow"}
    finally:
        logging.getLogger("moby_plugins").removeHandler(handler)
    assert found == ["slow"]


def test_a_slow_on_retry_makes_no_other_plugin_time_out(street: Street) -> None:
    """Plugins that respond in time are active, although ``on_retry`` takes a second."""
    for number in range(5):
        street.add(f"p{number}", after(0.1))
    street.others["q"] = "unix:///none.sock"  # fails when it is begun, after the others
    registry = street.registry(
        on_retry=lambda *_: time.sleep(1.0),
        retry=RetryPolicy(initial=0.001, budget=0.1),
        activation_timeout=0.8,
    )

    assert street.get_all(registry) == {f"p{number}" for number in range(5)}
    assert set(street.failed) == {"q"}


def test_a_slow_handler_makes_no_plugin_time_out(street: Street) -> None:
    """The time that handlers take does not count for the time-out of a handshake."""
    for number in range(5):
        street.add(f"p{number}", after(0.1 * number))
    registry = street.registry(activation_timeout=0.9)
    registry.handle("VolumeDriver", lambda name, _: time.sleep(1.2 if name == "p0" else 0))

    assert street.get_all(registry) == set(street.servers)
    assert street.failed == {}


def test_a_handshake_response_without_a_length_activates_its_plugin(street: Street) -> None:
    """A thread of its own reads such a body, as only the HTTP library can tell its end."""
    street.add("chunks", in_chunks)
    street.add("p", answers)

    assert street.get_all(street.registry()) == {"chunks", "p"}
    assert len(street.servers["chunks"].calls) == 1


def test_a_plugin_fails_in_get_all_with_the_same_error_as_in_get(street: Street) -> None:
    """Type and message are equal; each of the two makes one attempt."""
    behaviours = {
        "drops": drops(),
        "malformed": malformed(),
        "refuses": status(500, "disk full"),
        "page": lambda _: Response(200, b"<html>"),
    }
    for name, plugin in behaviours.items():
        street.add(name, plugin)
    registry = street.registry()
    assert street.get_all(registry) == set()

    for name, error in street.failed.items():
        with pytest.raises(PluginError) as raised:
            registry.get(name)
        assert (type(error), str(error)) == (type(raised.value), str(raised.value))
        assert len(street.servers[name].calls) == 2


def test_a_handshake_that_get_all_begins_counts_as_the_first_attempt(street: Street) -> None:
    """A plugin that drops the first request and responds to the second gets two in all."""
    street.add("p", script(drops(), answers))
    registry = street.registry(retry=RetryPolicy(initial=0.01, budget=0.05))

    assert street.get_all(registry) == {"p"}
    assert len(street.servers["p"].calls) == 2


def test_a_callback_that_raises_ends_get_all_and_leaves_nothing_open(street: Street) -> None:
    """All handshakes end at once, and no descriptor and no thread is left."""
    street.add("a", drops())
    for number in range(20):
        street.add(f"b{number}", hangs())
    registry = street.registry()
    before = descriptors()
    began = time.monotonic()

    def fail(_: str, __: PluginError) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        registry.get_all(on_failure=fail)

    assert time.monotonic() - began < 10
    assert soon(before) <= before
    assert no_thread_called("moby-plugins")


def test_closing_the_registry_ends_get_all_at_once(street: Street) -> None:
    """``get_all`` raises, although it waits for plugins that never respond."""
    for number in range(5):
        street.add(f"p{number}", hangs())
    registry = street.registry()
    timer = threading.Timer(0.2, registry.close)
    timer.start()
    began = time.monotonic()

    with pytest.raises(PluginError, match="this registry is closed"):
        registry.get_all()

    assert time.monotonic() - began < 10
    timer.join()


def test_a_single_plugin_that_never_responds_is_left_out(
    short_path: Path, settings: Settings
) -> None:
    """``get_all`` returns an empty list after the activation's time-out, and raises nothing."""
    with DummyPlugin.on_unix(short_path / "p.sock", Conversation.hang):
        chosen = evolve(
            settings,
            sockets_path=str(short_path),
            specs_paths=(),
            activation_timeout=0.3,
            retry=RetryPolicy.never(),
        )
        with new_local_registry(chosen) as registry:
            assert registry.get_all() == []


@pytest.mark.parametrize("timeout", [3e6, 1e300])
def test_a_time_out_may_be_longer_than_the_system_can_wait(timeout: float, street: Street) -> None:
    """``get_all`` activates plugins with a time-out of years, as a single call does."""
    street.add("quick", answers)
    street.add("slow", after(0.1))

    assert street.get_all(street.registry(activation_timeout=timeout)) == {"quick", "slow"}


def test_a_slow_connect_function_holds_up_no_other_handshake(street: Street) -> None:
    """A thread of its own calls the user's ``connect``; other plugins are active in time."""
    for name in ("a", "z"):
        street.add(name, after(0.1))
    street.others["m"] = "slow://m"

    def connect(_: Address, __: TLSOptions | None) -> Transport:
        time.sleep(1.0)
        raise SpecError("too slow")

    transports: Any = {**street.settings.transports, "slow": connect}
    registry = street.registry(activation_timeout=0.8, transports=transports)

    assert street.get_all(registry) == {"a", "z"}
    assert max(street.settled[name] for name in ("a", "z")) < 0.8
