"""``PluginApp`` checks the implementations that it is given, before an engine calls them."""

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AuthZPlugin,
    GraphDriver,
    IpamDriver,
    LogDriver,
    MetricsCollector,
    NetworkDriver,
    SecretProvider,
    Subsystem,
    VolumeDriver,
)
from tests.cases import every
from tests.unit.app.subsystems.exchanges import asked

NODE = '{"DiscoveryType":1,"DiscoveryData":{"Address":"10.0.0.1"}}'


def part(kind: type[Subsystem], **methods: Any) -> Any:
    """An implementation of ``kind`` with these methods."""
    return type("Shelf", (kind,), methods)()


def remove(self: Any, name: str) -> None:
    """As the protocol has it."""


def anything(self: Any, *args: Any) -> None:
    """Whatever the method's arguments are."""


async def mount(self: Any, name: str, id: str) -> str:
    """A coroutine."""
    return "/v"


async def entries(self: Any, info: Any, config: Any) -> AsyncIterator[Any]:
    """An asynchronous generator."""
    yield info


class Asynchronous:
    """An object that is called as a coroutine."""

    async def __call__(self, *_: Any) -> str:
        return "/v"


@every(
    ("given", "error"),
    [
        (VolumeDriver, "VolumeDriver is a class, not an instance: pass VolumeDriver()"),
        (object(), "is not an implementation of a subsystem"),
        (None, "None is not an implementation of a subsystem"),
        (VolumeDriver(), "VolumeDriver does not implement any method of a subsystem"),
        (NetworkDriver(), "NetworkDriver does not implement any method of a subsystem"),
        (part(VolumeDriver, mount=mount), "Shelf.mount is a coroutine"),
        (part(LogDriver, read_logs=entries), "Shelf.read_logs is a coroutine"),
        (part(VolumeDriver, mount=staticmethod(functools.partial(mount, None))), "is a coroutine"),
        (part(VolumeDriver, mount=Asynchronous()), "Shelf.mount is a coroutine"),
        (part(VolumeDriver, remove=lambda self: None), r"Shelf.remove\(\) cannot be called as"),
        (part(VolumeDriver, remove=lambda self, name, force: None), "missing a required argument"),
        (part(VolumeDriver, remove=lambda self, name, *, force: None), "missing a required"),
        (part(VolumeDriver, remove=staticmethod(lambda self, name: None)), "cannot be called as"),
        (part(VolumeDriver, remove=property(lambda self: None)), "Shelf.remove is a property"),
        (part(VolumeDriver, remove=None), "Shelf.remove is 'NoneType', not a method"),
        (part(VolumeDriver, list=list), "Shelf.list is 'type', not a method"),
        (part(AuthZPlugin, authorize_request=remove, authorize_unseen=lambda self: None), "unseen"),
    ],
)
def test_an_implementation_that_could_not_be_served_is_refused_with_the_reason(
    given: Any, error: str
) -> None:
    """A class, a coroutine, wrong parameters or a property raise a TypeError at once."""
    with pytest.raises(TypeError, match=error):
        PluginApp(given)


@every(
    "method",
    [
        lambda self, volume: None,
        lambda self, *args: None,
        lambda self, *args, **named: None,
        lambda self, name, force=False: None,
        staticmethod(lambda name: None),
        classmethod(lambda cls, name: None),
        functools.wraps(remove)(lambda *args: None),
    ],
)
def test_a_method_with_compatible_parameters_is_accepted(method: Any) -> None:
    """Parameters may have other names, and there may be more with defaults."""
    assert (
        asked(PluginApp(part(VolumeDriver, remove=method)), "VolumeDriver.Remove", "{}")[0] == 200
    )


@every(
    ("kind", "name", "meant"),
    [
        (VolumeDriver, "unmont", "unmount"),
        (VolumeDriver, "unmountt", "unmount"),
        (VolumeDriver, "gget", "get"),
        (VolumeDriver, "capabillities", "capabilities"),
        (VolumeDriver, "umount", "unmount"),
        (VolumeDriver, "Mount", "mount"),
        (VolumeDriver, "list_", "list"),
        (VolumeDriver, "lsit", "list"),
        (VolumeDriver, "moutn", "mount"),
        (VolumeDriver, "gte", "get"),
        (VolumeDriver, "capabilites", "capabilities"),
        (NetworkDriver, "getCapabilities", "get_capabilities"),
        (NetworkDriver, "GetCapabilities", "get_capabilities"),
        (NetworkDriver, "get_capability", "get_capabilities"),
        (NetworkDriver, "creat_endpoint", "create_endpoint"),
        (NetworkDriver, "createEndpoint", "create_endpoint"),
        (IpamDriver, "release_adress", "release_address"),
        (AuthZPlugin, "AuthZReq", "authorize_request"),
        (AuthZPlugin, "authorise_response", "authorize_response"),
        (AuthZPlugin, "authorize_unsen", "authorize_unseen"),
        (GraphDriver, "exist", "exists"),
        (GraphDriver, "change", "changes"),
        (LogDriver, "read_log", "read_logs"),
        (SecretProvider, "getSecret", "get_secret"),
        (MetricsCollector, "start_metric", "start_metrics"),
    ],
)
def test_a_misspelt_method_of_the_protocol_is_an_error(
    kind: type[Subsystem], name: str, meant: str
) -> None:
    """A host would never call such a method; the error names the one that is meant."""
    with pytest.raises(TypeError, match=f"^Shelf.{name} is not a method of .*: is {meant} meant"):
        PluginApp(part(kind, **{name: lambda self, *args: None}))


def test_a_misspelt_method_that_a_decorator_made_is_an_error() -> None:
    """An object of ``functools.lru_cache`` is not a function, but is called as one."""
    with pytest.raises(TypeError, match="is mount meant"):
        PluginApp(part(VolumeDriver, moutn=functools.lru_cache(lambda self, *args: "/")))


def test_a_method_with_a_similar_name_beside_the_right_one_is_accepted() -> None:
    """If ``unmount`` is there, ``umount`` is the author's own helper."""
    PluginApp(part(VolumeDriver, unmount=lambda self, *args: None, umount=remove))


INNOCENT = (
    "_unmount", "_mount", "reload", "mountpoint_of", "create_all", "mounts", "mounted", "remount",
    "created", "paths", "volumes", "volume", "removed", "remove_all", "getter", "gets", "listed",
    "reset", "release", "resolve", "flush", "close", "open", "start", "stop", "run", "serve",
    "get_volume", "update", "count", "amount", "move", "path_of", "is_mounted", "joined", "rejoin",
    "leases", "free", "allocate", "networks", "endpoints", "network_of", "update_endpoint",
    "find_endpoint", "pool_of", "pools", "addresses", "verdict", "authorize", "allow", "deny",
    "log", "read", "readers", "write", "rotate", "layers", "layer", "applied", "statuses",
    "cleaned", "differs", "secrets", "secret", "collect", "metrics", "from_file", "setup",
    "lock", "unlock", "save", "load", "discover", "diffs", "putter", "output", "input",
)  # fmt: skip


@every(
    "kind",
    [AuthZPlugin, GraphDriver, IpamDriver, LogDriver, MetricsCollector, NetworkDriver,
     SecretProvider, VolumeDriver],
)  # fmt: skip
def test_an_authors_own_method_is_not_taken_for_a_misspelling(kind: type[Subsystem]) -> None:
    """Common names such as ``reload`` are accepted in each subsystem's implementations."""
    first = next(iter(kind.remotes.values())).name
    methods: dict[str, Callable[..., None]] = dict.fromkeys((*INNOCENT, first), anything)

    app = PluginApp(part(kind, **methods))

    assert app.manifest.implements == (kind.implements,)
    assert [name for name in INNOCENT if name in {it.name for it in kind.remotes.values()}] == []


def test_the_methods_of_a_class_that_defines_a_subsystem_are_not_an_implementation() -> None:
    """The methods of such a class are neither checked for misspellings nor served."""

    class Lamp(Subsystem):
        def lit(self) -> bool:
            return True

    with pytest.raises(TypeError, match="Lamp does not implement any method"):
        PluginApp(Lamp())


def test_discovery_calls_succeed_for_a_network_driver_that_does_not_override_them() -> None:
    """The response is 200 and ``{}``; an override, also in a second driver, is called."""
    seen: list[Any] = []
    silent = part(NetworkDriver, delete_network=remove)
    told = part(NetworkDriver, discover_new=lambda self, kind, data: seen.append(kind))
    app = PluginApp(silent, told)

    assert asked(app, "NetworkDriver.DiscoverDelete", NODE) == (200, "{}")
    assert asked(app, "NetworkDriver.DiscoverNew", NODE) == (200, "{}")
    assert seen == [1]
    assert asked(app, "NetworkDriver.DiscoverNew", "[")[0] == 400
    assert asked(app, "NetworkDriver.Leave", "{}")[0] == 404
    assert (
        asked(PluginApp(part(VolumeDriver, remove=remove)), "NetworkDriver.DiscoverNew")[0] == 404
    )
