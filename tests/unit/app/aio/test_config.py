"""Asynchronous clients and registries: which transport carries a call, and which settings count."""

import asyncio
import functools
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import (
    EngineDiscovery,
    Registry,
    RetryPolicy,
    Settings,
    SettingsError,
    SpecError,
    TransportTimeoutError,
    WireError,
    new_client,
)
from moby_plugins.aio import (
    AsyncRegistry,
    AsyncRequest,
    AsyncResponse,
    AsyncTransport,
    new_local_registry,
)
from moby_plugins.aio import new_client as new_async_client
from moby_plugins.ports import Address, TLSOptions
from moby_plugins.serving import MetricsServer
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeClock,
    FakeTimeLoop,
    MemoryDiscovery,
    MemoryRegistry,
    MemoryTransport,
    hangs,
)
from tests.transports import install_async_transport

VOLUMES = {"Plugin.Activate": {"Implements": ["VolumeDriver"]}, "Shelf.List": ["books"]}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that packages can be installed into."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["auto", "httptools", "urllib3"])
@pytest.mark.parametrize("addr", ["unix:///run/x.sock", "tcp://h:1", "http://h", "https://h"])
def test_every_built_in_transport_name_means_the_asyncio_transport(name: str, addr: str) -> None:
    """The names auto, httptools and urllib3 make equal clients."""
    scheme = addr.partition(":")[0]
    settings = Settings(transports={scheme: name})
    plain = new_async_client(addr, settings=Settings())
    named = new_async_client(addr, settings=settings)

    assert repr(named) == repr(plain)
    assert repr(plain).endswith(" over asyncio>")
    for client in (plain, named):
        client.close()


def test_a_transport_of_ones_own_carries_its_scheme(loop: FakeTimeLoop) -> None:
    """Settings name it for a scheme, or ``connect`` gives it for every address of a client."""
    plugin = AsyncMemoryTransport(VOLUMES)
    settings = Settings(transports={"mem": plugin.connect}, timeout=7)

    async def main() -> None:
        async with new_async_client("mem://a", settings=settings) as client:
            assert await client.call("Shelf.List") == ["books"]
        async with new_async_client("unix:///no.sock", connect=plugin.connect) as client:
            assert await client.call("Shelf.List") == ["books"]
        made = Settings(plugins={"shelf": "mem://b"}, transports={"mem": plugin.connect})
        async with new_local_registry(made) as registry:
            assert (await registry.get("shelf", "VolumeDriver")).addr == "mem://b"

    loop.run(main())
    assert [call.address for call in plugin.calls] == ["mem://a", "unix:///no.sock", "mem://b"]


def test_an_installed_package_carries_the_scheme_it_is_named_for(
    site: Path, loop: FakeTimeLoop
) -> None:
    """The group of its entry point is for asynchronous transports, and unknown to threads."""
    install_async_transport(
        site,
        "echo",
        "from moby_plugins.testing import AsyncMemoryTransport\n"
        "def connect(address, tls, /):\n"
        "    return AsyncMemoryTransport({'M.x': address.text}).connect(address, tls)\n",
    )
    settings = Settings(transports={"ssh": "echo"})

    async def main() -> Any:
        async with new_async_client("ssh://h/x", settings=settings) as client:
            return await client.call("M.x")

    assert loop.run(main()) == "ssh://h/x"
    with pytest.raises(SettingsError, match="no transport is called 'echo'"):
        new_client("ssh://h/x", settings=settings)


def test_an_unknown_transport_is_refused_before_the_first_call() -> None:
    """A scheme without a transport and a ``connect`` that is not a function are refused, too."""
    with pytest.raises(SettingsError, match="no transport is called 'nonsense'"):
        Settings(transports={"ssh": "nonsense"})
    with pytest.raises(SpecError, match="no transport for ssh://"):
        new_async_client("ssh://h", settings=Settings())
    with pytest.raises(TypeError, match="connect must be a function"):
        new_async_client("tcp://h:1", connect=5)  # type: ignore[arg-type]


def test_a_transport_for_threads_is_refused_by_tasks_and_the_other_way_round() -> None:
    """The ``SettingsError`` says whether the transport is asynchronous."""
    threads = Settings(transports={"mem": MemoryTransport(VOLUMES).connect})
    tasks = Settings(transports={"mem": AsyncMemoryTransport(VOLUMES).connect})

    with pytest.raises(SettingsError, match=r"mem:// is not asynchronous"):
        new_async_client("mem://a", settings=threads)
    with pytest.raises(SettingsError, match=r"mem:// is asynchronous: it is for moby_plugins\.aio"):
        new_client("mem://a", settings=tasks)


def through_a_decorator(method: Any) -> Any:
    """A plain function around a coroutine function, whose annotations are those of the latter."""

    @functools.wraps(method)
    def call(*args: Any) -> Any:
        return method(*args)

    return call


class Forwarding:
    """Transports over a transport, with a ``send`` of one of several kinds."""

    def __init__(self, kind: str, transport: AsyncTransport) -> None:
        self.close = transport.close
        self._transport = transport
        self.send = getattr(self, kind)

    def plain(self, request, timeout):  # type: ignore[no-untyped-def]
        return self._transport.send(request, timeout)

    def annotated(self, request: AsyncRequest, timeout: float | None) -> Awaitable[AsyncResponse]:
        return self._transport.send(request, timeout)

    def unresolved(self, request: AsyncRequest, timeout: float | None) -> "Missing":  # type: ignore[name-defined]  # noqa: F821
        return self._transport.send(request, timeout)

    def a_task(self, request: AsyncRequest, timeout: float | None) -> "asyncio.Task[AsyncResponse]":
        return asyncio.ensure_future(self._transport.send(request, timeout))

    @through_a_decorator
    async def decorated(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        return await self._transport.send(request, timeout)

    @property
    def partial(self) -> Any:
        return functools.partial(self._transport.send)

    @property
    def an_object(self) -> Any:
        class Sending:
            __call__ = staticmethod(self._transport.send)

        return Sending()


@pytest.mark.parametrize(
    "kind",
    [
        *("plain", "annotated", "unresolved", "a_task", "decorated"),
        *("partial", "an_object"),
    ],
)
def test_what_send_returns_is_awaited(kind: str, loop: FakeTimeLoop) -> None:
    """A plain function, a partial, an object or a decorated coroutine function will do."""
    plugin = AsyncMemoryTransport(VOLUMES)

    def connect(address: Address, tls: TLSOptions | None, /) -> Any:
        return Forwarding(kind, plugin.connect(address, tls))

    settings = Settings(transports={"mem": connect})

    async def main() -> None:
        async with new_async_client("mem://a", settings=settings) as client:
            assert await client.call("Shelf.List") == ["books"]
        made = Settings(plugins={"shelf": "mem://b"}, transports={"mem": connect})
        async with new_local_registry(made) as registry:
            assert (await registry.get("shelf", "VolumeDriver")).addr == "mem://b"

    loop.run(main())


@pytest.mark.parametrize("kind", ["annotated", "a_task", "partial"])
def test_a_synchronous_client_refuses_a_transport_whose_send_returns_an_awaitable(
    kind: str,
) -> None:
    """The kind of ``send`` or its annotation shows that it is asynchronous."""
    plugin = AsyncMemoryTransport(VOLUMES)
    transports: Any = {"mem": lambda address, tls: Forwarding(kind, plugin.connect(address, tls))}

    with pytest.raises(SettingsError, match="mem:// is asynchronous"):
        new_client("mem://a", settings=Settings(transports=transports))


async def connects(_: Address, __: TLSOptions | None, /) -> AsyncTransport:
    """A function that would have to be awaited for a transport."""
    raise NotImplementedError


class Connects:
    """An object that is called in the same way."""

    __call__ = staticmethod(connects)


@pytest.mark.parametrize("connect", [connects, Connects(), functools.partial(connects)])
def test_connect_must_not_be_a_coroutine_function(connect: Any, site: Path) -> None:
    """A coroutine function is refused where it is given, to tasks and to threads."""
    why = "must not be a coroutine function"
    with pytest.raises(SettingsError, match=f"^the transport for 'mem' {why}"):
        Settings(transports={"mem": connect})
    for refusing in (
        lambda: new_async_client("mem://a", connect=connect),
        lambda: new_local_registry(connect=connect),
        lambda: AsyncRegistry(discovery=MemoryDiscovery(), connect=connect),
        lambda: Registry(discovery=MemoryDiscovery(), connect=connect, clock=FakeClock()),
        lambda: EngineDiscovery("tcp://h:1", connect=connect),
    ):
        with pytest.raises(TypeError, match=f"^connect {why}"):
            refusing()
    install_async_transport(site, "later", "async def connect(address, tls, /): ...\n")
    with pytest.raises(SettingsError, match=f"^the asynchronous transport 'later' {why}"):
        new_async_client("mem://a", settings=Settings(transports={"mem": "later"}))


@pytest.mark.parametrize("given", [connects, Connects()])
def test_coroutine_functions_are_refused_as_synchronous_callbacks(given: Any) -> None:
    """Settings, a registry of threads and a metrics server would never await them."""
    why = "must not be a coroutine function"
    with pytest.raises(SettingsError, match=f"^discovery {why}"):
        Settings(discovery=given)
    with pytest.raises(SettingsError, match=f"^on_retry {why}"):
        Settings(on_retry=given)
    with pytest.raises(TypeError, match=f"^handler {why}"):
        MemoryRegistry().handle("A", given)
    with pytest.raises(TypeError, match=f"^check {why}"):
        MetricsServer(check=given)


def test_an_asynchronous_client_uses_its_settings(loop: FakeTimeLoop) -> None:
    """Retries and bounds are those of the settings; the argument ``timeout`` takes precedence."""
    told: list[float] = []
    settings = Settings(
        retry=RetryPolicy(initial=2, factor=1, budget=5),
        timeout=100,
        max_response_bytes=10,
        on_retry=lambda _, delay: told.append(delay),
    )
    plugin = AsyncMemoryTransport({"M.x": "x" * 20, "M.hangs": hangs()})

    async def main() -> None:
        async with new_async_client(
            "unix:///a", timeout=1, settings=settings, connect=plugin.connect
        ) as client:
            with pytest.raises(WireError, match="larger than 10 bytes"):
                await client.call("M.x")
            with pytest.raises(TransportTimeoutError):
                await client.call("M.hangs")
        assert (told, loop.time()) == ([2.0], 4.0)

    loop.run(main())
