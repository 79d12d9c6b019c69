"""A subclass of ``RetryPolicy`` decides how long clients and registries of both worlds wait."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import frozen

from moby_plugins import Client, PluginError, RetryPolicy, Settings, TransportError, new_client
from moby_plugins.aio import AsyncClient, new_local_registry
from moby_plugins.aio import new_client as new_async_client
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeClock,
    FakeTimeLoop,
    MemoryDiscovery,
    MemoryRegistry,
    MemoryTransport,
    refused,
)

ADDR = "unix:///s.sock"
REPLIES = {"Plugin.Activate": refused(), "M.x": refused()}


@frozen
class Odd(RetryPolicy):
    """Waits 7, 5 and 3 seconds, whatever its numbers are, and then gives up."""

    def next_delay(self, retries: int, elapsed: float) -> float | None:
        """Return the next of them."""
        assert elapsed == (0, 7, 12, 15)[retries]
        return (7.0, 5.0, 3.0, None)[retries]


@frozen
class Once(RetryPolicy):
    """Returns ``value`` for the first failure, and then gives up."""

    value: Any = None

    def next_delay(self, retries: int, elapsed: float) -> float | None:
        """Return it."""
        first: float | None = self.value
        return first if retries == 0 else None


def synchronous(work: Callable[[Client], object], **settings: Any) -> tuple[Any, float]:
    """The error in which ``work`` ends, and when."""
    clock = FakeClock()
    plugin = MemoryTransport(REPLIES, clock=clock)
    here = Settings(transports={"unix": plugin.connect}, **settings)
    with (
        new_client(ADDR, settings=here, clock=clock) as client,
        pytest.raises((PluginError, ValueError)) as caught,
    ):
        work(client)
    return caught.value, clock.now()


def asynchronous(
    work: Callable[[AsyncClient], Awaitable[object]], **given: Any
) -> tuple[Any, float]:
    """The same of an asynchronous client."""

    async def main() -> None:
        connect = AsyncMemoryTransport(REPLIES).connect
        async with new_async_client(ADDR, connect=connect, settings=Settings(**given)) as client:
            await work(client)

    return in_fake_time(main)


def in_fake_time(main: Callable[[], Any]) -> tuple[Any, float]:
    """The error in which ``main`` ends, and when."""
    loop = FakeTimeLoop()
    try:
        with pytest.raises((PluginError, ValueError)) as caught:
            loop.run(main())
        return caught.value, loop.time()
    finally:
        loop.close()


async def stream(client: AsyncClient, **options: Any) -> None:
    """Open a stream."""
    async with client.stream("M.x", **options):
        pass


@pytest.mark.parametrize(
    "ended",
    [
        lambda: synchronous(lambda client: client.call("M.x"), retry=Odd()),
        lambda: synchronous(lambda client: client.call("M.x", retry=Odd())),
        lambda: synchronous(lambda client: client.stream("M.x", retry=Odd())),
        lambda: synchronous(lambda client: client.send_file("M.x", b"x", retry=Odd())),
        lambda: asynchronous(lambda client: client.call("M.x"), retry=Odd()),
        lambda: asynchronous(lambda client: client.call("M.x", retry=Odd())),
        lambda: asynchronous(lambda client: stream(client, retry=Odd())),
        lambda: asynchronous(lambda client: client.send_file("M.x", b"x", retry=Odd())),
    ],
    ids=[
        f"{world} {what}"
        for world in ("sync", "async")
        for what in ("settings", "call", "stream", "send_file")
    ],
)
def test_a_client_waits_as_the_subclass_says(ended: Callable[[], tuple[Any, float]]) -> None:
    """With the settings' policy, and with that of a call: 7, 5 and 3 seconds, then it gives up."""
    error, seconds = ended()

    assert type(error) is TransportError
    assert (error.attempts, error.elapsed, seconds) == (4, 15, 15)


def test_a_registry_waits_as_the_subclass_says() -> None:
    """To activate a plugin, alone and with others."""
    with MemoryRegistry(retry=Odd()) as registry:
        registry.add("s", REPLIES)
        with pytest.raises(TransportError):
            registry.get("s")
        assert registry.clock.now() == 15


def test_an_asynchronous_registry_waits_as_the_subclass_says() -> None:
    """The same."""

    async def main() -> None:
        connect = AsyncMemoryTransport(REPLIES).connect
        settings, discovery = Settings(retry=Odd()), MemoryDiscovery(["s"])
        async with new_local_registry(settings, discovery=discovery, connect=connect) as registry:
            await registry.get("s")

    error, seconds = in_fake_time(main)
    assert (type(error), seconds) == (TransportError, 15)


@pytest.mark.parametrize("value", [math.nan, -1.0, -math.inf])
@pytest.mark.parametrize("ended", [synchronous, asynchronous])
def test_a_delay_that_is_no_number_of_seconds_is_refused(ended: Any, value: float) -> None:
    """The error names the method; the call has failed before."""
    error, _ = ended(lambda client: client.call("M.x", retry=Once(value=value)))

    assert type(error) is ValueError
    assert "next_delay must return" in str(error)
    assert isinstance(error.__context__, TransportError)


@pytest.mark.parametrize("ended", [synchronous, asynchronous])
def test_a_delay_without_end_is_the_longest_that_clocks_take(ended: Any) -> None:
    """About 31 years; a whole number will do, too."""
    _, seconds = ended(lambda client: client.call("M.x", retry=Once(value=math.inf)))
    _, two = ended(lambda client: client.call("M.x", retry=Once(value=2)))

    assert (seconds, two) == (1e9, 2)
