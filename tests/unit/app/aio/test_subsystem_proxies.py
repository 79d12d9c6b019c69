"""Asynchronous proxies: each kind of call, through an ``AsyncClient`` to a plugin in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from moby_plugins import DriverError, StatusError, WireError
from moby_plugins.aio import (
    AsyncClient,
    AsyncGraphDriver,
    AsyncIpamDriver,
    AsyncLogDriver,
    AsyncMetricsCollector,
    AsyncNetworkDriver,
    AsyncPluginApp,
    AsyncSubsystem,
    AsyncVolumeDriver,
    new_client,
)
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    IpamCapabilities,
    LogDriver,
    LogEntry,
    LogInfo,
    ReadConfig,
    Streamed,
    Volume,
    VolumeCapabilities,
    VolumeDriver,
    encode_frame,
    remote,
)
from moby_plugins.testing import AsyncMemoryTransport, status

T = TypeVar("T")
Use = Callable[[AsyncClient], Awaitable[T]]


def through(plugin: Any, use: Use[T]) -> tuple[T, AsyncMemoryTransport]:
    """What ``use`` makes of a client of the plugin, and the calls that came."""
    memory = AsyncMemoryTransport(plugin)

    async def run() -> T:
        async with new_client("unix:///p.sock", connect=memory.connect) as client:
            return await use(client)

    return asyncio.run(run()), memory


class Shelves(VolumeDriver):
    """A synchronous plugin, for an asynchronous host."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def create(self, name: str, opts: Any = None) -> None:
        self.names.append(f"{name} {opts}")

    def list(self) -> tuple[Volume, ...]:
        return tuple(map(Volume, self.names))


def test_an_asynchronous_proxy_calls_the_plugin_and_returns_typed_results() -> None:
    """Arguments are given by position, by keyword or by default."""

    async def use(client: AsyncClient) -> Any:
        driver = AsyncVolumeDriver(client)
        await driver.create("a")
        await driver.create("b", {"size": "1"})
        await driver.create(name="c", opts=None)
        with pytest.raises(TypeError, match="missing a required argument: 'name'"):
            await driver.create()  # type: ignore[call-arg]
        return await driver.list()

    found, memory = through(PluginApp(Shelves()), use)

    assert found == (Volume("a None"), Volume("b {'size': '1'}"), Volume("c None"))
    assert [call.method for call in memory.calls] == ["VolumeDriver.Create"] * 3 + [
        "VolumeDriver.List"
    ]


def test_errors_are_those_of_a_plain_proxy() -> None:
    """Errors have the plugin's address; a method with a default returns that for an error."""

    async def use(client: AsyncClient) -> None:
        driver = AsyncVolumeDriver(client)
        with pytest.raises(StatusError, match="no such volume"):
            await driver.path("a")
        with pytest.raises(DriverError, match="in use") as caught:
            await driver.remove("a")
        assert caught.value.address == "unix:///p.sock"
        with pytest.raises(WireError) as unreadable:
            await driver.get("a")
        assert unreadable.value.method == "VolumeDriver.Get"
        assert unreadable.value.address == "unix:///p.sock"
        assert await driver.find("a") is None
        assert await driver.capabilities() == VolumeCapabilities()
        assert await AsyncIpamDriver(client).get_capabilities() == IpamCapabilities()
        assert (
            await AsyncNetworkDriver(client).revoke_external_connectivity("n", "e")  # type: ignore[func-returns-value]
            is None
        )

    through(
        {
            "VolumeDriver.Path": status(500, "no such volume"),
            "VolumeDriver.Remove": {"Err": "in use"},
            "VolumeDriver.Get": {"Volume": 5},
            "VolumeDriver.Capabilities": status(500, "oops"),
            "IpamDriver.GetCapabilities": status(404, "no such method"),
            "NetworkDriver.RevokeExternalConnectivity": status(404, "no such method"),
        },
        use,
    )


def test_a_notice_ignores_the_body_of_the_response() -> None:
    """Only the status of the response counts; 404 raises a ``StatusError``."""

    async def use(client: AsyncClient) -> None:
        await AsyncMetricsCollector(client).start_metrics()
        with pytest.raises(StatusError):
            await AsyncMetricsCollector(client).stop_metrics()

    through(
        {
            "MetricsCollector.StartMetrics": b"no JSON",
            "MetricsCollector.StopMetrics": status(404, "no such method"),
        },
        use,
    )


async def parts() -> AsyncIterator[bytes]:
    """An archive as it is made."""
    yield b"abc"
    await asyncio.sleep(0)
    yield b"de"


def test_an_archive_is_sent_as_it_is() -> None:
    """The archive is bytes, an iterable of them, or an asynchronous iterable."""

    class Layers(AsyncGraphDriver):
        async def apply_diff(self, id: str, parent: str, archive: Any) -> int:
            if isinstance(archive, bytes):
                return len(archive)
            return sum([len(part) async for part in archive])

    async def use(client: AsyncClient) -> list[int]:
        driver = AsyncGraphDriver(client)
        return [
            await driver.apply_diff("a", "b", archive)
            for archive in (b"abcde", iter([b"ab", b"cde"]), parts())
        ]

    found, memory = through(AsyncPluginApp(Layers()), use)

    assert found == [5, 5, 5]
    assert {call.method for call in memory.calls} == {"GraphDriver.ApplyDiff?id=a&parent=b"}


class Lines(LogDriver):
    """One entry, of a synchronous plugin."""

    def read_logs(self, info: LogInfo, config: ReadConfig) -> Any:
        yield LogEntry("stdout", 1, b"one")
        yield LogEntry("stdout", 2, b"two")


def test_a_stream_is_an_asynchronous_iterator() -> None:
    """Nothing is sent before the first item is requested; closing the iterator ends the call."""

    async def use(client: AsyncClient) -> list[bytes]:
        driver = AsyncLogDriver(client)
        unused = driver.read_logs(LogInfo(), ReadConfig())
        assert unused is not None
        with pytest.raises(TypeError, match="missing a required argument"):
            driver.read_logs(LogInfo())  # type: ignore[call-arg]
        entries = driver.read_logs(LogInfo(), ReadConfig())
        async with contextlib.aclosing(entries):  # type: ignore[type-var]
            async for entry in entries:
                assert entry == LogEntry("stdout", 1, b"one\n")
                break
        return [entry.line async for entry in driver.read_logs(LogInfo(), ReadConfig())]

    found, memory = through(PluginApp(Lines()), use)

    assert found == [b"one\n", b"two\n"]
    assert len(memory.calls) == 2


def test_a_stream_that_is_cut_off_is_an_error() -> None:
    """Whole entries are returned before the ``WireError`` is raised."""
    frame = encode_frame(LogEntry("stdout", 1, b"one\n"))

    async def use(client: AsyncClient) -> list[LogEntry]:
        entries = AsyncLogDriver(client).read_logs(LogInfo(), ReadConfig())
        came = [await anext(entries)]
        with pytest.raises(WireError, match="truncated"):
            await anext(entries)
        return came

    found, _ = through({"LogDriver.ReadLogs": frame + frame[:-1]}, use)

    assert found == [LogEntry("stdout", 1, b"one\n")]


class Own(AsyncSubsystem):
    """A subsystem that is asynchronous alone."""

    @remote(result="Said")
    async def say(self, text: str, times: int = 1) -> str:
        """The same again."""
        raise NotImplementedError

    @Streamed()
    def tail(self, lines: int) -> AsyncIterator[bytes]:
        """So many lines."""
        raise NotImplementedError


class Says(Own):
    """Its implementation."""

    async def say(self, text: str, times: int = 1) -> str:
        return text * times

    async def tail(self, lines: int) -> AsyncIterator[bytes]:
        for line in range(lines):
            yield b"%d" % line


def test_a_custom_class_is_both_the_proxy_and_the_interface() -> None:
    """A host calls through the class, and a plugin implements it."""

    async def use(client: AsyncClient) -> tuple[str, bytes]:
        own = Own(client)
        return await own.say("a", times=2), b"".join([chunk async for chunk in own.tail(3)])

    assert through(AsyncPluginApp(Says()), use)[0] == ("aa", b"012")


def test_a_proxy_gives_its_calls_the_time_outs_of_its_methods() -> None:
    """The time-outs are those of the definition, unless ``timeouts`` gives others."""
    given: list[float | None] = []

    class Recording:
        def call(self) -> None:
            """For the check of what a client is."""

        async def send(self, request: Any, timeout: float | None) -> Any:
            given.append(timeout)
            raise ValueError("not sent")

        def close(self) -> None:
            """Nothing."""

    async def run() -> None:
        async with new_client("unix:///p.sock", connect=lambda *_: Recording()) as client:
            for driver in (
                AsyncVolumeDriver(client),
                AsyncVolumeDriver(client, timeouts={"path": 3.0}),
            ):
                with pytest.raises(ValueError, match="not sent"):
                    await driver.path("a")

    asyncio.run(run())
    assert given == [VolumeDriver.remotes["Path"].timeout, 3.0]
