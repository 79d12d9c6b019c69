"""A registry in memory, to which a test adds plugins."""

from collections.abc import Sequence

import pytest

from moby_plugins import (
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginNotFoundError,
    Registry,
    RetryPolicy,
    StatusError,
    TransportError,
)
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    MemoryTransports,
    Request,
    Response,
    refused,
    script,
    status,
)
from tests.cases import every

ACTIVE = {"Implements": ["VolumeDriver"]}


class Shelves(VolumeDriver):
    """A plugin of one volume."""

    def list(self) -> tuple[Volume, ...]:
        return (Volume("books"),)


def volumes(registry: Registry, name: str = "shelf") -> Sequence[Volume]:
    """The volumes of a plugin, as a host asks for them."""
    return VolumeDriver(registry.get(name, "VolumeDriver").client).list()


def serve(request: Request) -> Response:
    """A plugin that is a plain function."""
    return PluginApp(Shelves())(request)


@every(
    "plugin",
    [
        Shelves(),
        PluginApp(Shelves()),
        serve,
        {"VolumeDriver.List": {"Volumes": [{"Name": "books"}]}},
        {"Plugin.Activate": ACTIVE, "VolumeDriver.List": {"Volumes": [{"Name": "books"}]}},
        script(ACTIVE, {"Volumes": [{"Name": "books"}]}),
    ],
    ids=["an implementation", "an app", "a function", "a table", "a whole table", "a script"],
)
def test_a_plugin_may_be_an_object_an_app_a_function_a_table_or_a_script(plugin: object) -> None:
    """Each kind of plugin can be added to the registry, found, activated and called."""
    registry = MemoryRegistry()
    registry.add("shelf", plugin)  # type: ignore[arg-type]  # each of them, as one type

    assert registry.scan() == ["shelf"]
    assert [volume.name for volume in volumes(registry)] == ["books"]


def test_a_table_implements_the_subsystems_whose_methods_it_names() -> None:
    """The subsystems have the names of manifests: the methods of AuthZPlugin give ``authz``."""
    methods = ("VolumeDriver.List", "VolumeDriver.Get", "AuthZPlugin.AuthZReq", "Mine.Do")
    registry = MemoryRegistry()
    registry.add("shelf", dict.fromkeys(methods))

    plugin = registry.get("shelf", "authz")

    assert plugin.manifest.implements == ("VolumeDriver", "authz", "Mine")


def test_a_reply_to_plugin_activate_in_a_table_replaces_the_usual_handshake() -> None:
    """The reply may be a manifest or a failure; here it is status 500."""
    registry = MemoryRegistry()
    registry.add("shelf", {"Plugin.Activate": status(500, "no"), "VolumeDriver.List": {}})

    with pytest.raises(StatusError, match="no"):
        registry.get("shelf", "VolumeDriver")


def test_a_plugin_in_memory_records_its_calls() -> None:
    """The handshake, ``Plugin.Activate``, is one of the recorded calls."""
    registry = MemoryRegistry()
    shelf = registry.add("shelf", Shelves())

    volumes(registry)

    assert shelf.calls.methods == ["Plugin.Activate", "VolumeDriver.List"]
    assert {call.address for call in shelf.calls} == {"memory://shelf"}


def test_a_plugin_can_be_given_an_address() -> None:
    """Code under test that reads the plugin's address gets the given one."""
    registry = MemoryRegistry()
    registry.add("shelf", Shelves(), addr="tcp://10.0.0.1:80")

    assert registry.get("shelf", "VolumeDriver").addr == "tcp://10.0.0.1:80"
    assert len(volumes(registry)) == 1


def test_a_plugin_with_an_invalid_name_is_not_added() -> None:
    """``add`` raises the error that a look-up of such a name raises."""
    registry = MemoryRegistry()

    with pytest.raises(InvalidPluginNameError):
        registry.add("a/b", Shelves())

    assert registry.scan() == []


def test_a_registry_in_memory_waits_by_its_fake_clock() -> None:
    """Waiting for a plugin that is not there takes no real time."""
    registry = MemoryRegistry()

    with pytest.raises(PluginNotFoundError):
        registry.get("shelf", "VolumeDriver")

    assert registry.clock.sleeps == [1, 2, 4, 8]


def test_a_registry_takes_a_clock_and_a_retry_policy() -> None:
    """A test may share one clock, or have the registry try once only."""
    clock = FakeClock(start=100)
    registry = MemoryRegistry(clock=clock, retry=RetryPolicy.never())
    registry.add("shelf", refused())

    with pytest.raises(TransportError, match="tried once"):
        registry.get("shelf", "VolumeDriver")

    assert (registry.clock, clock.sleeps, clock.now()) == (clock, [], 100)


def test_a_removed_plugin_is_neither_found_nor_reached_by_its_clients() -> None:
    """A client finds no socket, and a look-up no plugin; removing an unknown name is no error."""
    registry = MemoryRegistry(retry=RetryPolicy.never())
    registry.add("shelf", Shelves())
    driver = VolumeDriver(registry.get("shelf", "VolumeDriver").client)

    registry.remove("shelf")
    registry.remove("never there")

    with pytest.raises(TransportError, match="no socket there"):
        driver.list()
    with pytest.raises(PluginNotFoundError):
        registry.lookup("shelf")


def test_a_client_reaches_the_plugin_that_is_added_again_under_its_name() -> None:
    """Adding a name again acts as a restart: the old client calls the new plugin."""
    registry = MemoryRegistry()
    registry.add("shelf", Shelves())
    driver = VolumeDriver(registry.get("shelf", "VolumeDriver").client)

    again = registry.add("shelf", {"VolumeDriver.List": {"Volumes": []}})

    assert driver.list() == ()
    assert again.calls.methods == ["VolumeDriver.List"]


def test_a_restart_can_be_scripted_on_the_fake_clock() -> None:
    """A call while the plugin is removed is tried again until the clock has added it."""
    registry = MemoryRegistry(clock=(clock := FakeClock()))
    registry.add("shelf", Shelves())
    driver = VolumeDriver(registry.get("shelf", "VolumeDriver").client)
    registry.remove("shelf")
    clock.at(2, lambda: registry.add("shelf", Shelves()))

    assert len(driver.list()) == 1
    assert clock.now() == 3


def test_a_plugin_without_the_requested_subsystem_is_refused() -> None:
    """``get`` raises NotImplementedByPluginError, as for a plugin on a real socket."""
    registry = MemoryRegistry()
    registry.add("shelf", Shelves())

    with pytest.raises(NotImplementedByPluginError):
        registry.get("shelf", "authz")


def test_transports_made_by_one_factory_share_its_clock() -> None:
    """Each transport has replies and an address of its own."""
    clock = FakeClock()
    make = MemoryTransports(clock)
    one, other = make({"M.x": 1}), make(Shelves(), addr="tcp://host:1")

    clock.advance(5)
    one.send(Request("M.x"), None)
    other.send(Request("Plugin.Activate"), None)

    assert [(c.time, c.address) for c in (*one.calls, *other.calls)] == [
        (5.0, "memory://plugin"),
        (5.0, "tcp://host:1"),
    ]


def test_only_strict_transports_must_be_used_up() -> None:
    """Unused replies of other transports are not reported."""
    make = MemoryTransports(FakeClock())
    make({"M.loose": 1})
    make.assert_used_up()

    make.strict({"M.strict": 1})
    with pytest.raises(AssertionError, match=r"M\.strict: 1$"):
        make.assert_used_up()
