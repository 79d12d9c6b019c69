"""A subclass of ``RetryPolicy`` decides how long clients and registries wait."""

import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from attrs import frozen

from moby_plugins import (
    Client,
    PluginError,
    RetryPolicy,
    Settings,
    SettingsError,
    TransportError,
    new_client,
)
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
from tests.observers import Notes

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
        pytest.raises((PluginError, ValueError, TypeError)) as caught,
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
        with pytest.raises((PluginError, ValueError, TypeError)) as caught:
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
def test_a_client_waits_as_a_subclass_of_retry_policy_says(
    ended: Callable[[], tuple[Any, float]],
) -> None:
    """The settings or a call give the policy: waits of 7, 5 and 3 seconds, then the error."""
    error, seconds = ended()

    assert type(error) is TransportError
    assert (error.attempts, error.elapsed, seconds) == (4, 15, 15)


def test_a_registry_waits_as_a_subclass_of_retry_policy_says() -> None:
    """Activating a plugin is given up after waits of 7, 5 and 3 seconds."""
    with MemoryRegistry(retry=Odd()) as registry:
        registry.add("s", REPLIES)
        with pytest.raises(TransportError):
            registry.get("s")
        assert registry.clock.now() == 15


def test_an_asynchronous_registry_waits_as_a_subclass_of_retry_policy_says() -> None:
    """Activating a plugin is given up after waits of 7, 5 and 3 seconds."""

    async def main() -> None:
        connect = AsyncMemoryTransport(REPLIES).connect
        settings, discovery = Settings(retry=Odd()), MemoryDiscovery(["s"])
        async with new_local_registry(settings, discovery=discovery, connect=connect) as registry:
            await registry.get("s")

    error, seconds = in_fake_time(main)
    assert (type(error), seconds) == (TransportError, 15)


@pytest.mark.parametrize("value", [Fraction(7), Decimal(7), 7])
@pytest.mark.parametrize("observers", [[], [Notes()]], ids=["alone", "observed"])
@pytest.mark.parametrize("ended", [synchronous, asynchronous])
def test_a_delay_may_be_of_any_class_of_numbers(ended: Any, observers: Any, value: Any) -> None:
    """The client waits for that many seconds, with and without observers."""
    policy = Once(value=value)
    error, seconds = ended(lambda client: client.call("M.x", retry=policy), observers=observers)

    assert (type(error), seconds) == (TransportError, 7)


@pytest.mark.parametrize("value", ["1", b"1", [], 1j])
@pytest.mark.parametrize("ended", [synchronous, asynchronous])
def test_a_delay_that_is_no_number_is_refused(ended: Any, value: Any) -> None:
    """Text is refused, too, although it could be read as a number."""
    error, _ = ended(lambda client: client.call("M.x", retry=Once(value=value)))

    assert type(error) is TypeError
    assert "next_delay must return" in str(error)


@pytest.mark.parametrize("ended", [synchronous, asynchronous])
def test_on_retry_must_not_be_a_coroutine_function(ended: Any) -> None:
    """Nothing would await the coroutine that such a function returns."""

    async def told(error: Exception, delay: float) -> None:
        raise AssertionError

    error, _ = ended(lambda client: client.call("M.x", on_retry=told))

    assert type(error) is TypeError
    assert "on_retry must not be a coroutine function" in str(error)
    with pytest.raises(SettingsError, match="on_retry must not be a coroutine function"):
        Settings(on_retry=told)


@pytest.mark.parametrize("value", [math.nan, -1.0, -math.inf, -(10**400)])
@pytest.mark.parametrize("ended", [synchronous, asynchronous])
def test_a_next_delay_that_is_nan_or_negative_is_refused(ended: Any, value: float) -> None:
    """The error names ``next_delay``, and has the error of the call as its context."""
    error, _ = ended(lambda client: client.call("M.x", retry=Once(value=value)))

    assert type(error) is ValueError
    assert "next_delay must return" in str(error)
    assert isinstance(error.__context__, TransportError)


@pytest.mark.parametrize("ended", [synchronous, asynchronous])
def test_an_infinite_next_delay_becomes_the_longest_wait_of_clocks(ended: Any) -> None:
    """That is 1e9 seconds, about 31 years; a whole number of seconds is accepted, too."""
    _, seconds = ended(lambda client: client.call("M.x", retry=Once(value=math.inf)))
    _, two = ended(lambda client: client.call("M.x", retry=Once(value=2)))

    assert (seconds, two) == (1e9, 2)
