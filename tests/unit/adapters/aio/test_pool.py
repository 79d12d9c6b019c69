"""Turns, deadlines and idle connections of the calls in one loop, without a socket."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing, suppress
from contextvars import Context, ContextVar
from typing import Any

import pytest

from moby_plugins.adapters.aio.pool import STALLED, TURNS, Call, LoopPool, _Waiter, timed_out
from moby_plugins.adapters.http.deadline_socket import ClosedHereError
from moby_plugins.adapters.http.pool import IdleConnections
from moby_plugins.testing import FakeTimeLoop, LoopStuckError


class Kept:
    """A connection that does nothing."""

    def __init__(self, *, readable: bool = False) -> None:
        self.closed = 0
        self.readable = readable

    def is_readable(self) -> bool:
        return self.readable

    def close(self) -> None:
        self.closed += 1


def in_loop(test: Callable[[LoopPool[Kept]], Coroutine[Any, Any, None]], most: int = 128) -> None:
    """Run ``test`` with a place in a loop whose time jumps."""

    async def run() -> None:
        await test(LoopPool(asyncio.get_running_loop(), IdleConnections(most)))

    loop = FakeTimeLoop()
    try:
        loop.run(run())
    finally:
        loop.close()


async def raised(waiting: Awaitable[object]) -> type[BaseException] | None:
    """The class of what this raises."""
    try:
        await waiting
    except (OSError, asyncio.CancelledError) as error:
        return type(error)
    return None


def test_a_call_ends_at_its_deadline() -> None:
    """It ends exactly then and its connection is closed; later waits of it end at once."""

    async def test(pool: LoopPool[Kept]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = pool.begin(began + 3.0)
        carrier = call.carrier = Kept()
        assert await raised(call.wait()) is TimeoutError
        assert loop.time() - began == 3.0
        assert await raised(call.wait_until(loop.time() + 9)) is TimeoutError
        assert loop.time() - began == 3.0
        assert carrier.closed == 1
        with pytest.raises(TimeoutError):
            call.check()

    in_loop(test)


def test_the_deadline_of_a_call_that_has_ended_closes_nothing() -> None:
    """Another call may have its connection by then."""

    async def test(pool: LoopPool[Kept]) -> None:
        loop = asyncio.get_running_loop()
        call = pool.begin(loop.time() + 3.0)
        carrier = call.carrier = Kept()
        pool.end(call)
        await asyncio.sleep(5)
        call.check()
        assert carrier.closed == 0

    in_loop(test)


def test_each_of_many_calls_ends_at_its_own_deadline() -> None:
    """Deadlines come in any order, beside calls that end earlier or have no deadline."""

    async def test(pool: LoopPool[Kept]) -> None:
        loop = asyncio.get_running_loop()
        ended: list[tuple[int, float]] = []

        async def late(seconds: int) -> None:
            assert await raised(pool.begin(loop.time() + seconds).wait()) is TimeoutError
            ended.append((seconds, loop.time()))

        async def early(seconds: int) -> None:
            call = pool.begin(loop.time() + seconds)
            await call.wait_until(loop.time() + seconds / 2)
            pool.end(call)

        endless = asyncio.create_task(raised(pool.begin(None).wait()))
        moments = [7, 3, 3, 9, 1, 40, 8]
        await asyncio.gather(*(do(each) for each in moments for do in (early, late)))
        assert ended == [(each, float(each)) for each in sorted(moments)]
        began = loop.time()
        assert await raised(pool.begin(began - 1).wait()) is TimeoutError
        assert loop.time() == began
        assert not endless.done()
        pool.close()
        assert await endless is ClosedHereError

    in_loop(test)


def test_many_deadlines_share_one_timer() -> None:
    """It is set again only for an earlier deadline, and for the next one when it is due."""

    class Counting(FakeTimeLoop):
        timers = 0

        def call_at(self, when: float, *args: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # any arguments
            self.timers += 1
            return super().call_at(when, *args, **more)

    loop = Counting()

    async def test() -> None:
        pool: LoopPool[Kept] = LoopPool(loop, IdleConnections())
        first, last = pool.begin(loop.time() + 30), pool.begin(loop.time() + 50)
        for number in range(1000):
            pool.end(pool.begin(loop.time() + 30 + number))
        assert loop.timers == 1
        pool.end(first)
        assert await raised(last.wait()) is TimeoutError
        assert loop.time() == 50
        assert loop.timers == 2

    with closing(loop):
        loop.run(test())


def test_a_call_that_ends_as_deadlines_are_compared_loses_no_other_deadline() -> None:
    """The garbage collector may end an abandoned call at any step."""

    async def test(pool: LoopPool[Kept]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        abandoned = pool.begin(now + 9)

        class Collecting(Call):
            def __init__(self) -> None:
                """Have no ``ends`` of its own."""

            @property
            def ends(self) -> float:  # type: ignore[override]  # computed
                pool.end(abandoned)
                return now + 5

            def fail(self, failure: Callable[[], OSError]) -> None:
                self.failure = failure

        collecting, first, last = Collecting(), pool.begin(now + 1), pool.begin(now + 7)
        pool.calls = {collecting: True, **pool.calls}
        assert await raised(first.wait()) is TimeoutError
        assert await raised(last.wait()) is TimeoutError
        assert loop.time() == now + 7
        assert collecting.failure is timed_out

    in_loop(test)


def test_fake_time_does_not_jump_to_the_deadline_of_a_call_that_has_ended() -> None:
    """If the only call left has no deadline, the loop is stuck instead."""
    loop = FakeTimeLoop()

    async def test() -> None:
        pool: LoopPool[Kept] = LoopPool(loop, IdleConnections())
        pool.end(pool.begin(loop.time() + 30))
        await pool.begin(None).wait()

    with closing(loop), pytest.raises(LoopStuckError):
        loop.run(test())
    assert loop.time() == 0


class Interrupted(FakeTimeLoop):
    """A loop in which the handler of a signal raises before something is scheduled, once."""

    interrupted = False

    def interrupt(self) -> None:
        """Raise, the first time."""
        if not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt

    def call_at(self, when: float, *args: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # any arguments
        self.interrupt()
        return super().call_at(when, *args, **more)


def test_an_interrupt_as_a_call_begins_does_not_cancel_other_deadlines() -> None:
    """This holds also for deadlines that are later than that of the interrupted call."""
    loop = Interrupted()

    async def test() -> None:
        pool: LoopPool[Kept] = LoopPool(loop, IdleConnections())
        with pytest.raises(KeyboardInterrupt):
            pool.begin(loop.time() + 3)
        assert await raised(pool.begin(loop.time() + 5).wait()) is TimeoutError
        assert loop.time() == 5

    with closing(loop):
        loop.run(test())


def test_an_interrupt_as_a_response_is_received_does_not_affect_other_calls() -> None:
    """Only the call whose response was being received may be lost."""

    class AsItComes(FakeTimeLoop):
        is_interrupting = False

        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]  # any arguments
            if self.is_interrupting:
                self.is_interrupting = False
                raise KeyboardInterrupt
            return super().call_soon(callback, *args, context=context)

    loop = AsItComes()

    async def test() -> None:
        pool: LoopPool[Kept] = LoopPool(loop, IdleConnections())
        lost, other = pool.begin(None), pool.begin(None)
        loop.is_interrupting = True
        with pytest.raises(KeyboardInterrupt):
            pool.resume_together(lost)
        loop.call_later(1, pool.resume_together, other)
        await other.wait()
        assert loop.time() == 1

    with closing(loop):
        loop.run(test())


def test_wait_until_returns_at_its_moment_if_the_deadline_is_later() -> None:
    """It raises no ``TimeoutError`` then."""

    async def test(pool: LoopPool[Kept]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await pool.begin(began + 9.0).wait_until(began + 2.0)
        assert loop.time() - began == 2.0

    in_loop(test)


def test_a_call_that_is_resumed_goes_on_within_the_callback() -> None:
    """It does so in its own context and as its own task, even after a wait that was cancelled."""
    asked_by = ContextVar("asked_by", default="")

    async def test(pool: LoopPool[Kept]) -> None:
        call, told = pool.begin(None), list[str]()

        async def wait() -> None:
            asked_by.set("a task")
            while True:
                with suppress(asyncio.CancelledError):
                    await call.wait()
                    told.append(f"{asked_by.get()} in {asyncio.current_task() is waiting}")

        def come() -> None:
            call.resume()
            call.resume()  # it waits again
            told.append("the end of the callback")

        waiting = asyncio.create_task(wait())
        for _ in range(2):
            await asyncio.sleep(0)
            waiting.cancel()
            call.resume()  # it is cancelled already
            await asyncio.sleep(0)
            Context().run(asyncio.get_running_loop().call_soon, come)
            await asyncio.sleep(0)
            assert told == ["a task in True"] * 2 + ["the end of the callback"]
            told.clear()
        asyncio.get_running_loop().call_soon(call.fail, timed_out)
        assert await raised(waiting) is TimeoutError

    in_loop(test)


def test_calls_are_resumed_together_after_all_callbacks() -> None:
    """They are resumed in the order of their responses, even if one of them ends the loop."""
    told: list[str] = []

    async def wait(pool: LoopPool[Kept], number: int) -> None:
        await calls[number].wait()
        told.append(f"task {number}")
        if number == 1:
            raise SystemExit
        pool.end(calls[number])

    async def start() -> list["asyncio.Task[None]"]:
        pool: LoopPool[Kept] = LoopPool(loop, IdleConnections())
        calls.extend(pool.begin(None) for _ in range(4))
        tasks = [loop.create_task(wait(pool, number)) for number in range(4)]
        await asyncio.sleep(0)
        for call in calls:
            loop.call_soon(pool.resume_together, call)
            loop.call_soon(told.append, "a callback")
        tasks[2].cancel()  # before it is resumed
        return tasks

    calls: list[Call] = []
    with closing(FakeTimeLoop()) as loop:
        tasks = loop.run_until_complete(start())
        with pytest.raises(SystemExit):
            loop.run_until_complete(tasks[3])
        loop.run_until_complete(tasks[3])
        with pytest.raises(SystemExit):
            tasks[1].result()
        assert tasks[2].cancelled()
    assert told == ["a callback"] * 4 + ["task 0", "task 1", "task 3"]


def test_calls_get_their_turns_in_order() -> None:
    """The 65th call waits until one ends; a call that is cancelled passes its turn on."""

    async def test(pool: LoopPool[Kept]) -> None:
        calls = [pool.begin(None) for _ in range(TURNS)]
        assert all(call.has_turn for call in calls)
        following = [pool.begin(None) for _ in range(4)]
        got: list[int] = []

        async def wait(number: int) -> None:
            try:
                await pool.take_turn(following[number])
                got.append(number)
            finally:
                if number != 3:
                    pool.pass_turn(following[number])

        assert not following[0].has_turn
        tasks = [asyncio.create_task(wait(number)) for number in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()  # while it waits
        await asyncio.sleep(0)
        tasks[0].cancel()
        pool.pass_turn(calls[0])  # given to one whose task is being cancelled
        await asyncio.sleep(1)
        assert got == [2, 3]
        pool.pass_turn(following[3])
        assert pool.begin(None).has_turn

    in_loop(test)


def test_calls_that_do_not_end_keep_no_other_call_from_a_turn() -> None:
    """After a tenth of a second each waiting call gets one; later there are as many as before."""

    async def test(pool: LoopPool[Kept]) -> None:
        began = asyncio.get_running_loop().time()
        calls = [pool.begin(None) for _ in range(TURNS)]
        more = [pool.begin(None) for _ in range(3)]

        await asyncio.gather(*map(pool.take_turn, more))

        assert asyncio.get_running_loop().time() - began == STALLED
        for call in (*calls, *more):
            pool.end(call)
        later = [pool.begin(None) for _ in range(TURNS + 1)]
        assert [call.has_turn for call in later] == [True] * TURNS + [False]

    in_loop(test)


def test_no_turn_is_lost_to_calls_that_are_cancelled() -> None:
    """They are cancelled before, as and after they get their turn."""

    async def test(pool: LoopPool[Kept]) -> None:
        async def call(moment: float) -> None:
            mine = pool.begin(None)
            try:
                await pool.take_turn(mine)
                await asyncio.sleep(moment)
            finally:
                pool.end(mine)

        tasks = [asyncio.create_task(call(number % 7)) for number in range(5 * TURNS)]
        for number, task in enumerate(tasks):
            if number % 3 == 0:
                task.cancel()
            if number % 11 == 0:
                await asyncio.sleep(0.3)
        await asyncio.gather(*tasks, return_exceptions=True)
        last = [pool.begin(None) for _ in range(TURNS + 1)]
        assert [each.has_turn for each in last] == [True] * TURNS + [False]

    in_loop(test)


def test_as_many_idle_connections_are_kept_as_calls_can_have_a_turn() -> None:
    """The last one that came is taken first; one that is readable is closed instead."""

    async def test(pool: LoopPool[Kept]) -> None:
        kept = [Kept() for _ in range(TURNS + 1)]
        for each in kept:
            pool.keep(each)
        assert [each.closed for each in kept] == [0] * TURNS + [1]
        kept[TURNS - 1].readable = True
        assert pool.take() is kept[TURNS - 2]
        assert kept[TURNS - 1].closed == 1

    in_loop(test)


def test_pools_share_one_bound_on_idle_connections() -> None:
    """The least recently used connection of all loops and plugins is closed."""

    async def test(pool: LoopPool[Kept]) -> None:
        other: LoopPool[Kept] = LoopPool(pool.loop, pool.shared)
        first, second, third = Kept(), Kept(), Kept()
        pool.keep(first)
        other.keep(second)
        other.keep(third)
        assert (first.closed, second.closed, third.closed) == (1, 0, 0)
        assert pool.take() is None
        assert pool.shared.discard(second)
        assert not pool.shared.discard(second)
        assert other.take() is third

    in_loop(test, most=2)


def test_closing_a_pool_ends_all_calls_and_closes_all_connections() -> None:
    """Waiting calls fail, later ones cannot begin, and connections that come back are closed."""

    async def test(pool: LoopPool[Kept]) -> None:
        idle, used = Kept(), Kept()
        calls = [pool.begin(None) for _ in range(TURNS + 1)]
        pool.keep(idle)
        calls[0].carrier = used
        waiting = [
            asyncio.create_task(raised(pool.take_turn(calls[-1]))),
            asyncio.create_task(raised(calls[0].wait())),
            asyncio.create_task(raised(calls[1].wait_until(pool.loop.time() + 9))),
        ]
        await asyncio.sleep(0)
        pool.close()
        began = pool.loop.time()
        assert await asyncio.gather(*waiting) == [ClosedHereError] * 3
        assert pool.loop.time() == began
        assert (idle.closed, used.closed) == (1, 1)
        with pytest.raises(ClosedHereError):
            pool.begin(None)
        late = Kept()
        pool.keep(late)
        assert late.closed == 1

    in_loop(test)


def test_the_first_failure_of_a_call_counts() -> None:
    """A call that has timed out stays so if the pool is closed after that."""

    async def test(_: LoopPool[Kept]) -> None:
        call = Call(asyncio.get_running_loop())
        call.fail(timed_out)
        call.fail(ClosedHereError)
        with pytest.raises(TimeoutError):
            call.check()

    in_loop(test)


@pytest.mark.parametrize("swallows", [False, True])
def test_interrupting_a_call_ends_its_interruptible_block_and_not_the_task(swallows: bool) -> None:  # noqa: FBT001
    """After the block the task goes on as one that was not cancelled."""

    async def test(pool: LoopPool[Kept]) -> None:
        call = pool.begin(None)
        pool.loop.call_later(1, call.interrupt)
        async with call.interruptible() as block:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                if not swallows:
                    raise
        assert block.interrupted is not swallows
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(1)

    in_loop(test)


def test_cancelling_a_task_also_cancels_it_in_an_interruptible_block() -> None:
    """This holds even if the call is interrupted at the same time."""

    async def test(pool: LoopPool[Kept]) -> None:
        call = pool.begin(None)

        async def block() -> None:
            async with call.interruptible():
                await asyncio.sleep(5)

        for interrupts in (False, True):
            task = asyncio.create_task(block())
            await asyncio.sleep(1)
            if interrupts:
                call.interrupt()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    in_loop(test)


def test_a_pool_of_a_closed_loop_does_not_use_the_loop() -> None:
    """Closing it closes its connections, and resumes none of its calls."""
    loop = FakeTimeLoop()

    async def begin() -> LoopPool[Kept]:
        pool: LoopPool[Kept] = LoopPool(asyncio.get_running_loop(), IdleConnections())
        pool.keep(kept[0])
        pool.begin(asyncio.get_running_loop().time() + 5).carrier = kept[1]
        return pool

    kept = [Kept(), Kept()]
    pool = loop.run(begin())
    loop.close()

    assert not pool.is_usable
    pool.close()
    assert [each.closed for each in kept] == [1, 1]


def test_a_callback_runs_in_its_context_even_if_that_is_empty() -> None:
    """An empty context is false, and must not be taken for none."""
    variable, own = ContextVar("variable", default="unset"), Context()

    async def test(_: LoopPool[Kept]) -> None:
        waiter = _Waiter()
        waiter.add_done_callback(lambda _: variable.set("set"), context=own)
        waiter.resume()

    in_loop(test)
    assert own[variable] == "set"


class _CancelledBetween(_Waiter):
    """A future whose task the handler of a signal cancels around one step of ``resume``."""

    waiting: "asyncio.Task[None]"
    before: bool = False

    def set_result(self, result: None, /) -> None:
        if self.before:
            self.waiting.cancel()
        super().set_result(result)
        if not self.before:
            self.waiting.cancel()


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", ["resume", "wake"])
def test_a_task_that_a_signal_cancels_as_its_response_comes_ends_cancelled(
    before: bool,  # noqa: FBT001
    step: str,
) -> None:
    """It is neither lost nor resumed twice."""

    async def test(_: LoopPool[Kept]) -> None:
        waiter = _CancelledBetween()
        waiter.task = None
        waiter.before = before
        told: list[str] = []

        async def wait() -> None:
            try:
                await waiter
            except asyncio.CancelledError:
                told.append("cancelled")
                await asyncio.sleep(1)
                raise

        task = waiter.waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(getattr(waiter, step))
        asyncio.get_running_loop().call_soon(waiter.resume)
        assert await raised(task) is asyncio.CancelledError
        assert told == ["cancelled"]

    in_loop(test)
