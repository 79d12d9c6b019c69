"""Asynchronous subsystems as classes: what is taken of a synchronous one, and what is refused."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest

from moby_plugins.aio import (
    AsyncAuthZPlugin,
    AsyncGraphDriver,
    AsyncIpamDriver,
    AsyncLogDriver,
    AsyncMetricsCollector,
    AsyncNetworkDriver,
    AsyncSecretProvider,
    AsyncSubsystem,
    AsyncVolumeDriver,
    awaited,
    streamed,
)
from moby_plugins.subsystems import (
    ENGINE_SUBSYSTEMS,
    LogDriver,
    LogEntry,
    LogInfo,
    ReadConfig,
    Streamed,
    Subsystem,
    VolumeDriver,
    remote,
)
from tests.cases import every

THE_EIGHT = [
    AsyncAuthZPlugin,
    AsyncGraphDriver,
    AsyncIpamDriver,
    AsyncLogDriver,
    AsyncMetricsCollector,
    AsyncNetworkDriver,
    AsyncSecretProvider,
    AsyncVolumeDriver,
]


def test_each_subsystem_of_engines_has_an_asynchronous_form() -> None:
    """Under its name with ``Async`` before it."""
    assert {kind.__name__ for kind in THE_EIGHT} == {
        f"Async{kind.__name__}" for kind in ENGINE_SUBSYSTEMS
    }


@every("kind", THE_EIGHT)
def test_an_asynchronous_form_has_all_of_its_definition(kind: type[AsyncSubsystem]) -> None:
    """Methods, names on the wire, time-outs, keys of errors, and what is public besides."""
    definition = kind.definition
    assert definition is not None
    assert kind.remotes.keys() == definition.remotes.keys()
    for wire, method in definition.remotes.items():
        mine = kind.remotes[wire]
        assert (mine.name, mine.method, mine.timeout) == (
            method.name,
            method.method,
            method.timeout,
        )
        assert mine.signature.names == method.signature.names
        assert getattr(kind, method.name).remote is mine
    assert (kind.interface, kind.implements) == (definition.interface, definition.implements)
    assert kind.error_keys == definition.error_keys
    public = {name for name in dir(definition) if not name.startswith("_")}
    assert {name for name in dir(kind) if not name.startswith("_")} == public | {"definition"}


class Greeter(Subsystem):
    """A subsystem of one's own."""

    @remote(result="Greeting", timeout=5.0)
    def greet(self, name: str) -> str:
        """Say hello."""
        raise NotImplementedError

    @Streamed()
    def tail(self, lines: int = 1) -> Iterator[bytes]:
        """The last lines."""
        raise NotImplementedError


class AsyncGreeter(AsyncSubsystem):
    """Its asynchronous form; its definition is that of its methods."""

    greet = awaited(Greeter.greet)
    tail = streamed(Greeter.tail)


class InOne(AsyncSubsystem):
    """A subsystem that has no synchronous form."""

    @remote(result="Greeting", timeout=5.0)
    async def greet(self, name: str) -> str:
        """Say hello."""
        raise NotImplementedError

    @Streamed()
    def tail(self, lines: int = 1) -> AsyncIterator[bytes]:
        """The last lines."""
        raise NotImplementedError


def test_a_form_of_ones_own_subsystem_takes_its_definition() -> None:
    """It need not be named where its methods tell."""
    assert AsyncGreeter.definition is Greeter
    assert AsyncGreeter.interface == AsyncGreeter.implements == "Greeter"
    assert AsyncGreeter.remotes == Greeter.remotes


def test_a_subsystem_can_be_asynchronous_alone() -> None:
    """One class, called as its interface is."""
    assert InOne.definition is None
    assert InOne.interface == InOne.implements == "InOne"
    assert [each.method for each in InOne.remotes.values()] == ["InOne.Greet", "InOne.Tail"]
    assert InOne.remotes["Greet"].timeout == 5.0


def test_a_form_can_have_methods_besides() -> None:
    """Of its own interface."""

    class More(AsyncGreeter):
        """With one more."""

        @remote()
        async def part(self) -> None:
            """Say goodbye."""

    assert [each.method for each in More.remotes.values()] == [
        "Greeter.Greet",
        "Greeter.Tail",
        "Greeter.Part",
    ]
    assert AsyncGreeter.remotes == Greeter.remotes


def plain(self: Any, name: str, opts: Mapping[str, str] | None = None) -> None:
    """No coroutine."""


def generating(self: Any, name: str, opts: Any = None) -> Iterator[None]:
    """A plain generator."""
    yield


async def generating_asynchronously(self: Any, name: str, opts: Any = None) -> AsyncIterator[None]:
    """An asynchronous generator."""
    yield


async def returning(self: Any, info: LogInfo, config: ReadConfig) -> AsyncIterator[LogEntry]:
    """A coroutine for a stream."""
    raise NotImplementedError


def entries(self: Any, info: LogInfo, config: ReadConfig) -> Iterator[LogEntry]:
    """A plain generator of a stream."""
    yield LogEntry()


WRONG: dict[str, tuple[type, str, Callable[..., Any], str]] = {
    "a plain method": (AsyncVolumeDriver, "create", plain, "is a plain method, not a coroutine"),
    "a plain generator": (AsyncVolumeDriver, "create", generating, "is a plain method"),
    "an asynchronous generator": (
        AsyncVolumeDriver,
        "create",
        generating_asynchronously,
        "is an asynchronous generator, not a coroutine",
    ),
    "a coroutine for a stream": (
        AsyncLogDriver,
        "read_logs",
        returning,
        "is a coroutine, not an asynchronous generator",
    ),
    "a plain generator for a stream": (
        AsyncLogDriver,
        "read_logs",
        entries,
        "is a plain generator, not an asynchronous one",
    ),
    "a plain helper": (AsyncAuthZPlugin, "authorize_unseen", plain, "is a plain method"),
    "a plain method of one's own": (InOne, "greet", plain, "is a plain method"),
}


@every("case", WRONG)
def test_a_wrong_override_is_refused_where_the_class_is_made(case: str) -> None:
    """Its class and method are named, and what is wanted."""
    base, name, function, message = WRONG[case]

    with pytest.raises(TypeError, match=rf"^Wrong\.{name} {message}"):
        type("Wrong", (base,), {name: function})


def test_a_definition_is_asynchronous_or_not() -> None:
    """A coroutine marked in a plain subsystem, and the other way round, is a mistake."""
    with pytest.raises(TypeError, match=r"^Both\.returning is asynchronous: derive from Async"):
        type("Both", (Subsystem,), {"greet": remote()(returning)})

    def greet(self: Any) -> None:
        """No coroutine."""

    with pytest.raises(TypeError, match=r"^Both\.greet is a plain method, not a coroutine"):
        type("Both", (AsyncSubsystem,), {"greet": remote()(greet)})


def test_what_is_taken_is_a_marked_method() -> None:
    """One of a plain subsystem, by the function for its kind, under its own name."""
    with pytest.raises(TypeError, match="is not a method of a Subsystem"):
        awaited(VolumeDriver.find)
    with pytest.raises(TypeError, match="is not a method of a Subsystem"):
        awaited(InOne.greet)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="ReadLogs responds with a stream: use streamed"):
        awaited(LogDriver.read_logs)
    with pytest.raises(TypeError, match="Create does not respond with a stream: use awaited"):
        streamed(VolumeDriver.create)  # type: ignore[arg-type]  # refused by the checker too
    with pytest.raises(
        TypeError, match=r"Odd\.make is derived from VolumeDriver\.Create: name it create"
    ):
        type("Odd", (AsyncSubsystem,), {"make": awaited(VolumeDriver.create)})
    with pytest.raises(
        TypeError, match="which is not a method of the class's definition, VolumeDriver"
    ):
        type(
            "Odd",
            (AsyncSubsystem,),
            {"create": awaited(VolumeDriver.create), "greet": awaited(Greeter.greet)},
        )
    with pytest.raises(TypeError, match=r"definition is not a Subsystem: 5"):
        type("Odd", (AsyncSubsystem,), {"definition": 5, "greet": awaited(Greeter.greet)})


def test_two_interfaces_are_two_classes() -> None:
    """As of the synchronous ones."""
    with pytest.raises(TypeError, match="one class for each of"):
        type("Odd", (AsyncVolumeDriver, AsyncLogDriver), {})


def test_a_proxy_takes_a_client_and_time_outs_of_its_methods() -> None:
    """What is none is refused by name."""
    with pytest.raises(TypeError, match=r"^client must be an AsyncClient, not 5$"):
        AsyncVolumeDriver(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="AsyncVolumeDriver has no method 'mont'"):
        AsyncVolumeDriver(timeouts={"mont": 1.0})
    with pytest.raises(TypeError, match="AsyncVolumeDriver is not a proxy"):
        _ = AsyncVolumeDriver().client
    create = AsyncVolumeDriver.remotes["Create"]
    assert AsyncVolumeDriver(timeouts={"create": 1.0}).timeout_of(create) == 1.0
    assert AsyncVolumeDriver().timeout_of(create) == create.timeout
