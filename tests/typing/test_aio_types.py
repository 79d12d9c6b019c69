"""The types of subsystems on asyncio: read by mypy and pyright, and never run.

Lines with a wrong type ignore the error by its name. A check fails if its type checker reports no
error on such a line.
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
    """Arguments are given by position, by name or by default; results have their type."""
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
    """A stream gives its items, or chunks of bytes."""
    async for entry in AsyncLogDriver(client).read_logs(LogInfo(), ReadConfig()):
        assert_type(entry, LogEntry)
    async for chunk in AsyncGraphDriver(client).diff("a", "b"):
        assert_type(chunk, bytes)
    AsyncLogDriver(client).read_logs(LogInfo())  # type: ignore[call-arg]


async def an_archive_may_be_asynchronous(
    client: aio.AsyncClient, parts: AsyncIterator[bytes]
) -> None:
    """An archive may be bytes, or an iterable of either kind, and nothing else."""
    driver = AsyncGraphDriver(client)
    assert_type(await driver.apply_diff("a", "b", parts), int)
    await driver.apply_diff("a", "b", b"")
    await driver.apply_diff("a", "b", iter([b""]))
    await driver.apply_diff("a", "b", 5)  # type: ignore[arg-type]


class Shelves(AsyncVolumeDriver):
    """A driver whose overrides have the right types."""

    async def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        """Has the types of the subsystem's method."""

    async def path(self, name: str) -> str:
        """Has the types of the subsystem's method."""
        return name

    async def list(self) -> tuple[Volume, ...]:
        """Has a narrower type of result."""
        return ()


class Logs(AsyncLogDriver):
    """A driver with an asynchronous generator."""

    async def read_logs(self, info: LogInfo, config: ReadConfig) -> AsyncIterator[LogEntry]:
        """Has the types of the subsystem's method."""
        yield LogEntry()


class Doorman(AsyncAuthZPlugin):
    """A plugin that overrides a method which is not part of the protocol."""

    async def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        """Has the types of the subsystem's method."""
        return await super().authorize_unseen(request)


class PlainMethod(AsyncVolumeDriver):
    """Both type checkers refuse it, and so does Python when the class is made."""

    def create(  # type: ignore[override]
        self, name: str, opts: Mapping[str, str] | None = None
    ) -> None:
        """Is not a coroutine."""


class OtherParameter(AsyncVolumeDriver):
    """Both type checkers refuse it, and so does ``AsyncPluginApp``."""

    async def create(self, nam: int) -> None:  # type: ignore[override]
        """Has a parameter of another name and type."""


class OtherResult(AsyncVolumeDriver):
    """Both type checkers refuse it."""

    async def path(self, name: str) -> int:  # type: ignore[override]
        """Has another type of result."""
        return 5


class NoStream(AsyncLogDriver):
    """Both type checkers refuse it."""

    def read_logs(  # type: ignore[override]
        self, info: LogInfo, config: ReadConfig
    ) -> Sequence[LogEntry]:
        """Is not an asynchronous generator."""
        return []


class Own(AsyncSubsystem):
    """A subsystem of one's own, defined in one class."""

    @remote(result="Said", timeout=5.0)
    async def say(self, text: str, times: int = 1) -> str:
        """Return ``text``, repeated."""
        raise NotImplementedError

    @Streamed()
    def tail(self, lines: int) -> AsyncIterator[bytes]:
        """Yield the last lines."""
        raise NotImplementedError


class OfDefinition(AsyncSubsystem):
    """A subsystem that is made from ``VolumeDriver``, which is for threads."""

    definition = VolumeDriver
    path = awaited(VolumeDriver.path)


class Says(Own):
    """An implementation of ``Own``, whose types both checkers compare."""

    async def say(self, text: str, times: int = 1) -> str:
        """Has the types of the subsystem's method."""
        return text * times

    async def tail(self, lines: int) -> AsyncIterator[bytes]:
        """Has the types of the subsystem's method."""
        yield b""


class SaysWrong(Own):
    """An implementation that both type checkers refuse."""

    def say(  # type: ignore[override]
        self, text: str, times: int = 1
    ) -> str:
        """Is not a coroutine."""
        return text


async def a_subsystem_of_ones_own_is_a_typed_proxy(client: aio.AsyncClient) -> None:
    """The proxy has the types of the definition."""
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


async def an_asynchronous_app_takes_only_asynchronous_subsystems() -> None:
    """Only the functions of ``moby_plugins.aio`` serve it."""
    app = AsyncPluginApp(Shelves(), Logs(), max_request_bytes=5)
    taken: Callable[[aio.AsyncRequest], Awaitable[aio.AsyncResponse]] = app
    assert_type(await app(aio.AsyncRequest("M.x")), aio.AsyncResponse)
    await aio.serve_unix(taken, "shelf", mode=0o600, group="docker", drain=1.0)
    await aio.serve_tcp(app, "shelf", "127.0.0.1:0")
    aio.asgi(app, max_inflight_bytes=5)
    AsyncPluginApp(VolumeDriver())  # type: ignore[arg-type]
    PluginApp(Shelves())  # type: ignore[arg-type]
    await aio.serve_unix(PluginApp(), "x")  # type: ignore[arg-type]
