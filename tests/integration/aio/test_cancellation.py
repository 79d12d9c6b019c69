"""Calls that are cancelled at any iteration of the loop mix up no responses and leak nothing."""

import asyncio
import contextlib
import gc
import os
import random
from collections.abc import AsyncIterator

from moby_plugins.adapters.aio.pool import TURNS
from moby_plugins.async_ports import AsyncTransport
from moby_plugins.domain.errors import TransportError
from moby_plugins.testing.contracts import Run
from tests.integration.aio.calls import called, echoes
from tests.integration.aio.conftest import Reach
from tests.integration.descriptors import descriptors, soon

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "1"))
CANCELLATIONS = 10_000 * ROUNDS
AT_ONCE = 100


async def body_of(data: bytes) -> AsyncIterator[bytes]:
    """The data in parts, some of which wait for the loop."""
    for position in range(0, len(data), 5000):
        if position % 2:
            await asyncio.sleep(0)
        yield data[position : position + 5000]


async def one(transport: AsyncTransport, number: int, dice: random.Random) -> bool:
    """A call that is cancelled in one way or another; false where it came first."""
    data = b"%d." % number * dice.choice([1, 10, 20_000])
    timeout = dice.choice([None, 5.0])

    async def call() -> None:
        assert await called(transport, data, timeout) == data

    async def cancelled_by_sibling() -> None:
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
        raise InterruptedError

    way = dice.randrange(4)
    was_cancelled = False
    try:
        if way == 0:
            async with asyncio.timeout(dice.random() * 2e-3):
                await call()
        elif way == 1:
            await asyncio.wait_for(call(), dice.random() * 2e-3)
        elif way == 2:
            async with asyncio.TaskGroup() as group:
                group.create_task(call())
                group.create_task(cancelled_by_sibling())
        else:
            task = asyncio.create_task(call())
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            await task
    except* (TimeoutError, asyncio.CancelledError, InterruptedError):
        was_cancelled = True
    return was_cancelled


def test_ten_thousand_cancellations_mix_up_no_responses_and_leak_nothing(
    reach_unix: Reach, run: Run
) -> None:
    """Time-outs, task groups and ``cancel`` leave no task, no descriptor and no used slot."""
    dice = random.Random(18)  # noqa: S311  nothing is secret here

    async def test() -> None:
        transport = reached.transport
        assert await called(transport, b"first") == b"first"
        before = descriptors()
        done = number = 0
        while done < CANCELLATIONS:
            number += AT_ONCE
            calls = (one(transport, number + each, dice) for each in range(AT_ONCE))
            done += sum(await asyncio.gather(*calls))
            assert await called(transport, b"next %d" % number, 5.0) == b"next %d" % number
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect()
        # All turns are there again: so many calls at once.
        bodies = [b"last %d" % each for each in range(TURNS)]
        assert await asyncio.gather(*(called(transport, each, 5.0) for each in bodies)) == bodies
        transport.close()
        # So that its threads, which the hundreds of connections keep busy, are not waited for.
        await asyncio.to_thread(reached.plugin.close)
        assert await asyncio.to_thread(soon, before - 1) < before  # its listener is closed, too

    with reach_unix(echoes) as reached:
        run(test())


def test_a_call_cancelled_at_any_iteration_of_the_loop_spoils_no_other(
    reach: Reach, run: Run
) -> None:
    """Whenever a call is cancelled, the next call of the transport gets its own response."""

    async def test() -> None:
        transport = reached.transport
        for number in range(120):
            data = b"%d." % number * 3000
            task = asyncio.create_task(called(transport, data, 5.0))
            for _ in range(number % 30):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                assert await task == data
            assert await called(transport, b"mine %d" % number, 5.0) == b"mine %d" % number

    with reach(echoes) as reached:
        run(test())


def test_closing_a_transport_ends_all_of_its_calls(reach: Reach, run: Run) -> None:
    """Each of 100 calls that run, dial or wait gets its response or a ``TransportError``."""

    async def test() -> None:
        before = descriptors()
        for turns in range(12):
            transport = reached.renewed()
            calls = [asyncio.create_task(called(transport, b"x" * 9000)) for _ in range(100)]
            for _ in range(turns):
                await asyncio.sleep(0)
            transport.close()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            for each in ended:
                assert each == b"x" * 9000 or type(each) is TransportError
        await asyncio.to_thread(reached.plugin.close)  # it may be behind with what it accepts
        assert await asyncio.to_thread(soon, before - 1) < before

    with reach(echoes) as reached:
        run(test())
