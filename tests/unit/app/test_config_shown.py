"""The ``repr`` of public objects is helpful and holds no secrets."""

from pathlib import Path

import requests

from moby_plugins import (
    Settings,
    StaticDiscovery,
    TLSOptions,
    connect_by_requests,
    connect_by_scheme,
    new_client,
    new_local_discovery,
    new_local_registry,
)
from moby_plugins.ports import Address
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    FaultServer,
    LivePlugin,
    LivePlugins,
    MemoryDiscovery,
    MemoryRegistry,
    MemoryTransport,
    MemoryTransports,
    PluginDirectory,
)
from moby_plugins.tracing import Trace
from tests.cases import every
from tests.transports import RecordingConnect

SECRET = "sesame"


def shown_things() -> dict[str, object]:
    """One of each, with a secret wherever one can be."""
    settings = Settings(
        plugins={"shelf": f"tcp://me:{SECRET}@h:1"},
        transports={"memory": RecordingConnect(), "tcp": "urllib3"},
    )
    registry = MemoryRegistry()
    registry.add("shelf", {"VolumeDriver.List": {"Secret": SECRET}})
    registry.get("shelf")
    session = requests.Session()
    session.auth = ("me", SECRET)
    bridge = Settings(transports={"tcp": connect_by_requests(session)})
    options = TLSOptions(passphrase=SECRET)
    table = {"M.x": SECRET.encode()}
    return {
        "client": new_client(f"tcp://me:{SECRET}@h:1", options, settings=settings),
        "client of requests": new_client("tcp://h:1", settings=bridge),
        "client in memory": registry.get("shelf").client,
        "registry": new_local_registry(settings),
        "registry of its own": new_local_registry(settings, discovery=MemoryDiscovery(["a"])),
        "registry in memory": registry,
        "discovery": new_local_discovery(settings),
        "static": StaticDiscovery({"b": f"tcp://me:{SECRET}@h:1", "a": "unix:///a"}),
        "connect": connect_by_scheme(settings),
        "settings": settings,
        "clock": FakeClock(2.5),
        "memory": MemoryTransport(table, addr="memory://x"),
        "found in memory": MemoryDiscovery({"b": f"tcp://me:{SECRET}@h:1"}),
        "server": FaultServer.tcp(table),
        "directory": PluginDirectory(Path("/d")),
        "live": LivePlugin(lambda request: request.json(), "p", "/d"),
    }


DIRECTORIES = (
    "FilesystemDiscovery(sockets_path='/run/docker/plugins', "
    "specs_paths=('/etc/docker/plugins', '/usr/lib/docker/plugins')"
)
HELPS = {
    "client": "<Client of tcp://h:1 over urllib3>",
    "client of requests": "<Client of tcp://h:1 over requests>",
    "client in memory": "<Client of 'shelf' memory://shelf over memory>",
    "registry": f"<Registry of StaticDiscovery('shelf'), then {DIRECTORIES}",
    "registry of its own": (
        "<Registry of MemoryDiscovery('a'): 0 active; unix, http, https over httptools (auto); "
        "tcp over urllib3; memory over RecordingConnect>"
    ),
    "registry in memory": "<MemoryRegistry of MemoryDiscovery('shelf'): 1 active>",
    "discovery": f"StaticDiscovery('shelf'), then {DIRECTORIES}",
    "static": "StaticDiscovery('a', 'b')",
    "connect": "unix, http, https over httptools (auto); tcp over urllib3; memory over Recording",
    "settings": "Settings(sockets_path='/run/docker/plugins', ",
    "clock": "<FakeClock at 2.5 s>",
    "memory": "<MemoryTransport at memory://x: 0 calls>",
    "found in memory": "MemoryDiscovery('b')",
    "server": "<FaultServer not started: 0 calls>",
    "directory": "PluginDirectory('/d')",
    "live": "<LivePlugin 'p'>",
}


@every("what", HELPS)
def test_a_repr_helps_and_holds_no_secret(what: str) -> None:
    """A ``repr`` has addresses, names and counts, which help in a debugger."""
    shown = repr(shown_things()[what])

    assert shown.startswith(HELPS[what])
    assert SECRET not in shown
    assert "\n" not in shown


def test_each_object_has_an_expected_repr() -> None:
    """The table of objects and the table of expected texts have the same keys."""
    assert shown_things().keys() == HELPS.keys()


def test_the_repr_of_a_registry_counts_the_active_plugins() -> None:
    """Plugins that were invalidated do not count; a closed registry has none."""
    with MemoryRegistry() as registry:
        registry.add("a", {"M.x": 1})
        registry.add("b", {"M.x": 1})
        registry.get_all()
        assert repr(registry).endswith(": 2 active>")
        registry.invalidate("a")
        assert repr(registry).endswith(": 1 active>")
    assert repr(registry).endswith(": 0 active>")


def test_a_transport_whose_repr_raises_does_not_break_the_repr_of_a_client() -> None:
    """The client and the ``connect`` function can still be shown."""

    class Odd(MemoryTransport):
        def __repr__(self) -> str:
            raise RuntimeError("no")

    settings = Settings(transports={"memory": lambda address, _: Odd({}, addr=address.text)})
    with new_client("memory://x", settings=settings) as client:
        assert repr(client).startswith("<Client of memory://x over ")
    assert repr(connect_by_scheme(settings)).startswith("unix, ")
    assert Address("memory://x").scheme == "memory"


class Author(VolumeDriver):
    """An implementation whose ``__init__`` does not call that of its base."""

    def __init__(self) -> None:
        self.books = ["a"]

    def list(self) -> tuple[Volume, ...]:
        """No volumes."""
        return ()


def held() -> dict[str, object]:
    """What users hold, by what it shows."""
    registry = MemoryRegistry()
    transport = registry.add("shelf", Author())
    return {
        "<VolumeDriver of <Client of 'shelf' memory://shelf over memory>>": registry.get(
            "shelf", VolumeDriver
        ),
        "<Author for VolumeDriver>": Author(),
        "<PluginApp of VolumeDriver>": PluginApp(Author()),
        "<PluginApp of nothing>": PluginApp(),
        "<Trace of <MemoryTransport at memory://shelf: 1 calls>>": Trace(
            transport, FakeClock().now, print
        ),
        "LivePlugins('/run/x')": LivePlugins("/run/x"),
        "MemoryTransports(<FakeClock at 0 s>)": MemoryTransports(FakeClock()),
    }


@every(("shows", "it"), held().items(), ids=held())
def test_the_repr_of_proxies_plugins_and_fakes_names_what_they_are_made_of(
    shows: str, it: object
) -> None:
    """Proxies name their client, plugins their subsystems, fakes their path or clock."""
    assert repr(it) == shows
