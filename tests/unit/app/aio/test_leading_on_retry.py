"""What the ``on_retry`` of one task raises, where others wait for the same plugin."""

import asyncio

import pytest

from moby_plugins import StatusError
from moby_plugins.aio import AsyncActivePlugin, AsyncRegistry
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeTimeLoop,
    MemoryDiscovery,
    refused,
    script,
)

ACTIVE = {"Implements": ["A"]}


@pytest.mark.parametrize("error", [ValueError("mine"), StatusError(500, "A.b", "mine")])
def test_an_exception_of_a_callers_on_retry_is_raised_to_that_caller_alone(
    error: Exception,
) -> None:
    """Other tasks that wait for the plugin go on: one of them activates it by its own policy."""
    transport = AsyncMemoryTransport({"Plugin.Activate": script(refused(), ACTIVE)})

    def give_up(*_: object) -> None:
        raise error

    async def main() -> list[AsyncActivePlugin | BaseException]:
        discovery = MemoryDiscovery({"p": "unix:///p.sock"})
        async with AsyncRegistry(discovery=discovery, connect=transport.connect) as registry:
            first = registry.get("p", "A", on_retry=give_up)
            second, third = registry.get("p", "A"), registry.get("p", "A")
            return [*await asyncio.gather(first, second, third, return_exceptions=True)]

    loop = FakeTimeLoop()
    try:
        raised, *found = loop.run(main())
    finally:
        loop.close()

    assert raised is error
    assert [type(each) for each in found] == [AsyncActivePlugin] * 2
