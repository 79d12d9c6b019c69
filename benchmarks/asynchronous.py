"""Small calls of programs on asyncio: against our synchronous call, threads, and aiohttp."""

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.calls import Mounted, calling, settings
from benchmarks.contest import Bound, Comparison, Contest, Reading, timed
from benchmarks.peers.python_clients import ARGS, METHOD, MOUNTPOINT, clients
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import new_client
from moby_plugins.aio import AsyncClient
from moby_plugins.aio import new_client as new_async_client

CALLS = 50
# So many at once have a turn, and eight times as many wait for theirs.
AT_ONCE, CROWD = 64, 512
# Calls of each thread or task in a round.
EACH = 8
ROUNDS = 60
CPU_ROUNDS = 200
# Microseconds of CPU: a second trip round the loop, which wakes the task.
MOST_MORE = 9.0

ONE, MANY, MORE = "AsyncClient.call", f"{AT_ONCE} tasks", f"{CROWD} tasks"
THREADS = f"{AT_ONCE} threads, httptools"

WAKING = (
    "What an event loop adds is asyncio's own: it waits once for the response, and once more, "
    "without a wait, as it wakes the task that asked."
)


@contextmanager
def running() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """What runs a coroutine in a loop that stays open."""
    with asyncio.Runner() as runner:
        yield runner.run


async def called(client: AsyncClient, calls: int) -> None:
    """A round of calls, one after the other, each of which must be answered."""
    for _ in range(calls):
        assert (await client.call(METHOD, ARGS, Mounted)).mountpoint == MOUNTPOINT


async def called_at_once(client: AsyncClient, tasks: int, calls: int) -> None:
    """The same in so many tasks."""
    await asyncio.gather(*(called(client, calls) for _ in range(tasks)))


def asynchronous_contests(directory: Path, placement: Placement) -> Iterator[Contest | Reading]:
    """One call, 64 and 512 at once, and the CPU that one takes more than a synchronous one."""
    with (
        placement.pinned(),
        quick_plugins(directory, placement=placement) as path,
        ExitStack() as stack,
    ):
        run = stack.enter_context(running())
        client = new_async_client(f"unix://{path}")
        stack.callback(client.close)
        plain = stack.enter_context(new_client(f"unix://{path}", settings=settings("httptools")))
        one, fast = calling(plain, CALLS), calling(plain, EACH)
        aiohttp = stack.enter_context(clients(path, CALLS))["aiohttp"]
        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))

        def in_threads() -> None:
            for done in [threads.submit(fast) for _ in range(AT_ONCE)]:
                done.result()

        yield Contest(
            {ONE: timed(lambda: run(called(client, CALLS))), "aiohttp": aiohttp},
            (Comparison("a small call in an event loop", ONE, "aiohttp", Bound(0.5)),),
            ROUNDS,
            CALLS,
            placement=placement,
        )
        calls = EACH * AT_ONCE
        yield Contest(
            {
                MANY: timed(lambda: run(called_at_once(client, AT_ONCE, EACH))),
                MORE: timed(lambda: run(called_at_once(client, CROWD, calls // CROWD))),
                THREADS: timed(in_threads),
            },
            (
                Comparison(f"{AT_ONCE} small calls at once", MANY, THREADS, Bound(0.7)),
                Comparison(f"{CROWD} small calls at once", MORE, MANY, Bound(1.5)),
            ),
            ROUNDS,
            calls,
            placement=placement,
        )
        more = cpu_beyond(lambda: run(called(client, CALLS)), one)
        yield Reading(
            "µs of CPU that a small call in an event loop takes more than a synchronous one "
            "over `httptools`",
            placement.name,
            more / CALLS,
            Bound(MOST_MORE),
            obstacle=WAKING,
        )


def cpu_beyond(ours: Callable[[], None], theirs: Callable[[], None]) -> float:
    """Microseconds of CPU that ``ours`` takes more, as both take turns: the median."""
    found = []
    for number in range(CPU_ROUNDS + 1):
        times = []
        for work in (ours, theirs):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
        if number:
            found.append(times[0] - times[1])
    return statistics.median(found) * 1e6
