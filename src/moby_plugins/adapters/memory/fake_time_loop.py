"""An event loop with fake time for tests: instead of waiting, its time jumps.

Nothing is patched, as asyncio has two public extension points: a loop takes a selector, and its
``time`` can be overridden. The loop asks its selector to wait until the next timer is due. This
selector polls the sockets without waiting, and:

- If a socket is ready, or a callback is, time stands still.
- While a job runs in an executor, time stands still: it is real work.
- While a socket is open, time stands still, too, until no socket was ready for some real time: an
  idle connection would otherwise stop time for ever.
- Otherwise time jumps to the next moment at which something is due. A scripted event goes before
  tasks that sleep until the same moment.
- If nothing is due, no task can be woken: ``run`` raises ``LoopStuckError``.
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
from moby_plugins.domain.retry import finite, no_nan
from moby_plugins.domain.text import quoted

_DOOR = AtDoor("moby_plugins.testing", __name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The share of the watchdog's time after which silent sockets are assumed to be idle.
_PATIENCE = 1 / 40
# Decimal digits of times: asyncio compares times to a nanosecond, but sums of floats are inexact.
_DIGITS = 9


class LoopStuckError(RuntimeError):
    """Raised if a ``FakeTimeLoop`` is stuck: no task can be woken, or a task never waits."""

    __module__ = _DOOR


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on which no task waits in real time, and the schedule is exact.

    ``asyncio.sleep``, ``timeout``, ``wait_for`` and ``call_later`` all use its time. The class is
    also a ``loop_factory``: for ``asyncio.Runner``, pytest-asyncio and anyio. Its creator closes
    it. Its time stands still during real work: jobs in executors (``asyncio.to_thread``), and open
    sockets as long as they receive. It does not notice threads that a test starts by itself.

    Args:
        start: Its initial time, in seconds.
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
    _closed = True  # for ``__del__``, if an argument is refused

    def __init__(self, start: float = 0.0, *, watchdog: float = 10.0) -> None:
        start, watchdog = float(finite("start", start)), no_nan("watchdog", watchdog)
        self._jumping = _JumpingSelector(start, watchdog, self._moved)
        super().__init__(self._jumping)
        self._jumping.own = len(self._jumping.get_map())

    def __repr__(self) -> str:
        return f"<FakeTimeLoop at {self.time():g} s>"

    def time(self) -> float:
        """Return the seconds on this loop's clock."""
        return self._jumping.now

    def at(self, moment: float, do: Callable[[], object]) -> None:
        """Call a function at a moment, before tasks that sleep until then continue.

        An exception of the function is raised by ``run``.

        Args:
            moment: When, in seconds on this loop's clock; at once if the moment has passed.
            do: A plain function, which may start tasks.

        Raises:
            TypeError: For a coroutine function, or anything that cannot be called.
            ValueError: If ``moment`` is NaN or infinite.
        """
        if iscoroutinefunction(do) or not callable(do):
            raise TypeError(f"do must be a plain function, which may start a task: {quoted(do)}")
        self._jumping.add(finite("moment", moment), do)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and return its result; may be called again.

        Time continues from its current value. Remaining tasks are cancelled, and asynchronous
        generators closed, as by ``asyncio.run``.

        Args:
            main: The coroutine.

        Returns:
            The coroutine's result. If the coroutine raises an exception, this method raises it.

        Raises:
            LoopStuckError: If no task can continue; the message names the tasks. Raised at once if
                no socket is open and no job runs in an executor, else after the watchdog's time.
            RuntimeError: If this loop, or another one in this thread, is running, or this loop is
                closed.
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
        # asyncio runs timers that are due within a nanosecond. After about three months, floats
        # are coarser than that, and a timer that is due would never be run.
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
        # The loop may run again; without this, asyncio would warn of each new generator.
        self._asyncgens_shutdown_called = False

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call a function at a moment, as in any loop; a moment of infinity is ignored.

        Args:
            when: The moment, in seconds on this loop's clock.
            callback: The function.
            args: Its arguments.
            context: The context in which it runs; a copy of the caller's unless given.

        Returns:
            A handle with which the call can be cancelled.

        Raises:
            ValueError: If ``when`` is NaN.
        """
        if no_nan("when", when) == math.inf:
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
            A future of the function's result.
        """
        future = super().run_in_executor(executor, func, *args)
        self._jumping.jobs += 1
        future.add_done_callback(self._job_ended)
        return future

    def _job_ended(self, _: object) -> None:
        self._jumping.jobs -= 1

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        """Wait for the jobs of the default executor, as in any loop.

        Args:
            timeout: Seconds, if this version of Python supports them.
        """
        self._jumping.jobs += 1  # a thread waits for them
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self._jumping.jobs -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that advances its time ``now`` instead of waiting.

    ``own`` is the number of the loop's own sockets, and ``jobs`` that of jobs in executors.
    """

    def __init__(self, start: float, watchdog: float, moved: Callable[[float], object]) -> None:
        super().__init__()
        self.now = start
        self.own = 0
        self.jobs = 0
        # The real time at which the loop was last about to wait.
        self.busy_since = time.monotonic()
        self._watchdog = watchdog
        self._moved = moved
        self._script: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    def add(self, moment: float, do: Callable[[], object]) -> None:
        heapq.heappush(self._script, (float(moment), next(self._order), do))

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        # Rounded, since a shorter sleep does not move time.
        due = math.inf if timeout is None else round(self.now + timeout, _DIGITS)
        if self._script and due > self.now:
            due = min(due, self._script[0][0])
        if not events and due <= self.now:
            if time.monotonic() - self.busy_since > self._watchdog:
                self._give_up(f"time did not move in {self._watchdog:g} s of real time")
        else:
            events = events or self._wait(due)
            self.busy_since = time.monotonic()
        if not events and (timeout is None or timeout > 0):
            self._jump(due)
        return events

    def _wait(self, due: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for real work; return an empty list if time should jump."""
        sockets = len(self.get_map()) - self.own
        if not (self.jobs or sockets):
            if due == math.inf:
                self._give_up("all tasks wait, and no scheduled event can wake them")
            return []
        if sockets and not self.jobs and due < math.inf:
            return super().select(self._watchdog * _PATIENCE)
        events = super().select(self._watchdog)
        if not events:
            real = "a job in an executor has not ended" if self.jobs else "no socket was ready"
            self._give_up(f"all tasks wait, and {real} for {self._watchdog:g} s of real time")
        return events

    def _jump(self, due: float) -> None:
        self.now = max(self.now, due)
        self._moved(self.now)
        # Only the events of this moment, not those that they add.
        added = next(self._order)
        while self._script and self._script[0][:2] < (self.now, added):
            heapq.heappop(self._script)[-1]()

    def _give_up(self, reason: str) -> None:
        # Raised here, it ends the running loop, which can then run again.
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
