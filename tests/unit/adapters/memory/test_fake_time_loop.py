"""An event loop in fake time: sleeps, time-outs, scripted events and stuck tasks."""

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
    """``asyncio.timeout`` and ``wait_for`` end what they bound exactly when its time is over."""

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


def test_a_second_run_continues_at_the_time_of_the_first(loop: FakeTimeLoop) -> None:
    """Time is the loop's, and does not begin at 0 with each run."""
    loop.run(asyncio.sleep(2))
    loop.run(asyncio.sleep(3))

    assert loop.time() == 5.0


def test_events_happen_before_tasks_that_sleep_until_then_go_on(loop: FakeTimeLoop) -> None:
    """At one moment events happen in the order in which they were scripted, before any task."""
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


def test_a_scripted_event_wakes_a_loop_that_waits_for_no_timer(loop: FakeTimeLoop) -> None:
    """Time jumps to the moment of the next event then."""

    async def main() -> float:
        happened = asyncio.Event()
        loop.at(7, happened.set)
        await happened.wait()
        return loop.time()

    assert loop.run(main()) == 7.0


def test_run_raises_the_exception_of_a_scripted_event(loop: FakeTimeLoop) -> None:
    """Otherwise a test could pass although its script failed."""
    loop.at(1, fail)

    with pytest.raises(LookupError, match="scripted"):
        loop.run(asyncio.sleep(2))


@pytest.mark.parametrize("forever", [math.inf, None])
def test_the_error_for_a_stuck_loop_names_its_tasks(
    forever: float | None, loop: FakeTimeLoop
) -> None:
    """A loop is stuck if all tasks wait for nothing, or sleep without an end."""

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in ("reader", "writer"):
                tasks.create_task(never() if forever is None else asyncio.sleep(forever), name=name)

    with pytest.raises(
        LoopStuckError, match=r"^all tasks wait.*Task-\d+ in .*main; reader in .*writer"
    ):
        loop.run(main())


def test_a_loop_that_was_stuck_can_run_again(loop: FakeTimeLoop) -> None:
    """The stuck tasks are cancelled, and time goes on where it was."""
    loop.run(asyncio.sleep(1))
    with pytest.raises(LoopStuckError):
        loop.run(never())

    loop.run(asyncio.sleep(1))

    assert loop.time() == 2.0


@pytest.mark.parametrize("seconds", [0, 1e-10])
def test_a_task_that_polls_while_time_stands_still_is_reported(seconds: float) -> None:
    """It sleeps for no time again and again, until the real time of the watchdog is over."""

    async def asks() -> None:
        while True:  # noqa: ASYNC110  that is what is reported
            await asyncio.sleep(seconds)

    loop = FakeTimeLoop(watchdog=0.02)
    with closing(loop), pytest.raises(LoopStuckError, match=r"time did not move in 0\.02 s"):
        loop.run(asks())


def test_an_event_that_scripts_itself_for_the_same_moment_is_reported() -> None:
    """It would go on for ever, but the real time of the watchdog ends it."""
    with closing(FakeTimeLoop(watchdog=0.02)) as loop:

        def again() -> None:
            loop.at(1, again)

        again()
        with pytest.raises(LoopStuckError, match=r"time did not move in 0\.02 s"):
            loop.run(never())


def test_a_due_event_happens_while_a_task_keeps_the_loop_busy(loop: FakeTimeLoop) -> None:
    """An event for now, or for an earlier moment, happens in the loop's next iteration."""
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
    """The error is that for the stuck loop, whether the task then sleeps or waits for ever."""
    with closing(FakeTimeLoop(watchdog=0.1)) as loop:
        loop.set_exception_handler(lambda *_: None)  # the task is destroyed
        with pytest.raises(LoopStuckError, match=r"^all tasks wait, .*: Task-\d+ in .*; deaf in"):
            loop.run(beside_a_deaf_task(seconds))


@pytest.mark.parametrize("seconds", [1, math.inf])
def test_a_runner_ends_although_a_task_swallows_its_cancellation(seconds: float) -> None:
    """``asyncio.Runner.close`` raises an error that names the task."""
    loop = FakeTimeLoop(watchdog=0.1)
    loop.set_exception_handler(lambda *_: None)  # the task is destroyed
    runner = asyncio.Runner(loop_factory=lambda: loop)
    with pytest.raises(LoopStuckError, match=r"^all tasks wait"):
        runner.run(beside_a_deaf_task(seconds))
    with pytest.raises(LoopStuckError, match=r"deaf in deaf$"):
        runner.close()
    assert loop.is_closed()


def test_a_background_task_that_does_not_end_is_reported() -> None:
    """``run`` raises, although its coroutine has returned."""

    async def main() -> None:
        kept.append(asyncio.create_task(deaf(1), name="deaf"))
        await asyncio.sleep(1)

    kept: list[asyncio.Task[None]] = []
    with closing(FakeTimeLoop(watchdog=0.1)) as loop:
        loop.set_exception_handler(lambda *_: None)  # the task is destroyed
        with pytest.raises(LoopStuckError, match=r" 0\.1 s of real time.*: deaf in deaf$"):
            loop.run(main())


def test_background_tasks_are_cancelled_at_the_end_of_run(loop: FakeTimeLoop) -> None:
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


def test_a_background_task_that_fails_when_it_is_cancelled_is_reported(loop: FakeTimeLoop) -> None:
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
    """They are asynchronous generators that were not read to their end."""
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


def test_run_is_refused_by_a_loop_that_is_running_or_closed(loop: FakeTimeLoop) -> None:
    """The coroutine that was passed is closed, and one that is running goes on."""

    async def main() -> str:
        task = asyncio.create_task(asyncio.sleep(1, "other"))
        with pytest.raises(RuntimeError, match="this loop is running"):
            loop.run(asyncio.sleep(1))
        return await task

    assert loop.run(main()) == "other"
    loop.close()
    with pytest.raises(RuntimeError, match="this loop is closed"):
        loop.run(asyncio.sleep(1))


def test_an_event_must_be_a_plain_function_and_its_moment_a_number(loop: FakeTimeLoop) -> None:
    """A coroutine function, any other object, and NaN as the moment are refused."""

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
def test_a_loop_cannot_be_run_inside_another(loop: FakeTimeLoop) -> None:
    """The error says so, and the coroutine that was passed gives no warning."""

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


def test_a_fake_time_loop_can_be_the_loop_of_an_asyncio_runner() -> None:
    """The class is a loop factory, and ``asyncio.to_thread`` works in such a loop."""

    async def main() -> tuple[float, str]:
        await asyncio.sleep(60)
        return asyncio.get_running_loop().time(), await asyncio.to_thread(str, 1)

    with asyncio.Runner(loop_factory=FakeTimeLoop, debug=True) as runner:
        assert runner.run(main()) == (60.0, "1")


def test_the_repr_of_a_fake_time_loop_shows_its_time() -> None:
    """It is short: ``<FakeTimeLoop at 2.5 s>``."""
    with closing(FakeTimeLoop(2.5)) as loop:
        assert repr(loop) == "<FakeTimeLoop at 2.5 s>"
