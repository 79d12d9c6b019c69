"""Calls of the soak's tasks: some are cancelled, after random iterations of the loop or times."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable

from attrs import frozen

from moby_plugins import PluginError, Settings, TransportTimeoutError
from moby_plugins.adapters.aio.pool import TURNS, LoopPool
from moby_plugins.aio import AsyncClient, AsyncGraphDriver, AsyncRegistry, new_local_registry
from tests.soak.calls import FAULTS, FORGOTTEN, LOST, Tally
from tests.soak.faults import BREAKS, EVERY, TIME_OUT, Fault, fault_of
from tests.soak.plugins import PIECES

NAMES = ("raw", "served", "awaited")
# More than the turns of a transport, so that some calls wait for a turn.
TASKS = TURNS + 16
CANCELLED = "cancelled by its task"
TIMED_OUT = "cancelled by a time-out around it"
# The part of all calls that is to be cancelled; some of these end before.
SHARE = 0.2
# The most iterations of the loop, and seconds, after which a call is cancelled.
MOST_TURNS, MOST_SECONDS = 40, 0.02


@frozen
class LoopCount:
    """The tasks of a loop while no call runs, and the turns that calls did not give back."""

    tasks: int
    turns: int


class AsyncCaller:
    """Calls by number, in many tasks of one loop, through a registry that they share."""

    def __init__(self, registry: AsyncRegistry, seed: int) -> None:
        self.tally = Tally()
        self._registry = registry
        self._dice = random.Random(seed)  # noqa: S311  nothing is secret here

    async def call_all(self, numbers: range) -> None:
        """Make all these calls, by ``TASKS`` tasks."""
        left = iter(numbers)

        async def work() -> None:
            for number in left:
                await self._call(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(work())

    async def _call(self, number: int) -> None:
        name = NAMES[number // EVERY % len(NAMES)]
        fault = fault_of(number, FAULTS[name])
        if number % FORGOTTEN == 0:
            self._registry.invalidate(name)
        if self._dice.random() >= SHARE:
            self.tally.judge(number, name, fault, await self._came_to(name, number, fault))
        elif number % 2:
            await self._cancelled(name, number, fault)
        else:
            await self._timed_out(name, number, fault)

    async def _cancelled(self, name: str, number: int, fault: Fault | None) -> None:
        task = asyncio.create_task(self._came_to(name, number, fault))
        for _ in range(self._dice.randrange(MOST_TURNS)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            said = await task
        except asyncio.CancelledError:
            self.tally.right[CANCELLED] += 1
        else:
            self.tally.judge(number, name, fault, said)

    async def _timed_out(self, name: str, number: int, fault: Fault | None) -> None:
        try:
            async with asyncio.timeout(self._dice.random() * MOST_SECONDS):
                said = await self._came_to(name, number, fault)
        except TimeoutError:
            self.tally.right[TIMED_OUT] += 1
        else:
            self.tally.judge(number, name, fault, said)

    async def _came_to(self, name: str, number: int, fault: Fault | None) -> object:
        try:
            plugin = await self._registry.get(name, "Echo")
            return await _ask(plugin.client, name, number, fault)
        except PluginError as error:
            return error


async def _ask(client: AsyncClient, name: str, number: int, fault: Fault | None) -> str:
    kind = -1 if name == "raw" else number % EVERY
    if fault is BREAKS or kind == 1:
        pieces = [piece async for piece in AsyncGraphDriver(client).diff(str(number), "")]
        said = b"".join(pieces).decode().split(",")
        return said[0] if said == [str(number)] * PIECES + [""] else repr(said)
    if kind == 2:
        size = number % 4096
        counted = await AsyncGraphDriver(client).apply_diff(str(number), "", _archive(size))
        return str(counted - 3 * size)
    late = fault is not None and fault.error is TransportTimeoutError
    answer = await client.call(
        "Echo.Say", {"Text": str(number)}, dict[str, str], timeout=TIME_OUT if late else LOST
    )
    return str(answer["Said"])


async def _archive(size: int) -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"x" * size
        await asyncio.sleep(0)


async def call_in_loop(
    settings: Settings, parts: tuple[range, ...], seed: int, mark: Callable[[], object]
) -> tuple[Tally, list[LoopCount]]:
    """Make the calls of each part in the running loop, with ``mark()`` after each part.

    The tasks and turns of the loop are also counted after each part.
    """
    counts = []
    async with new_local_registry(settings) as registry:
        caller = AsyncCaller(registry, seed)
        for part in parts:
            await caller.call_all(part)
            counts.append(await _counted())
            mark()
    return caller.tally, counts


async def _counted() -> LoopCount:
    # The calls that were cancelled last need some iterations to end.
    for _ in range(MOST_TURNS):
        await asyncio.sleep(0)
    gc.collect()
    loop = asyncio.get_running_loop()
    pools = [one for one in gc.get_objects() if isinstance(one, LoopPool) and one.loop is loop]
    taken = sum(TURNS - pool._free for pool in pools)  # noqa: SLF001  it has no other count
    return LoopCount(len(asyncio.all_tasks()), taken)
