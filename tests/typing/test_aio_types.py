"""The types of subsystems on asyncio: read by mypy and pyright, and never run.

What is wrong is ignored by name, in the eyes of both: where either has nothing against a line that
is ignored, its check fails.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import assert_type

from moby_plugins import aio
from moby_plugins.aio import (
    AsyncAuthZPlugin,
    AsyncGraphDriver,
    AsyncLogDriver,
    AsyncPluginApp,
    AsyncSubsystem,
    AsyncVolumeDriver,
    awaited,
    streamed,
)
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AuthZRequest,
    LogDriver,
    LogEntry,
    LogInfo,
    ReadConfig,
    Streamed,
    Verdict,
    Volume,
    VolumeCapabilities,
    VolumeDriver,
    remote,
)


async def a_proxy_is_awaited(client: aio.AsyncClient) -> None:
    """Parameters by place, by name and by default; results of their type."""
    driver = AsyncVolumeDriver(client, timeouts={"create": 1.0})
    assert_type(driver.client, aio.AsyncClient)
    assert_type(await driver.list(), Sequence[Volume])
    assert_type(await driver.path("x"), str)
    assert_type(await driver.mount(name="x", id="y"), str)
    assert_type(await driver.get("x"), Volume | None)
    assert_type(await driver.find("x"), Volume | None)
    assert_type(await driver.capabilities(), VolumeCapabilities)
    await driver.create("x")
    await driver.create("x", {"a": "b"})
    await driver.create("x", opts={"a": "b"})
    await driver.create(1)  # type: ignore[arg-type]
    await driver.create()  # type: ignore[call-arg]
    await driver.creat("x")  # type: ignore[attr-defined]
    AsyncVolumeDriver(5)  # type: ignore[arg-type]


async def a_stream_is_iterated(client: aio.AsyncClient) -> None:
    """Of items, and of bytes."""
    async for entry in AsyncLogDriver(client).read_logs(LogInfo(), ReadConfig()):
        assert_type(entry, LogEntry)
    async for chunk in AsyncGraphDriver(client).diff("a", "b"):
        assert_type(chunk, bytes)
    AsyncLogDriver(client).read_logs(LogInfo())  # type: ignore[call-arg]


async def an_archive_may_be_asynchronous(
    client: aio.AsyncClient, parts: AsyncIterator[bytes]
) -> None:
    """Bytes, iterables of both kinds; no text."""
    driver = AsyncGraphDriver(client)
    assert_type(await driver.apply_diff("a", "b", parts), int)
    await driver.apply_diff("a", "b", b"")
    await driver.apply_diff("a", "b", iter([b""]))
    await driver.apply_diff("a", "b", 5)  # type: ignore[arg-type]


class Shelves(AsyncVolumeDriver):
    """Right overrides."""

    async def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        """As the method is."""

    async def path(self, name: str) -> str:
        """As the method is."""
        return name

    async def list(self) -> tuple[Volume, ...]:
        """A result that is narrower."""
        return ()


class Logs(AsyncLogDriver):
    """An asynchronous generator."""

    async def read_logs(self, info: LogInfo, config: ReadConfig) -> AsyncIterator[LogEntry]:
        """As the method is."""
        yield LogEntry()


class Doorman(AsyncAuthZPlugin):
    """A method beside the protocol's."""

    async def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        """As the method is."""
        return await super().authorize_unseen(request)


class PlainMethod(AsyncVolumeDriver):
    """Refused by both, and where the class is made."""

    def create(  # type: ignore[override]
        self, name: str, opts: Mapping[str, str] | None = None
    ) -> None:
        """No coroutine."""


class OtherParameter(AsyncVolumeDriver):
    """Refused by both, and by ``AsyncPluginApp``."""

    async def create(self, nam: int) -> None:  # type: ignore[override]
        """Nothing that a call fits."""


class OtherResult(AsyncVolumeDriver):
    """Refused by both."""

    async def path(self, name: str) -> int:  # type: ignore[override]
        """No path."""
        return 5


class NoStream(AsyncLogDriver):
    """Refused by both."""

    def read_logs(  # type: ignore[override]
        self, info: LogInfo, config: ReadConfig
    ) -> Sequence[LogEntry]:
        """No stream."""
        return []


class Own(AsyncSubsystem):
    """A subsystem in one class."""

    @remote(result="Said", timeout=5.0)
    async def say(self, text: str, times: int = 1) -> str:
        """The same again."""
        raise NotImplementedError

    @Streamed()
    def tail(self, lines: int) -> AsyncIterator[bytes]:
        """So many lines."""
        raise NotImplementedError


class OfDefinition(AsyncSubsystem):
    """One of a definition."""

    definition = VolumeDriver
    path = awaited(VolumeDriver.path)


class Says(Own):
    """Its implementation, held to it by both checkers."""

    async def say(self, text: str, times: int = 1) -> str:
        """As the method is."""
        return text * times

    async def tail(self, lines: int) -> AsyncIterator[bytes]:
        """As the method is."""
        yield b""


class SaysWrong(Own):
    """What both refuse."""

    def say(  # type: ignore[override]
        self, text: str, times: int = 1
    ) -> str:
        """No coroutine."""
        return text


async def ones_own_is_both_ends(client: aio.AsyncClient) -> None:
    """The proxy's types are the definition's."""
    assert_type(await Own(client).say("a", times=2), str)
    assert_type(Own(client).tail(5), AsyncIterator[bytes])
    assert_type(await OfDefinition(client).path("a"), str)
    await Own(client).say(5)  # type: ignore[arg-type]
    streamed(VolumeDriver.path)  # type: ignore[arg-type]
    awaited(VolumeDriver)  # type: ignore[type-var]
    streamed(LogDriver)  # type: ignore[type-var,arg-type]
    awaited(int)  # type: ignore[type-var]
    assert_type(
        streamed(LogDriver.read_logs)(None, LogInfo(), ReadConfig()), AsyncIterator[LogEntry]
    )


async def apps_take_parts_of_their_kind() -> None:
    """And are served by what serves their kind."""
    app = AsyncPluginApp(Shelves(), Logs(), max_request_bytes=5)
    taken: Callable[[aio.AsyncRequest], Awaitable[aio.AsyncResponse]] = app
    assert_type(await app(aio.AsyncRequest("M.x")), aio.AsyncResponse)
    await aio.serve_unix(taken, "shelf", mode=0o600, group="docker", drain=1.0)
    await aio.serve_tcp(app, "shelf", "127.0.0.1:0")
    aio.asgi(app, max_inflight_bytes=5)
    AsyncPluginApp(VolumeDriver())  # type: ignore[arg-type]
    PluginApp(Shelves())  # type: ignore[arg-type]
    await aio.serve_unix(PluginApp(), "x")  # type: ignore[arg-type]
