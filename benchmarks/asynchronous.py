"""Small calls with asyncio, against synchronous calls of this library, threads, and aiohttp."""

import asyncio
import socket
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.calls import Mounted, bare_calls, bare_request, calling, connected, settings
from benchmarks.contest import Bound, Comparison, Contest, Reading, timed
from benchmarks.peers.python_clients import ARGS, METHOD, MOUNTPOINT, clients
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
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

WAKING = (
    "What an event loop adds is asyncio's own: it polls, calls back, and continues the task that "
    "waits. The floor is the least that does so, a socket that the loop watches and one future a "
    "call, beyond a bare blocking socket."
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


class _Watched:
    """A bare socket that an event loop watches: the least of an asynchronous call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiter: asyncio.Future[bytes]

    async def call(self, request: bytes, calls: int) -> None:
        """Send ``request`` as often as ``calls`` says, and wait for each response."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self._receive)
        for _ in range(calls):
            self._waiter = loop.create_future()
            self._sock.send(request)
            assert await self._waiter
        loop.remove_reader(self._sock)

    def _receive(self) -> None:
        self._waiter.set_result(self._sock.recv(1 << 16))


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
        watched, blocking = (stack.enter_context(connected(path)) for _ in range(2))
        watched.setblocking(False)
        least = _Watched(watched)
        floor = cpu_beyond(
            lambda: run(least.call(bare_request(), CALLS)), lambda: bare_calls(blocking)
        )
        yield Reading(
            "µs of CPU that a small call in an event loop takes more than a synchronous one "
            "over `httptools`",
            placement.name,
            more / CALLS,
            Bound(MOST_MORE),
            f"{floor / CALLS:.2f}",
            obstacle=WAKING,
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
