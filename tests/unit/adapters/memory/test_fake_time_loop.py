"""An event loop whose time tests own: sleeping, time-outs, scripted events, what is stuck."""

import asyncio
import gc
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from functools import partial

import pytest

from moby_plugins.testing import FakeTimeLoop, LoopStuckError


@pytest.fixture
def loop() -> Iterator[FakeTimeLoop]:
    """A loop that is closed at the test's end."""
    with closing(FakeTimeLoop()) as made:
        yield made


async def never() -> None:
    """Wait for what nothing does."""
    await asyncio.get_running_loop().create_future()


def fail() -> None:
    """A scripted event that goes wrong."""
    raise LookupError("scripted")


@pytest.mark.parametrize("seconds", [0.1, 3600, 40 * 86400, 366 * 86400, 1e9])
def test_time_passes_at_once_and_to_the_second(seconds: float, loop: FakeTimeLoop) -> None:
    """A sleep moves the time by exactly its seconds, be they years."""
    loop.run(asyncio.sleep(seconds))

    assert loop.time() == seconds


def test_sums_of_tenths_are_exact() -> None:
    """Time is rounded to a nanosecond, so that ten tenths are one second."""

    async def tenths() -> None:
        for _ in range(10):
            await asyncio.sleep(0.1)

    with closing(FakeTimeLoop(5)) as loop:
        loop.run(tenths())
        assert loop.time() == 6.0


def test_a_time_out_is_exact(loop: FakeTimeLoop) -> None:
    """``asyncio.timeout`` and ``wait_for`` end what they bound at their very moment."""

    async def bounded() -> list[float]:
        ends = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(7)
        ends.append(loop.time())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(never(), 0.25)
        return [*ends, loop.time()]

    assert loop.run(bounded()) == [5.0, 5.25]


def test_tasks_of_a_group_sleep_side_by_side(loop: FakeTimeLoop) -> None:
    """A ``TaskGroup`` takes as long as its longest task; timers fire in their order."""
    log: list[tuple[float, str]] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        log.append((loop.time(), f"slept {seconds}"))

    async def group() -> None:
        loop.call_later(2, lambda: log.append((loop.time(), "called")))
        async with asyncio.TaskGroup() as tasks:
            for seconds in (3, 1):
                tasks.create_task(sleeper(seconds))

    loop.run(group())

    assert log == [(1.0, "slept 1"), (2.0, "called"), (3.0, "slept 3")]


def test_a_second_run_goes_on_with_the_time(loop: FakeTimeLoop) -> None:
    """Time is the loop's, and not a run's."""
    loop.run(asyncio.sleep(2))
    loop.run(asyncio.sleep(3))

    assert loop.time() == 5.0


def test_events_go_before_those_that_sleep_until_them(loop: FakeTimeLoop) -> None:
    """At one moment events come in the order in which they were scripted, then sleepers."""
    log: list[tuple[float, str]] = []

    async def main() -> None:
        await asyncio.sleep(3)
        log.append((loop.time(), "sleeper"))
        loop.at(1, note("passed"))
        await asyncio.sleep(1)

    def note(name: str) -> "partial[None]":
        return partial(lambda: log.append((loop.time(), name)))

    for moment, name in [(3, "event"), (2, "early"), (3, "second"), (9, "too late")]:
        loop.at(moment, note(name))
    loop.run(main())

    assert log == [
        (2.0, "early"),
        (3.0, "event"),
        (3.0, "second"),
        (3.0, "sleeper"),
        (3.0, "passed"),
    ]


def test_an_event_wakes_what_nothing_else_would(loop: FakeTimeLoop) -> None:
    """A loop that waits for no timer goes on with the next event."""

    async def main() -> float:
        happened = asyncio.Event()
        loop.at(7, happened.set)
        await happened.wait()
        return loop.time()

    assert loop.run(main()) == 7.0


def test_an_event_that_fails_comes_out_of_run(loop: FakeTimeLoop) -> None:
    """A test does not pass because its script failed."""
    loop.at(1, fail)

    with pytest.raises(LookupError, match="scripted"):
        loop.run(asyncio.sleep(2))


@pytest.mark.parametrize("forever", [math.inf, None])
def test_a_stuck_loop_names_its_tasks(forever: float | None, loop: FakeTimeLoop) -> None:
    """All tasks are named by their names; a sleep without an end is stuck too."""

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in ("reader", "writer"):
                tasks.create_task(never() if forever is None else asyncio.sleep(forever), name=name)

    with pytest.raises(
        LoopStuckError, match=r"^all tasks wait.*Task-\d+ in .*main; reader in .*writer"
    ):
        loop.run(main())


def test_a_loop_that_was_stuck_runs_again(loop: FakeTimeLoop) -> None:
    """What was stuck is cancelled, and time is where it was."""
    loop.run(asyncio.sleep(1))
    with pytest.raises(LoopStuckError):
        loop.run(never())

    loop.run(asyncio.sleep(1))

    assert loop.time() == 2.0


@pytest.mark.parametrize("seconds", [0, 1e-10])
def test_a_task_that_never_waits_is_reported(seconds: float) -> None:
    """One that asks again and again ends when the watchdog's time is over; so if time stands."""

    async def asks() -> None:
        while True:  # noqa: ASYNC110  that is what is reported
            await asyncio.sleep(seconds)

    loop = FakeTimeLoop(watchdog=0.02)
    with closing(loop), pytest.raises(LoopStuckError, match=r"time did not move in 0\.02 s"):
        loop.run(asks())


def test_an_event_that_adds_itself_is_reported() -> None:
    """A script that comes to no end at one moment ends when the watchdog's time is over."""
    with closing(FakeTimeLoop(watchdog=0.02)) as loop:

        def again() -> None:
            loop.at(1, again)

        again()
        with pytest.raises(LoopStuckError, match=r"time did not move in 0\.02 s"):
            loop.run(never())


def test_an_event_comes_while_a_task_keeps_the_loop_busy(loop: FakeTimeLoop) -> None:
    """An event of this moment, or of one before it, is called in the loop's next turn."""
    log: list[float] = []

    async def main() -> None:
        await asyncio.sleep(5)
        for moment in (5, 2):
            loop.at(moment, lambda: log.append(loop.time()))
        while len(log) < 2:  # noqa: ASYNC110  it keeps the loop busy
            await asyncio.sleep(0)

    loop.run(main())

    assert log == [5.0, 5.0]


async def deaf(seconds: float) -> None:
    """Go on although it is cancelled."""
    with suppress(asyncio.CancelledError):
        await never()
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(seconds)


async def beside_a_deaf_task(seconds: float) -> None:
    """Wait for ever, beside a task that does not end."""
    task = asyncio.create_task(deaf(seconds), name="deaf")
    await never()
    await task


@pytest.mark.parametrize("seconds", [1, math.inf])
def test_a_stuck_loop_ends_although_a_task_swallows_its_cancellation(seconds: float) -> None:
    """The first error is raised, whether that task then sleeps or waits for ever."""
    with closing(FakeTimeLoop(watchdog=0.1)) as loop:
        loop.set_exception_handler(lambda *_: None)  # the task is destroyed
        with pytest.raises(LoopStuckError, match=r"^all tasks wait, .*: Task-\d+ in .*; deaf in"):
            loop.run(beside_a_deaf_task(seconds))


@pytest.mark.parametrize("seconds", [1, math.inf])
def test_a_runner_ends_although_a_task_swallows_its_cancellation(seconds: float) -> None:
    """Its ``close`` names that task."""
    loop = FakeTimeLoop(watchdog=0.1)
    loop.set_exception_handler(lambda *_: None)  # the task is destroyed
    runner = asyncio.Runner(loop_factory=lambda: loop)
    with pytest.raises(LoopStuckError, match=r"^all tasks wait"):
        runner.run(beside_a_deaf_task(seconds))
    with pytest.raises(LoopStuckError, match=r"deaf in deaf$"):
        runner.close()
    assert loop.is_closed()


def test_a_left_task_that_does_not_end_is_reported() -> None:
    """Although the coroutine itself has returned."""

    async def main() -> None:
        kept.append(asyncio.create_task(deaf(1), name="deaf"))
        await asyncio.sleep(1)

    kept: list[asyncio.Task[None]] = []
    with closing(FakeTimeLoop(watchdog=0.1)) as loop:
        loop.set_exception_handler(lambda *_: None)  # the task is destroyed
        with pytest.raises(LoopStuckError, match=r" 0\.1 s of real time.*: deaf in deaf$"):
            loop.run(main())


def test_tasks_that_are_left_are_cancelled(loop: FakeTimeLoop) -> None:
    """``run`` returns when they have ended, as ``asyncio.run`` does."""
    log: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def left() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            log.append("ended")

    async def main() -> None:
        tasks.append(asyncio.create_task(left()))
        await asyncio.sleep(1)

    loop.run(main())

    assert (log, loop.time(), tasks[0].cancelled()) == (["ended"], 2.0, True)


def test_a_left_task_that_fails_is_reported(loop: FakeTimeLoop) -> None:
    """Its error goes to the loop's exception handler."""
    reported: list[BaseException] = []
    tasks: list[asyncio.Task[None]] = []

    async def left() -> None:
        try:
            await never()
        finally:
            fail()

    async def main() -> None:
        tasks.append(asyncio.create_task(left()))
        await asyncio.sleep(1)

    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    loop.run(main())

    assert [str(error) for error in reported] == ["scripted"]


def test_generators_are_closed_at_the_end_of_each_run(loop: FakeTimeLoop) -> None:
    """An asynchronous generator that is left is closed, in a second run too."""
    log: list[str] = []
    kept = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            log.append(name)

    async def main(name: str) -> None:
        kept.append(numbers(name))
        await anext(kept[-1])

    loop.run(main("first"))
    assert log == ["first"]
    loop.run(main("second"))

    assert log == ["first", "second"]


def test_a_loop_that_runs_or_is_closed_runs_nothing_else(loop: FakeTimeLoop) -> None:
    """A coroutine that is given then is closed, and what runs goes on."""

    async def main() -> str:
        task = asyncio.create_task(asyncio.sleep(1, "other"))
        with pytest.raises(RuntimeError, match="this loop is running"):
            loop.run(asyncio.sleep(1))
        return await task

    assert loop.run(main()) == "other"
    loop.close()
    with pytest.raises(RuntimeError, match="this loop is closed"):
        loop.run(asyncio.sleep(1))


def test_an_event_is_a_plain_function_at_a_moment(loop: FakeTimeLoop) -> None:
    """A coroutine that is never awaited, and a moment that never comes in order, are refused."""

    async def wrong() -> None:
        pass

    with pytest.raises(TypeError, match="a plain function"):
        loop.at(1, wrong)
    with pytest.raises(TypeError, match="a plain function"):
        loop.at(1, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not nan"):
        loop.at(math.nan, fail)
    loop.run(asyncio.sleep(2))


@pytest.mark.filterwarnings("error")
def test_a_loop_runs_in_no_other(loop: FakeTimeLoop) -> None:
    """It says so, and leaves no coroutine that was never awaited."""

    async def nothing() -> None:
        pass

    async def main() -> None:
        with (
            closing(FakeTimeLoop()) as inner,
            pytest.raises(RuntimeError, match="another loop is running in this thread"),
        ):
            inner.run(nothing())
        gc.collect()

    loop.run(main())


def test_it_is_a_loop_factory() -> None:
    """``asyncio.Runner`` runs on it, threads of an executor and all."""

    async def main() -> tuple[float, str]:
        await asyncio.sleep(60)
        return asyncio.get_running_loop().time(), await asyncio.to_thread(str, 1)

    with asyncio.Runner(loop_factory=FakeTimeLoop, debug=True) as runner:
        assert runner.run(main()) == (60.0, "1")


def test_it_says_what_time_it_is() -> None:
    """Its ``repr`` is short."""
    with closing(FakeTimeLoop(2.5)) as loop:
        assert repr(loop) == "<FakeTimeLoop at 2.5 s>"
