"""Real threads, processes and sockets hold back the time of a ``FakeTimeLoop``."""

import asyncio
import contextlib
import socket
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.adapters.aio.transport import connect
from moby_plugins.adapters.http.dialing import Lookup, Lookups
from moby_plugins.aio import (
    AsyncPluginApp,
    AsyncRequest,
    AsyncVolumeDriver,
    new_client,
    serve_tcp,
    serve_unix,
)
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeTimeLoop, FaultServer, LoopStuckError


@pytest.fixture
def loop() -> Iterator[FakeTimeLoop]:
    """A loop that is closed at the test's end."""
    with closing(FakeTimeLoop()) as made:
        yield made


def test_a_job_in_a_thread_holds_time_back(loop: FakeTimeLoop) -> None:
    """The loop's time does not change while the job runs; afterwards timers fire again."""

    async def main() -> tuple[float, float]:
        sleeper = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.to_thread(time.sleep, 0.3)
        ended = loop.time()
        await sleeper
        return ended, loop.time()

    assert loop.run(main()) == (0.0, 1000.0)


def test_a_job_that_does_not_end_is_reported() -> None:
    """After the watchdog's seconds of real time, a LoopStuckError names the tasks that wait."""
    gone = threading.Event()

    async def main() -> None:
        async with asyncio.timeout(5):
            await asyncio.to_thread(gone.wait)

    with closing(FakeTimeLoop(watchdog=0.2)) as loop:
        try:
            with pytest.raises(LoopStuckError, match=r"a job in an executor .* 0.2 s.*main"):
                loop.run(main())
        finally:
            gone.set()


def slow(seconds: float = 0.5) -> str:
    """A job that is longer than the patience with what is silent."""
    time.sleep(seconds)
    return "done"


def test_a_cancelled_job_holds_time_back_until_its_thread_has_ended(loop: FakeTimeLoop) -> None:
    """The job's thread runs on after a cancellation, and may still have effects."""
    log: list[tuple[str, float]] = []
    began = threading.Event()

    def work() -> None:
        began.set()
        slow()
        log.append(("worked", loop.time()))

    async def main() -> None:
        task = asyncio.create_task(asyncio.to_thread(work))
        while not began.is_set():  # noqa: ASYNC110  before that, the job would be left out
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(100)

    loop.run(main())

    assert (log, loop.time()) == ([("worked", 0.0)], 100.0)


def test_a_cancelled_job_that_has_not_begun_does_not_hold_time_back(loop: FakeTimeLoop) -> None:
    """The pool's only thread is busy when the job is cancelled, so that the job never runs."""
    began: list[int] = []

    async def main() -> float:
        loop.run_in_executor(pool, slow)
        waiting = loop.run_in_executor(pool, began.append, 1)
        waiting.cancel()
        await asyncio.sleep(100)
        return loop.time()

    with ThreadPoolExecutor(1) as pool:
        assert loop.run(main()) == 100.0
    assert began == []


def test_the_watchdogs_time_counts_from_the_beginning_of_a_run() -> None:
    """A loop may be made long before it runs."""
    with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(watchdog=0.2)) as runner:
        runner.get_loop()
        slow(0.3)
        runner.run(asyncio.sleep(3))


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_holds_time_back(kind: Any, loop: FakeTimeLoop) -> None:
    """The executor may be the loop's default, replaced by a test, or a pool of processes."""
    executor = kind(1)
    if kind is ThreadPoolExecutor:
        loop.set_default_executor(executor)

    async def main() -> tuple[str, float]:
        given = None if kind is ThreadPoolExecutor else executor
        async with asyncio.timeout(5):
            return await loop.run_in_executor(given, slow), loop.time()

    with executor:
        assert loop.run(main()) == ("done", 0.0)


@pytest.mark.parametrize("bound", [None, 5])
def test_a_subprocess_holds_time_back_until_it_has_ended(
    bound: float | None, loop: FakeTimeLoop
) -> None:
    """The subprocess may have pipes or none, and a time-out around it does not fire."""

    async def main() -> tuple[int | None, bytes, float]:
        async with asyncio.timeout(bound):
            silent = await asyncio.create_subprocess_exec("sleep", "0.5")
            await silent.wait()
            shell = await asyncio.create_subprocess_shell("sleep 0.5; echo done", stdout=PIPE)
            said, _ = await shell.communicate()
        return silent.returncode, said, loop.time()

    assert loop.run(main()) == (0, b"done\n", 0.0)
    loop.run(asyncio.sleep(100))


def test_a_thread_of_a_test_that_calls_the_loop_is_waited_for(loop: FakeTimeLoop) -> None:
    """Without a timer the loop waits for ``call_soon_threadsafe`` and futures of other pools."""

    async def main() -> tuple[str, float]:
        ended = asyncio.Event()
        timer = threading.Timer(0.5, loop.call_soon_threadsafe, [ended.set])
        timer.start()
        await ended.wait()
        timer.join()
        return await asyncio.wrap_future(pool.submit(slow)), loop.time()

    with ThreadPoolExecutor(1) as pool:
        assert loop.run(main()) == ("done", 0.0)


def test_a_new_thread_holds_time_back_for_a_moment_of_real_time(loop: FakeTimeLoop) -> None:
    """A result of the thread in that moment comes before a timer, a later result does not."""

    async def main(seconds: float) -> tuple[str, float]:
        async with asyncio.timeout(5):
            return await asyncio.wrap_future(pool.submit(slow, seconds)), loop.time()

    with ThreadPoolExecutor(1) as pool:
        assert loop.run(main(0.05)) == ("done", 0.0)
        with pytest.raises(TimeoutError):
            loop.run(main(0.8))


def test_idle_threads_of_the_default_executor_do_not_hold_time_back(loop: FakeTimeLoop) -> None:
    """Such threads cannot wake a task, so that a stuck loop is reported at once."""

    async def main() -> None:
        await asyncio.to_thread(slow, 0)
        await asyncio.sleep(1000)
        await loop.create_future()

    began = time.monotonic()
    with pytest.raises(LoopStuckError, match="no scheduled event can wake them"):
        loop.run(main())
    assert time.monotonic() - began < 0.2


def test_a_loop_that_only_a_silent_thread_could_wake_is_reported() -> None:
    """The error comes after the watchdog's time, in which the thread might call the loop."""
    gone = threading.Event()
    thread = threading.Thread(target=gone.wait)
    thread.start()

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with closing(FakeTimeLoop(watchdog=0.2)) as loop:
        try:
            loop.run(asyncio.sleep(1000))
            with pytest.raises(LoopStuckError) as stuck:
                loop.run(main())
        finally:
            gone.set()
            thread.join()
    stuck.match(r"no thread called the loop for 0\.2 s")


class SlowLookups(Lookups):
    """Look-ups that are longer than the patience with what is silent."""

    def resolving(self, resolve: Any, host: str, port: int) -> Lookup:
        def slowly(host: str, port: int) -> Any:
            slow()
            return resolve(host, port)

        return super().resolving(slowly, host, port)


@pytest.mark.parametrize("lookups", [Lookups, SlowLookups])
def test_a_look_up_of_a_host_name_holds_time_back(
    lookups: type[Lookups], loop: FakeTimeLoop
) -> None:
    """``tcp://localhost`` is resolved in a thread, and the time-out of the call does not fire."""

    async def main(addr: str) -> bytes:
        with closing(connect(Address(addr), None, lookups=lookups())) as transport:
            response = await transport.send(AsyncRequest("Shelf.List"), 5)
            return await response.body.read(99)

    with FaultServer.tcp({"Shelf.List": ["books"]}) as server:
        assert loop.run(main(server.addr.replace("127.0.0.1", "localhost"))) == b'["books"]\n'
    assert loop.time() == 0.0


def test_a_busy_socket_holds_time_back(loop: FakeTimeLoop) -> None:
    """Data that comes after 0.05 s of real time comes before a timer of one second."""
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main() -> tuple[bytes, float]:
        threading.Timer(0.05, there.send, [b"x"]).start()
        async with asyncio.timeout(1):
            return await loop.sock_recv(here, 1), loop.time()

    with here, there:
        assert loop.run(main()) == (b"x", 0.0)


def test_an_idle_socket_does_not_stop_time(loop: FakeTimeLoop) -> None:
    """A connection on which no data comes is taken for idle, and timers fire."""
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(here, 1), 30)
        return loop.time()

    with here, there:
        assert loop.run(main()) == 30.0


def test_a_loop_that_only_a_silent_socket_could_wake_is_reported() -> None:
    """Without a timer the loop waits for data until the watchdog's time is over."""
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main(loop: FakeTimeLoop) -> None:
        await loop.sock_recv(here, 1)

    loop = FakeTimeLoop(watchdog=0.2)
    stuck = pytest.raises(LoopStuckError, match=r"no socket was ready .* 0.2 s.*main")
    with here, there, closing(loop), stuck:
        loop.run(main(loop))


class Sleeping(AsyncVolumeDriver):
    """A plugin whose one call takes an hour."""

    async def list(self) -> Any:
        await asyncio.sleep(3600)
        return []


@contextlib.asynccontextmanager
async def serving(kind: str, directory: Path) -> AsyncIterator[str]:
    """Serve a plugin in this loop; the address."""
    addr: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    app = AsyncPluginApp(Sleeping())
    if kind == "unix":
        server = serve_unix(app, "s", sockets_path=str(directory), on_serving=addr.set_result)
    else:
        server = serve_tcp(app, "s", specs_path=str(directory), on_serving=addr.set_result)
    task = asyncio.create_task(server, name="server")
    yield await addr
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_server_in_the_loop_does_not_delay_time(
    kind: str, loop: FakeTimeLoop, short_path: Path
) -> None:
    """Time passes while the server has no call, runs one, or keeps an idle connection."""

    async def main() -> float:
        async with serving(kind, short_path) as addr, new_client(addr, timeout=7200) as client:
            await asyncio.sleep(3600)
            await client.call("VolumeDriver.List")
            await asyncio.sleep(30)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await client.call("VolumeDriver.List")
            return loop.time()

    began = time.monotonic()
    assert loop.run(main()) == 7260.0
    assert time.monotonic() - began < (1 if kind == "unix" else 5)


def test_a_loop_that_is_stuck_is_reported_although_it_has_a_server(short_path: Path) -> None:
    """The error comes after the watchdog's time, as another process might call the server."""

    async def main(loop: FakeTimeLoop) -> None:
        async with serving("unix", short_path) as addr, new_client(addr, timeout=7200) as client:
            await client.call("VolumeDriver.List")
            await loop.create_future()

    loop = FakeTimeLoop(watchdog=0.4)
    stuck = pytest.raises(LoopStuckError, match=r"no socket was ready for 0\.4 s.*main.*server in")
    with closing(loop), stuck:
        loop.run(main(loop))
