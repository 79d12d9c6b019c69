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
def test_a_plugin_is_added_as_it_comes(plugin: object) -> None:
    """All that can play a plugin's part can be found, activated and called."""
    registry = MemoryRegistry()
    registry.add("shelf", plugin)  # type: ignore[arg-type]  # each of them, as one type

    assert registry.scan() == ["shelf"]
    assert [volume.name for volume in volumes(registry)] == ["books"]


def test_a_table_implements_the_subsystems_whose_methods_it_names() -> None:
    """Under the names that manifests use, which two subsystems write otherwise."""
    methods = ("VolumeDriver.List", "VolumeDriver.Get", "AuthZPlugin.AuthZReq", "Mine.Do")
    registry = MemoryRegistry()
    registry.add("shelf", dict.fromkeys(methods))

    plugin = registry.get("shelf", "authz")

    assert plugin.manifest.implements == ("VolumeDriver", "authz", "Mine")


def test_a_table_that_answers_the_handshake_is_taken_at_its_word() -> None:
    """An answer to ``Plugin.Activate``, or its failure, is the test's."""
    registry = MemoryRegistry()
    registry.add("shelf", {"Plugin.Activate": status(500, "no"), "VolumeDriver.List": {}})

    with pytest.raises(StatusError, match="no"):
        registry.get("shelf", "VolumeDriver")


def test_what_is_added_tells_its_calls() -> None:
    """The handshake is one of them."""
    registry = MemoryRegistry()
    shelf = registry.add("shelf", Shelves())

    volumes(registry)

    assert shelf.calls.methods == ["Plugin.Activate", "VolumeDriver.List"]
    assert {call.address for call in shelf.calls} == {"memory://shelf"}


def test_a_plugin_can_be_given_an_address() -> None:
    """For code that looks at it."""
    registry = MemoryRegistry()
    registry.add("shelf", Shelves(), addr="tcp://10.0.0.1:80")

    assert registry.get("shelf", "VolumeDriver").addr == "tcp://10.0.0.1:80"
    assert len(volumes(registry)) == 1


def test_a_bad_name_is_refused_where_it_is_added() -> None:
    """As discovery does, and nothing is added."""
    registry = MemoryRegistry()

    with pytest.raises(InvalidPluginNameError):
        registry.add("a/b", Shelves())

    assert registry.scan() == []


def test_time_is_the_clock_of_the_registry() -> None:
    """Waiting for a plugin that is not there takes none of the test's."""
    registry = MemoryRegistry()

    with pytest.raises(PluginNotFoundError):
        registry.get("shelf", "VolumeDriver")

    assert registry.clock.sleeps == [1, 2, 4, 8]


def test_clock_and_policy_can_be_given() -> None:
    """To share a clock, or to wait differently."""
    clock = FakeClock(start=100)
    registry = MemoryRegistry(clock=clock, retry=RetryPolicy.never())
    registry.add("shelf", refused())

    with pytest.raises(TransportError, match="tried once"):
        registry.get("shelf", "VolumeDriver")

    assert (registry.clock, clock.sleeps, clock.now()) == (clock, [], 100)


def test_a_plugin_that_is_removed_is_gone_for_those_who_know_it() -> None:
    """Its client finds no socket, a look-up finds no plugin; removing nothing is no error."""
    registry = MemoryRegistry(retry=RetryPolicy.never())
    registry.add("shelf", Shelves())
    driver = VolumeDriver(registry.get("shelf", "VolumeDriver").client)

    registry.remove("shelf")
    registry.remove("never there")

    with pytest.raises(TransportError, match="no socket there"):
        driver.list()
    with pytest.raises(PluginNotFoundError):
        registry.lookup("shelf")


def test_a_plugin_that_is_added_again_answers_again() -> None:
    """A restart at the same place: who knows it already reaches the new one."""
    registry = MemoryRegistry()
    registry.add("shelf", Shelves())
    driver = VolumeDriver(registry.get("shelf", "VolumeDriver").client)

    again = registry.add("shelf", {"VolumeDriver.List": {"Volumes": []}})

    assert driver.list() == ()
    assert again.calls.methods == ["VolumeDriver.List"]


def test_a_restart_can_be_scripted() -> None:
    """A call that meets a plugin while it is down is tried again until it is up."""
    registry = MemoryRegistry(clock=(clock := FakeClock()))
    registry.add("shelf", Shelves())
    driver = VolumeDriver(registry.get("shelf", "VolumeDriver").client)
    registry.remove("shelf")
    clock.at(2, lambda: registry.add("shelf", Shelves()))

    assert len(driver.list()) == 1
    assert clock.now() == 3


def test_subsystems_are_asked_for_as_ever() -> None:
    """A plugin that does not implement what is asked for is told so."""
    registry = MemoryRegistry()
    registry.add("shelf", Shelves())

    with pytest.raises(NotImplementedByPluginError):
        registry.get("shelf", "authz")


def test_transports_are_made_on_one_clock() -> None:
    """Each has its own replies, and the address that it is given."""
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
    """What is left over in another is not reported."""
    make = MemoryTransports(FakeClock())
    make({"M.loose": 1})
    make.assert_used_up()

    make.strict({"M.strict": 1})
    with pytest.raises(AssertionError, match=r"M\.strict: 1$"):
        make.assert_used_up()
