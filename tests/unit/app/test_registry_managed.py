"""Managed plugins, which an engine installs, in a registry: names, disabling, installing again."""

import threading
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from moby_plugins import (
    Cancellation,
    EngineDiscovery,
    FirstOf,
    InvalidPluginNameError,
    NotImplementedByPluginError,
    Plugin,
    PluginDisabledError,
    PluginError,
    PluginNotFoundError,
    Registry,
    SpecError,
    TransportError,
    WaitCancelledError,
)
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.ports import Transport
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    FakeEngine,
    MemoryDiscovery,
    MemoryTransport,
    hangs,
    missing_socket,
    refused,
)

# Nothing takes as long.
SECONDS = 10.0


class Host:
    """A registry of one engine's plugins, and of those in memory behind it.

    ``plugins`` are transports by address; what is at none has no socket there. ``dialled`` lists
    the addresses that clients were made for.
    """

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine()
        self.disk = MemoryDiscovery()
        self.plugins: dict[str, MemoryTransport] = {}
        self.dialled: list[str] = []
        self.registry = Registry(
            discovery=FirstOf(self.engine.discovery(clock=self.clock), self.disk),
            connect=self.connect,
            clock=self.clock,
        )

    def install(self, name: str, *types: str) -> MemoryTransport:
        """Install a plugin that has volumes, and expects no handshake."""
        identity = self.engine.install(name, types or ("docker.volumedriver/1.0",))
        table: dict[str, Any] = {"VolumeDriver.List": {"Volumes": []}}
        addr = f"unix:///run/docker/plugins/{identity}/plugin.sock"
        self.plugins[addr] = MemoryTransport(table, clock=self.clock, addr=addr)
        return self.plugins[addr]

    def uninstall(self, name: str) -> None:
        """Remove a plugin, and its socket."""
        self.plugins.pop(self.engine.discovery().lookup(name).addr)
        self.engine.remove(name)

    def connect(self, address: Address, _: TLSOptions | None, /) -> Transport:
        """Make a transport to whatever is at the address."""
        self.dialled.append(address.text)
        host = self

        class Line:
            """Whatever is at the address when a call is sent."""

            def send(self, request, timeout):  # type: ignore[no-untyped-def]
                gone = MemoryTransport(missing_socket(), addr=address.text)
                return host.plugins.get(address.text, gone).send(request, timeout)

            def close(self) -> None:
                pass

            def __repr__(self) -> str:
                return "a line"

        return Line()


@pytest.fixture
def host() -> Iterator[Host]:
    """A host whose engine has no plugin yet."""
    host = Host()
    with host.registry:
        yield host


def test_all_names_of_a_managed_plugin_give_one_client(host: Host) -> None:
    """The plugin is dialled once, each handler is called once, and no handshake is sent."""
    plugin = host.install("mp/shelf")
    met: list[str] = []
    host.registry.handle("VolumeDriver", lambda name, _: met.append(name))
    first = host.registry.get("mp/shelf", "VolumeDriver")
    identity = first.address.path.split("/")[4]

    names = ("mp/shelf", "mp/shelf:latest", identity, identity[:12])
    clients = {id(host.registry.get(name).client) for name in names}
    host.registry.handle("volumedriver", lambda name, _: met.append(f"late {name}"))

    assert clients == {id(first.client)}
    assert len(host.dialled) == 1
    assert met == ["mp/shelf:latest", "late mp/shelf:latest"]
    assert first.name == "mp/shelf:latest"
    assert repr(first.client).endswith("plugin.sock over a line>")
    assert plugin.calls == []
    assert host.registry.get("mp/shelf", VolumeDriver).list() == ()
    assert plugin.calls.methods == ["VolumeDriver.List"]


def test_threads_that_get_a_plugin_by_different_names_share_one_client(host: Host) -> None:
    """Sixteen threads ask at the same time, and the handler is called once."""
    host.install("shelf")
    met: list[str] = []
    host.registry.handle("VolumeDriver", lambda name, _: met.append(name))
    identity = host.registry.lookup("shelf").address.path.split("/")[4]
    names = ["shelf", "shelf:latest", identity, identity[:20]] * 4
    clients: list[object] = []
    barrier = threading.Barrier(len(names))

    def get(name: str) -> None:
        barrier.wait()
        clients.append(host.registry.get(name).client)

    threads = [threading.Thread(target=get, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(clients) == len(names)
    assert len(set(map(id, clients))) == 1
    assert met == ["shelf:latest"]


def test_get_all_returns_a_managed_plugin_once_and_hides_its_namesake_on_disk(host: Host) -> None:
    """Plugins on disk of other names are returned, too."""
    host.install("shelf")
    host.disk.add("shelf", "memory://v1")
    host.disk.add("other", "memory://other")
    host.plugins["memory://other"] = MemoryTransport(
        {"Plugin.Activate": {"Implements": ["VolumeDriver"]}}
    )

    plugins = host.registry.get_all("VolumeDriver")

    assert [plugin.name for plugin in plugins] == ["other", "shelf:latest"]
    assert host.registry.get_all("volumedriver") == [plugins[1]]


def test_get_of_a_disabled_plugin_raises_at_once(host: Host) -> None:
    """A plugin on disk does not replace a disabled one, which is returned once it is enabled."""
    host.install("shelf")
    host.engine.disable("shelf")
    host.disk.add("shelf", "memory://v1")
    failures: dict[str, PluginError] = {}

    with pytest.raises(PluginDisabledError, match="docker plugin enable shelf"):
        host.registry.get("shelf", "VolumeDriver")
    assert host.registry.get_all(None, on_failure=failures.__setitem__) == []

    assert host.clock.sleeps == []
    assert isinstance(failures["shelf"], PluginDisabledError)
    host.engine.enable("shelf")
    assert host.registry.get("shelf").name == "shelf:latest"


@pytest.mark.parametrize("name", ["none", "mp/none", "mp/none:v1", "NONE"])
def test_a_name_unknown_to_engine_and_disk_is_retried_for_15_seconds_in_all(
    host: Host, name: str
) -> None:
    """Both discoveries share one schedule of five attempts."""
    with pytest.raises(PluginNotFoundError) as caught:
        host.registry.get(name)

    assert host.clock.sleeps == [1.0, 2.0, 4.0, 8.0]
    assert caught.value.attempts == 5


def test_a_plugin_installed_while_get_waits_is_returned(host: Host) -> None:
    """A plugin that is installed at 2 s is returned by the attempt at 3 s."""
    host.clock.at(2.0, lambda: host.install("mp/late"))

    assert host.registry.get("mp/late").name == "mp/late:latest"
    assert host.clock.now() == 3.0


@pytest.mark.parametrize("name", ["..", "a//b", "mp/SHELF", "a\r\nb/c", "mp/a?x"])
def test_a_name_that_no_discovery_can_take_is_refused(host: Host, name: str) -> None:
    """``get`` raises at once, and the engine is sent no part of the name."""
    with pytest.raises(InvalidPluginNameError):
        host.registry.get(name)

    assert (host.clock.sleeps, host.engine.requests) == ([], [])


def test_without_an_engine_a_name_with_a_slash_is_refused() -> None:
    """Only managed plugins have such names; a plugin on disk is named after its file."""
    with (
        Registry(
            discovery=MemoryDiscovery(), connect=MemoryTransport({}).connect, clock=FakeClock()
        ) as registry,
        pytest.raises(InvalidPluginNameError),
    ):
        registry.get("mp/shelf")


def test_an_engine_that_cannot_be_reached_is_waited_for(host: Host) -> None:
    """``get`` makes five attempts; ``scan`` and ``get_all`` raise the error, too."""
    host.install("shelf")
    host.engine.answer_with(refused())

    with pytest.raises(TransportError) as caught:
        host.registry.get("shelf")
    assert (caught.value.attempts, host.clock.sleeps) == (5, [1.0, 2.0, 4.0, 8.0])
    assert "memory://engine" in str(caught.value)
    for ask in (host.registry.scan, host.registry.get_all):
        with pytest.raises(TransportError):
            ask()

    host.clock.at(host.clock.now() + 4.0, host.engine.answer_with)  # it was restarted
    assert host.registry.get("shelf").name == "shelf:latest"


def test_a_plugin_that_was_installed_again_is_found_after_a_refused_call(host: Host) -> None:
    """The next ``get`` by any name returns the new plugin, and handlers are called for it."""
    host.install("shelf")
    met: list[str] = []
    host.registry.handle("VolumeDriver", lambda name, _: met.append(name))
    before = host.registry.get("shelf")
    assert host.registry.get("shelf:latest") is before
    host.uninstall("shelf")
    again = host.install("shelf")
    assert host.registry.get("shelf") is before  # nothing was sent since

    with pytest.raises(TransportError):
        before.client.call("VolumeDriver.List")
    after = host.registry.get("shelf:latest", "VolumeDriver")

    assert after.addr != before.addr
    assert after.client.call("VolumeDriver.List") == {"Volumes": []}
    assert host.registry.get("shelf") is after
    assert host.registry.get_all("VolumeDriver") == [after]
    assert met == ["shelf:latest", "shelf:latest"]
    assert len(again.calls) == 1


def test_a_plugin_that_was_only_restarted_keeps_its_client(host: Host) -> None:
    """The plugin's id and socket stay, so a call is retried and no second client is made."""
    plugin = host.install("shelf")
    met: list[str] = []
    host.registry.handle("VolumeDriver", lambda name, _: met.append(name))
    before = host.registry.get("shelf")
    addr = before.addr
    del host.plugins[addr]
    host.clock.at(1.5, lambda: host.plugins.__setitem__(addr, plugin))

    assert before.client.call("VolumeDriver.List") == {"Volumes": []}  # at its third attempt
    assert host.registry.get("shelf") is before
    assert (met, len(host.dialled)) == (["shelf:latest"], 1)


def test_after_a_refused_call_get_raises_for_a_plugin_that_was_disabled(host: Host) -> None:
    """A refused call makes the next ``get`` look the plugin up again."""
    host.install("shelf")
    plugin = host.registry.get("shelf")
    host.plugins.clear()
    host.engine.disable("shelf")

    with pytest.raises(TransportError):
        plugin.client.call("VolumeDriver.List")
    with pytest.raises(PluginDisabledError):
        host.registry.get("shelf")


def test_invalidate_forgets_all_names(host: Host) -> None:
    """One name is given, and the next ``get`` by any name activates the plugin again."""
    host.install("shelf")
    before = host.registry.get("shelf")
    host.registry.get("shelf:latest")

    host.registry.invalidate("shelf:latest")

    after = host.registry.get("shelf")
    assert after is not before
    assert host.registry.get("shelf:latest") is after


def test_closing_the_registry_closes_the_client_of_a_plugin_whose_socket_is_gone(
    host: Host,
) -> None:
    """A call of that client then raises a ``RuntimeError``."""
    host.install("shelf")
    plugin = host.registry.get("shelf")
    host.registry.get("shelf:latest")
    host.plugins.clear()
    with pytest.raises(TransportError):
        plugin.client.call("VolumeDriver.List")

    host.registry.close()

    with pytest.raises(RuntimeError, match="closed"):
        plugin.client.call("VolumeDriver.List")


def test_a_plugin_without_the_subsystem_is_an_error(host: Host) -> None:
    """No plugin on disk is returned instead; a type with capital letters matches nothing."""
    host.install("shelf", "docker.authz/1.0", "docker.VolumeDriver/1.0")
    host.disk.add("shelf", "memory://v1")

    with pytest.raises(NotImplementedByPluginError, match="it implements authz"):
        host.registry.get("shelf", "VolumeDriver")
    assert host.registry.get("shelf", "AuthZ").name == "shelf:latest"


def test_a_protocol_that_is_not_spoken_is_refused(host: Host) -> None:
    """``lookup`` shows the protocol, and ``get`` raises a ``SpecError`` before it connects."""
    host.engine.install("grpc", protocol="moby.plugins.grpc/v1")

    assert host.registry.lookup("grpc").protocol == "moby.plugins.grpc/v1"
    told = r"^plugin 'grpc:latest' speaks 'moby\.plugins\.grpc/v1', and only"
    with pytest.raises(SpecError, match=told):
        host.registry.get("grpc")
    assert host.dialled == []


def test_an_active_managed_plugin_translates_paths_as_lookup_does(host: Host) -> None:
    """``scoped_path`` gives both the same path on the host, which is not the path in the plugin."""
    host.install("shelf")
    found, active = host.registry.lookup("shelf"), host.registry.get("shelf")

    assert isinstance(active, Plugin)
    assert not active.is_v1
    assert active.scoped_path("/x") == found.scoped_path("/x") != "/x"


@pytest.mark.parametrize("ends", ["cancel", "close"])
def test_cancelling_a_get_or_closing_the_registry_ends_its_request_to_the_engine(
    host: Host, ends: str
) -> None:
    """``get`` raises at that moment, without waiting for the engine's time-out."""
    host.engine.answer_with(hangs())
    cancel = Cancellation()
    host.clock.at(3, cancel.set if ends == "cancel" else host.registry.close)

    tried: list[PluginError] = []
    with pytest.raises(WaitCancelledError):
        host.registry.get("mp/shelf", cancel=cancel, on_retry=lambda error, _: tried.append(error))
    assert (host.clock.now(), tried) == (3, [])


@pytest.mark.parametrize("stage", ["scan", "look-ups"])
def test_closing_the_registry_ends_the_requests_of_get_all_to_the_engine(
    host: Host, stage: str
) -> None:
    """The scan ends at the moment of ``close``, and so do the look-ups side by side."""
    for name in ("one", "two"):
        host.install(name)

    class Slow:
        """That engine, which answers ``scan`` alone, or nothing."""

        def __init__(self, discovery: EngineDiscovery) -> None:
            self.discovery = discovery

        def ended_by(self, cancel: Cancellation) -> "Slow":
            return Slow(self.discovery.ended_by(cancel))

        def scan(self) -> list[str]:
            host.engine.answer_with(*([hangs()] if stage == "scan" else []))
            names = self.discovery.scan()
            host.engine.answer_with(hangs())
            return names

        def lookup(self, name: str) -> Plugin:
            return self.discovery.lookup(name)

    slow = Slow(host.engine.discovery(clock=host.clock))
    registry = Registry(discovery=slow, connect=host.connect, clock=host.clock)
    host.clock.at(3, registry.close)

    with pytest.raises(WaitCancelledError):
        registry.get_all()
    assert host.clock.now() == 3


def test_a_look_up_that_a_cancellation_ended_is_not_tried_again() -> None:
    """The look-up fails while callbacks of the cancellation are still running."""
    cancel, asked, ended, over = Cancellation(), Event(), Event(), Event()

    class Asking:
        """It asks until it is ended, and what ends it is held up until ``over``."""

        def __init__(self, ending: Cancellation) -> None:
            self.ending = ending

        def ended_by(self, cancel: Cancellation) -> "Asking":
            return Asking(cancel)

        def scan(self) -> list[str]:
            return []

        def lookup(self, name: str) -> Plugin:
            def end() -> None:
                ended.set()
                over.wait(SECONDS)

            with self.ending.calling(end):
                asked.set()
                assert ended.wait(SECONDS)
            raise TransportError(f"{name} was not told")

    transport = MemoryTransport({})
    registry = Registry(
        discovery=Asking(Cancellation()), connect=transport.connect, clock=FakeClock()
    )

    def set_once_asked() -> None:
        assert asked.wait(SECONDS)
        cancel.set()

    tried: list[PluginError] = []
    thread = threading.Thread(target=set_once_asked)
    thread.start()
    try:
        with pytest.raises(WaitCancelledError):
            registry.get("s", cancel=cancel, on_retry=lambda error, _: tried.append(error))
    finally:
        over.set()
        thread.join(SECONDS)
    assert tried == []
