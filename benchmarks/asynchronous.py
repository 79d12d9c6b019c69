"""Small calls with asyncio, against synchronous calls of this library, threads, and aiohttp."""

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.calls import Mounted, bare_calls, bare_request, calling, connected, settings
from benchmarks.contest import Bound, Comparison, Contest, Reading, timed
from benchmarks.peers.python_clients import ARGS, METHOD, MOUNTPOINT, clients
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from benchmarks.watched import Watched
from moby_plugins import new_client
from moby_plugins.aio import AsyncClient
from moby_plugins.aio import new_client as new_async_client

CALLS = 50
# The numbers of tasks: as many as can call at once, and eight times as many, which have to wait.
AT_ONCE, CROWD = 64, 512
# How many calls each thread or task makes in a round.
EACH = 8
ROUNDS = 60
CPU_ROUNDS = 200
# Microseconds of CPU, for another iteration of the event loop, which wakes the task.
MOST_MORE = 9.0

ONE, MANY, MORE = "AsyncClient.call", f"{AT_ONCE} tasks", f"{CROWD} tasks"
THREADS = f"{AT_ONCE} threads, httptools"
BARE_TASKS, BARE_THREADS = (
    f"bare sockets, {AT_ONCE} tasks over {AT_ONCE} threads",
    f"bare sockets in {AT_ONCE} threads",
)

WAKING = (
    "An event loop adds asyncio's own work to a call: it polls, calls back, and continues the task "
    "that waits. The floor is the least that does so, a socket that the loop watches and one "
    "future a call, beyond a bare blocking socket."
)
TASKS = (
    "A call in a task has the same work as one in a thread, and asyncio's besides: a future, a "
    "callback, a step of the task and a timer. It saves the change of threads, so the ratio is "
    "what asyncio takes over what this machine takes to change threads. The floor is the least of "
    "both: a socket that the loop watches and one future a call in each task, over a blocking "
    "socket in each thread."
)


@contextmanager
def running() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Yield a function that runs a coroutine in an event loop that stays open."""
    with asyncio.Runner() as runner:
        yield runner.run


async def called(client: AsyncClient, calls: int) -> None:
    """Make a round of calls, one after the other, and check each response."""
    for _ in range(calls):
        assert (await client.call(METHOD, ARGS, Mounted)).mountpoint == MOUNTPOINT


async def called_at_once(client: AsyncClient, tasks: int, calls: int) -> None:
    """Make a round of calls in each of ``tasks`` tasks at the same time."""
    await asyncio.gather(*(called(client, calls) for _ in range(tasks)))


def asynchronous_contests(directory: Path, placement: Placement) -> Iterator[Contest | Reading]:
    """Yield contests of 1, 64 and 512 calls at once, and the CPU beyond a synchronous call."""
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

        request = bare_request()
        free = [stack.enter_context(connected(path)) for _ in range(AT_ONCE)]
        watched = [Watched(stack.enter_context(connected(path))) for _ in range(AT_ONCE)]

        def in_threads(work: Callable[[], None]) -> None:
            for done in [threads.submit(work) for _ in range(AT_ONCE)]:
                done.result()

        def bare() -> None:
            sock = free.pop()
            bare_calls(sock, EACH)
            free.append(sock)

        async def bare_at_once() -> None:
            await asyncio.gather(*(one.call(request, EACH) for one in watched))

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
                THREADS: timed(partial(in_threads, fast)),
                BARE_TASKS: timed(lambda: run(bare_at_once())),
                BARE_THREADS: timed(partial(in_threads, bare)),
            },
            (
                Comparison(
                    f"{AT_ONCE} small calls at once",
                    MANY,
                    THREADS,
                    Bound(0.7),
                    TASKS,
                    BARE_TASKS,
                    BARE_THREADS,
                    f"each of {AT_ONCE} small calls at once",
                ),
                Comparison(f"{CROWD} small calls at once", MORE, MANY, Bound(1.5)),
            ),
            ROUNDS,
            calls,
            placement=placement,
        )
        more = cpu_beyond(lambda: run(called(client, CALLS)), one)
        floor = cpu_beyond(
            lambda: run(watched[0].call(request, CALLS)), lambda: bare_calls(free[0])
        )
        yield Reading(
            "µs of CPU that a small call in an event loop takes more than a synchronous one "
            "over `httptools`",
            placement.name,
            more / CALLS,
            Bound(MOST_MORE),
            f"{floor / CALLS:.2f}",
            obstacle=WAKING,
            counts="a small call in an event loop",
        )


def cpu_beyond(ours: Callable[[], None], theirs: Callable[[], None]) -> float:
    """Return how many microseconds of CPU ``ours`` takes more: the median over paired rounds."""
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
