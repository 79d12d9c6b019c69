"""What is real holds the time of a ``FakeTimeLoop`` back: threads, and sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from moby_plugins.testing import FakeTimeLoop, LoopStuckError


@pytest.fixture
def loop() -> Iterator[FakeTimeLoop]:
    """A loop that is closed at the test's end."""
    with closing(FakeTimeLoop()) as made:
        yield made


def test_a_job_in_a_thread_holds_time_back(loop: FakeTimeLoop) -> None:
    """A job that takes real time takes none on the loop; afterwards time goes on."""

    async def main() -> tuple[float, float]:
        sleeper = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.to_thread(time.sleep, 0.3)
        ended = loop.time()
        await sleeper
        return ended, loop.time()

    assert loop.run(main()) == (0.0, 1000.0)


def test_a_job_without_an_end_is_reported() -> None:
    """After the watchdog's time, of real time, the error names the tasks."""
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


def test_a_busy_socket_holds_time_back(loop: FakeTimeLoop) -> None:
    """What comes within the patience comes before a timer of a second."""
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main() -> tuple[bytes, float]:
        threading.Timer(0.05, there.send, [b"x"]).start()
        async with asyncio.timeout(1):
            return await loop.sock_recv(here, 1), loop.time()

    with here, there:
        assert loop.run(main()) == (b"x", 0.0)


def test_an_idle_socket_does_not_stop_time(loop: FakeTimeLoop) -> None:
    """A connection on which nothing comes is taken for idle: timers fire all the same."""
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(here, 1), 30)
        return loop.time()

    with here, there:
        assert loop.run(main()) == 30.0


def test_a_silent_socket_is_reported_where_nothing_is_due() -> None:
    """Without a timer it is waited for, until the watchdog's time is over."""
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main(loop: FakeTimeLoop) -> None:
        await loop.sock_recv(here, 1)

    loop = FakeTimeLoop(watchdog=0.2)
    stuck = pytest.raises(LoopStuckError, match=r"no socket was ready .* 0.2 s.*main")
    with here, there, closing(loop), stuck:
        loop.run(main(loop))
