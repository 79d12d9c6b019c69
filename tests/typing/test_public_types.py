"""The types that users see: read by the type checker, and never run.

``assert_type`` fails the check when a type changes; an ignored error that goes
away fails it too, so misuse stays refused.
"""

import builtins
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, assert_type

import moby_plugins as mp
from moby_plugins.ports import Clock, Connect, Discovery, Transport
from moby_plugins.subsystems import NetworkDriver, Volume, VolumeDriver
from moby_plugins.testing import FakeClock, MemoryDiscovery, MemoryTransport


def module_functions_return_active_plugins() -> None:
    """The functions over the default registry return these types."""
    assert_type(mp.scan(), list[str])
    assert_type(mp.get("db", "VolumeDriver"), mp.ActivePlugin)
    assert_type(mp.get("db", "VolumeDriver", retry=mp.RetryPolicy.never()), mp.ActivePlugin)
    assert_type(mp.get("db", None, on_retry=lambda error, delay: error), mp.ActivePlugin)
    assert_type(mp.get_all("VolumeDriver"), list[mp.ActivePlugin])
    assert_type(mp.get_all(None), list[mp.ActivePlugin])
    assert_type(mp.get("db"), mp.ActivePlugin)
    assert_type(mp.get("db", VolumeDriver), VolumeDriver)
    assert_type(mp.get("db", VolumeDriver).client, mp.Client)
    assert_type(mp.get_all(VolumeDriver), list[VolumeDriver])
    assert_type(mp.new_local_discovery().candidates("db"), list[mp.Candidate])
    assert_type(mp.new_local_discovery().ignored(), list[mp.IgnoredFile])
    assert_type(mp.new_client("tcp://h:1", timeout=1), mp.Client)
    assert_type(mp.new_local_registry(), mp.Registry)
    assert_type(mp.is_not_found(ValueError()), bool)


def an_active_plugin_is_a_plugin_with_a_client(active: mp.ActivePlugin) -> None:
    """An active plugin has all of ``Plugin``, and ``client``."""
    plugin: mp.Plugin = active
    assert_type(active.client, mp.Client)
    assert_type(plugin.name, str)
    assert_type(plugin.addr, str)
    assert_type(plugin.tls_config, mp.TLSOptions | None)
    assert_type(plugin.manifest, mp.Manifest)
    assert_type(plugin.manifest.implements, tuple[str, ...])
    assert_type(plugin.implements("VolumeDriver"), bool)
    assert_type(plugin.scoped_path("/x"), str)
    plugin.client  # type: ignore[attr-defined]  # noqa: B018  only once it is active
    plugin.name = "other"  # type: ignore[misc]  # a value


def a_call_returns_the_type_that_is_given_as_into(client: mp.Client) -> None:
    """Without ``into`` a result has the type ``Any``, and with ``into`` that type."""
    assert_type(client.call("Plugin.Activate"), Any)
    assert_type(client.call("Plugin.Activate", {}), Any)
    assert_type(client.call("Plugin.Activate", None, mp.Manifest), mp.Manifest)
    assert_type(client.call("Plugin.Activate", into=mp.Manifest, timeout=1.0), mp.Manifest)
    assert_type(client.call("M.x", {}, dict[str, int]), dict[str, int])
    client.call("M.x", {}, mp.Manifest | None)
    client.send_file("M.x", b"", into=dict[str, int] | None)
    client.call("M.x", {}, "Manifest")  # type: ignore[call-overload]  # a name is not a type
    client.call("M.x", {}, None, 5.0)  # type: ignore[call-overload]  # time-outs have a name


def a_stream_gives_bytes(client: mp.Client) -> None:
    """Streams are context managers, read and iterated in bytes."""
    with client.stream("LogDriver.ReadLogs", {}) as stream:
        assert_type(stream, mp.Stream)
        assert_type(stream.read(10), bytes)
        assert_type(iter(stream), Iterator[bytes])


def a_file_is_bytes_a_binary_file_or_chunks(client: mp.Client) -> None:
    """The type checker refuses text, which has no encoding."""
    client.send_file("M.x", b"data")
    assert_type(client.send_file("M.x", b"data", mp.Manifest), mp.Manifest)
    client.send_file("M.x", BytesIO(b"data"))
    client.send_file("M.x", iter([b"da", b"ta"]))
    client.send_file("M.x", "text")  # type: ignore[arg-type]  # what encoding?


def a_handler_takes_a_name_and_a_client(registry: mp.Registry) -> None:
    """A handler may return anything."""

    def handler(name: str, client: mp.Client) -> int:
        return len(name)

    registry.handle("VolumeDriver", handler)
    registry.handle("VolumeDriver", print)
    registry.handle("VolumeDriver", lambda name: None)  # type: ignore[misc, arg-type]  # too few


def a_registry_returns_the_same_types_as_the_module_functions(registry: mp.Registry) -> None:
    """The module functions call methods of the registry, which has a few more."""
    with registry as entered:
        assert_type(entered, mp.Registry)
    assert_type(registry.scan(), list[str])
    assert_type(registry.lookup("db"), mp.Plugin)
    assert_type(registry.get("db", "VolumeDriver"), mp.ActivePlugin)
    assert_type(registry.get_all("VolumeDriver"), list[mp.ActivePlugin])
    assert_type(registry.get("db"), mp.ActivePlugin)
    assert_type(registry.get("db", VolumeDriver), VolumeDriver)
    assert_type(registry.get("db", VolumeDriver).list(), Sequence[Volume])
    assert_type(registry.get_all(NetworkDriver), list[NetworkDriver])
    registry.get("db", mp.Client)  # type: ignore[type-var]  # no subsystem


class OfLists(VolumeDriver):
    """A driver that returns a list, which is a sequence."""

    def list(self) -> "builtins.list[Volume]":
        """Return a list."""
        return []


class OfTuples(VolumeDriver):
    """A driver that returns a tuple, as a host gets it."""

    def list(self) -> tuple[Volume, ...]:
        """Return a tuple."""
        return ()


def plugins_are_given_or_found_by_settings(settings: mp.Settings) -> None:
    """Settings take addresses or plugins by name, and a function that makes a discovery."""
    discovery: Discovery = mp.StaticDiscovery({"db": "tcp://h:1"})
    mp.new_local_registry(settings, discovery=discovery)
    mp.Settings(plugins={"db": "tcp://h:1"}, discovery="local")
    mp.Settings(plugins={"db": mp.Plugin("db", "tcp://h:1")})
    mp.Settings(discovery=lambda settings: MemoryDiscovery([settings.sockets_path]))
    connect: Connect = mp.connect_by_name("urllib3")
    mp.Settings(transports={"tcp": connect, "unix": mp.connect_by_scheme(settings)})
    mp.Settings(plugins={"db": 5})  # type: ignore[dict-item]  # an address or a plugin
    mp.Settings(discovery=discovery)  # type: ignore[arg-type]  # what makes one


def values_take_tuples_lists_and_mappings() -> None:
    """Arguments may have the types that the documentation shows."""
    mp.Manifest(implements=("VolumeDriver",))
    mp.Manifest(["VolumeDriver"])
    mp.TLSOptions(ca_file="/ca.pem", min_version=772)
    mp.Settings(transports={"tcp": "urllib3", "memory": MemoryTransport({}).connect})
    mp.Settings(sockets_path=Path("/run"), specs_paths=[Path("/etc"), "/usr/lib"])
    mp.Settings(sockets_path=5)  # type: ignore[arg-type]  # a path
    mp.Settings(specs_paths=5)  # type: ignore[arg-type]  # paths
    mp.Settings(transports={"unix": 5})  # type: ignore[dict-item]  # a name or a callable
    assert_type(mp.Settings.load("settings.toml"), mp.Settings)
    assert_type(mp.Settings.from_env({}), mp.Settings)
    assert_type(mp.RetryPolicy(budget=60).next_delay(0, 0.0), float | None)
    mp.TLSOptions(insecure_skip_verify="no")  # type: ignore[arg-type]  # a boolean


def errors_have_attributes_for_programs(error: mp.PluginError) -> None:
    """Errors have attributes by which a program can decide what to do."""
    assert_type(error.attempts, int)
    assert_type(error.elapsed, float)
    match error:
        case mp.TransportError():
            assert_type(error.answered, bool)
        case mp.StatusError():
            assert_type((error.status, error.method, error.message), tuple[int, str, str])
        case mp.PluginNotFoundError():
            assert_type((error.name, error.searched), tuple[str, tuple[str, ...]])
        case mp.SpecError():
            assert_type((error.reason, error.file), tuple[str, str])
        case _:
            pass


def fakes_implement_the_ports(address: Any) -> None:
    """A fake can be given wherever a port is expected."""
    clock: Clock = FakeClock()
    discovery: Discovery = MemoryDiscovery(["db"])
    memory = MemoryTransport({"M.x": 1})
    connect: Connect = memory.connect
    transport: Transport = connect(address, None)
    mp.Registry(discovery=discovery, connect=connect, clock=clock)
    mp.Client(transport, address, clock=clock)
