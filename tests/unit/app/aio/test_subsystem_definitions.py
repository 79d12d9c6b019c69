"""Asynchronous subsystem classes: what they take from a synchronous one, and what is refused."""

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
    """The class has the same name with ``Async`` before it."""
    assert {kind.__name__ for kind in THE_EIGHT} == {
        f"Async{kind.__name__}" for kind in ENGINE_SUBSYSTEMS
    }


@every("kind", THE_EIGHT)
def test_an_asynchronous_form_has_all_of_its_definition(kind: type[AsyncSubsystem]) -> None:
    """Methods, names on the wire, time-outs, error keys and other public names are equal."""
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
    """The asynchronous form of ``Greeter``, which its methods make known."""

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


def test_an_asynchronous_form_finds_its_definition_by_its_methods() -> None:
    """A class of ``awaited`` and ``streamed`` methods need not name its definition."""
    assert AsyncGreeter.definition is Greeter
    assert AsyncGreeter.interface == AsyncGreeter.implements == "Greeter"
    assert AsyncGreeter.remotes == Greeter.remotes


def test_a_subsystem_can_be_asynchronous_alone() -> None:
    """One asynchronous class has its interface, methods and time-outs."""
    assert InOne.definition is None
    assert InOne.interface == InOne.implements == "InOne"
    assert [each.method for each in InOne.remotes.values()] == ["InOne.Greet", "InOne.Tail"]
    assert InOne.remotes["Greet"].timeout == 5.0


def test_an_asynchronous_form_may_have_additional_methods() -> None:
    """The methods belong to the same interface, and the base class is not changed."""

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
def test_an_override_of_a_wrong_kind_is_refused_when_the_class_is_made(case: str) -> None:
    """The ``TypeError`` names class and method, and says which kind is needed."""
    base, name, function, message = WRONG[case]

    with pytest.raises(TypeError, match=rf"^Wrong\.{name} {message}"):
        type("Wrong", (base,), {name: function})


def test_a_coroutine_method_and_a_plain_one_need_different_base_classes() -> None:
    """A coroutine in a ``Subsystem`` is refused, and a plain method in an ``AsyncSubsystem``."""
    with pytest.raises(TypeError, match=r"^Both\.returning is asynchronous: derive from Async"):
        type("Both", (Subsystem,), {"greet": remote()(returning)})

    def greet(self: Any) -> None:
        """No coroutine."""

    with pytest.raises(TypeError, match=r"^Both\.greet is a plain method, not a coroutine"):
        type("Both", (AsyncSubsystem,), {"greet": remote()(greet)})


def test_awaited_and_streamed_take_only_remote_methods_of_a_synchronous_subsystem() -> None:
    """``awaited`` is for calls, ``streamed`` for streams, and the name must be the method's."""
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


def test_a_class_cannot_derive_from_two_asynchronous_subsystems() -> None:
    """The ``TypeError`` says to write one class for each."""
    with pytest.raises(TypeError, match="one class for each of"):
        type("Odd", (AsyncVolumeDriver, AsyncLogDriver), {})


def test_a_proxy_takes_a_client_and_time_outs_of_its_methods() -> None:
    """Another object than a client, and a time-out for an unknown method, are refused."""
    with pytest.raises(TypeError, match=r"^client must be an AsyncClient, not 5$"):
        AsyncVolumeDriver(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="AsyncVolumeDriver has no method 'mont'"):
        AsyncVolumeDriver(timeouts={"mont": 1.0})
    with pytest.raises(TypeError, match="AsyncVolumeDriver is not a proxy"):
        _ = AsyncVolumeDriver().client
    create = AsyncVolumeDriver.remotes["Create"]
    assert AsyncVolumeDriver(timeouts={"create": 1.0}).timeout_of(create) == 1.0
    assert AsyncVolumeDriver().timeout_of(create) == create.timeout
