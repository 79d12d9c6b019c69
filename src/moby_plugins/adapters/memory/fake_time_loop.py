"""An event loop whose time tests own: where it would wait, its time jumps.

asyncio has two public seams for that, and nothing is patched: a loop is made with a selector,
and its ``time`` can be overridden. The loop asks its selector to wait until its next timer is
due. The selector here looks at the sockets without a wait, and:

- Where something came, or a callback is ready, time stands still.
- A job in an executor holds time back until it has ended: it is real work.
- An open socket holds time back too, until nothing came for a while of real time: a connection
  that is kept idle would hold it back for ever.
- Otherwise time moves to the next moment that something is due. A scripted event goes before
  those that sleep until the same moment.
- Where nothing is due, nothing can wake what waits: ``LoopStuckError`` comes out of ``run``.
"""

import asyncio
import heapq
import math
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from inspect import iscoroutinefunction
from itertools import count
from typing import Any, TypeVar, TypeVarTuple

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.text import quoted

_DOOR = AtDoor("moby_plugins.testing", __name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The part of the watchdog's time for which sockets are silent before they are taken for idle.
_PATIENCE = 1 / 40
# Digits of a second: asyncio compares times to a nanosecond, and sums of floats are not as exact.
_DIGITS = 9


class LoopStuckError(RuntimeError):
    """A ``FakeTimeLoop`` cannot go on: all tasks wait for nothing, or one never waits."""

    __module__ = _DOOR


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on which no task waits for real, and the schedule is exact.

    ``asyncio.sleep``, ``timeout``, ``wait_for`` and ``call_later`` are all on its time. It is a
    ``loop_factory`` too: for ``asyncio.Runner``, pytest-asyncio and anyio. Who made it closes it.
    Real work holds its time back: jobs in executors (``asyncio.to_thread``), and open sockets as
    long as something comes. A thread that a test starts by itself is not seen.

    Args:
        start: Its time at first, in seconds.
        watchdog: Seconds of real time after which real work, or a task that never waits, is
            reported with a ``LoopStuckError``.

    Examples:
        ```python
        import asyncio
        from contextlib import closing

        from moby_plugins.testing import FakeTimeLoop

        with closing(FakeTimeLoop()) as loop:
            loop.run(asyncio.sleep(3600))
            assert loop.time() == 3600
        ```
    """

    __module__ = _DOOR

    def __init__(self, start: float = 0.0, *, watchdog: float = 10.0) -> None:
        self._jumping = _JumpingSelector(float(start), watchdog, self._moved)
        super().__init__(self._jumping)
        self._jumping.own = len(self._jumping.get_map())

    def __repr__(self) -> str:
        return f"<FakeTimeLoop at {self.time():g} s>"

    def time(self) -> float:
        """Return the seconds on this loop's clock."""
        return self._jumping.now

    def at(self, moment: float, do: Callable[[], object]) -> None:
        """Have something done at a moment, before those that sleep until then.

        What it raises comes out of ``run``.

        Args:
            moment: When, in seconds on this loop's clock; at once where that has passed.
            do: What to call: a plain function, which may start tasks.

        Raises:
            TypeError: For a coroutine function, and for what cannot be called.
            ValueError: For a moment that is no number.
        """
        if iscoroutinefunction(do) or not callable(do):
            raise TypeError(f"do must be a plain function, which may start a task: {quoted(do)}")
        if math.isnan(moment):
            raise ValueError("moment must be a number of seconds, not nan")
        self._jumping.add(moment, do)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and return what it returns; may be called again.

        Time goes on from where it is. Tasks that are left over are cancelled, and asynchronous
        generators closed, as ``asyncio.run`` does.

        Args:
            main: The coroutine.

        Returns:
            Its result; what it raises is raised.

        Raises:
            LoopStuckError: Where no task can go on: it names them all. At once where no socket is
                open and no job is in an executor; else when the watchdog's time is over.
        """
        if self.is_running() or self.is_closed():
            main.close()
            state = "running" if self.is_running() else "closed"
            raise RuntimeError(f"this loop is {state}, and cannot run a coroutine")
        if _is_in_loop():
            main.close()
            raise RuntimeError("another loop is running in this thread: await the coroutine there")
        self._jumping.busy_since = time.monotonic()
        try:
            return self.run_until_complete(main)
        finally:
            self._end_what_is_left()

    def _moved(self, now: float) -> None:
        # asyncio takes for due what is due within a nanosecond. Floats are coarser from some
        # three months on, and a timer that is due would not be run, time and again.
        self._clock_resolution = max(10.0**-_DIGITS, 2 * math.ulp(now))

    def _end_what_is_left(self) -> None:
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        for task in left:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                message = "unhandled exception of a task that was left over"
                self.call_exception_handler({"message": message, "exception": error, "task": task})
        self.run_until_complete(self.shutdown_asyncgens())
        # The loop is to run again: else each generator of then would be warned of.
        self._asyncgens_shutdown_called = False

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call a function at a moment, as any loop does; one that never comes is not waited for.

        Args:
            when: The moment, in seconds on this loop's clock.
            callback: What to call.
            args: Its arguments.
            context: Where it runs; a copy of the caller's unless given.

        Returns:
            What cancels it.
        """
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in an executor; time stands still until it has ended.

        Args:
            executor: The executor; ``None`` for the default one.
            func: The function.
            args: Its arguments.

        Returns:
            A future of what it returns.
        """
        future = super().run_in_executor(executor, func, *args)
        self._jumping.jobs += 1
        future.add_done_callback(self._job_ended)
        return future

    def _job_ended(self, _: object) -> None:
        self._jumping.jobs -= 1

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        """Wait for the jobs of the default executor, as any loop does.

        Args:
            timeout: Seconds, where this version of Python takes them.
        """
        self._jumping.jobs += 1  # a thread waits for them
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self._jumping.jobs -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that moves its time ``now`` where it would wait.

    ``own`` is how many sockets are the loop's own, and ``jobs`` how many jobs are in executors.
    """

    def __init__(self, start: float, watchdog: float, moved: Callable[[float], object]) -> None:
        super().__init__()
        self.now = start
        self.own = 0
        self.jobs = 0
        # When, by the machine's clock, the loop was last about to wait.
        self.busy_since = time.monotonic()
        self._watchdog = watchdog
        self._moved = moved
        self._script: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    def add(self, moment: float, do: Callable[[], object]) -> None:
        heapq.heappush(self._script, (float(moment), next(self._order), do))

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        came = super().select(0)
        due = math.inf if timeout is None else self.now + timeout
        if self._script and due > self.now:
            due = min(due, self._script[0][0])
        if not came and due <= self.now:
            if time.monotonic() - self.busy_since > self._watchdog:
                self._give_up(f"time did not move in {self._watchdog:g} s of real time")
        else:
            came = came or self._wait(due)
            self.busy_since = time.monotonic()
        if not came and (timeout is None or timeout > 0):
            self._jump(due)
        return came

    def _wait(self, due: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for what is real; the result is empty where time is to move."""
        sockets = len(self.get_map()) - self.own
        if not (self.jobs or sockets):
            if due == math.inf:
                self._give_up("all wait, and nothing can wake them")
            return []
        if sockets and not self.jobs and due < math.inf:
            return super().select(self._watchdog * _PATIENCE)
        came = super().select(self._watchdog)
        if not came:
            real = "a job in an executor has not ended" if self.jobs else "no socket had anything"
            self._give_up(f"all wait, and {real} for {self._watchdog:g} s of real time")
        return came

    def _jump(self, due: float) -> None:
        self.now = max(self.now, round(due, _DIGITS))
        self._moved(self.now)
        # Those of this moment, and not those that they add.
        added = next(self._order)
        while self._script and self._script[0][:2] < (self.now, added):
            heapq.heappop(self._script)[-1]()

    def _give_up(self, reason: str) -> None:
        # Raised here it comes out of whatever runs the loop, which can then run again.
        self.busy_since = time.monotonic()
        tasks = sorted(f"{task.get_name()} in {_named(task)}" for task in asyncio.all_tasks())
        raise LoopStuckError(f"{reason}: {'; '.join(tasks) or 'there is no task'}")


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _named(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", None) or repr(coroutine)
