"""An event loop with fake time for tests: instead of waiting, its time jumps.

Nothing is patched, as asyncio has two public extension points: a loop takes a selector, and its
``time`` can be overridden. ``jumping_selector.py`` decides when time jumps. This module reports to
it which jobs and processes of the loop are running.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, cast

from moby_plugins.adapters.memory.jumping_selector import DIGITS, JumpingSelector, LoopStuckError
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.retry import finite, no_nan
from moby_plugins.domain.text import quoted
from moby_plugins.domain.typed import is_coroutine_function

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on which no task waits in real time, and the schedule is exact.

    ``asyncio.sleep``, ``timeout``, ``wait_for`` and ``call_later`` all use its time. The class is
    also a ``loop_factory``: for ``asyncio.Runner``, pytest-asyncio and anyio. Its creator closes
    it. Where all tasks wait, its time moves at once to the next moment at which something is due,
    a function of ``at`` before tasks that sleep until then. Real work delays this:

    - Until they end: jobs in executors (``asyncio.to_thread``), cancelled ones included, and
      processes that asyncio started.
    - Until they were silent for a fortieth of ``watchdog``: sockets and pipes that are open, and
      threads that were started after the loop, which may call ``call_soon_threadsafe``. A listening
      socket delays nothing, nor does a UNIX connection between two tasks of this loop.

    A thread that is silent for longer, or is older than the loop, is not waited for while anything
    is due. If nothing is, the loop waits for any other thread.

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

    __module__ = AtDoor("moby_plugins.testing", __name__)
    _closed = True  # for ``__del__``, if an argument is refused

    def __init__(self, start: float = 0.0, *, watchdog: float = 10.0) -> None:
        start, watchdog = float(finite("start", start)), no_nan("watchdog", watchdog)
        self._jumping = JumpingSelector(start, watchdog, self._moved)
        self._executor: Executor | None = None
        super().__init__(self._jumping)
        self._jumping.start()

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
        if is_coroutine_function(do) or not callable(do):
            raise TypeError(f"do must be a plain function, which may start tasks, not {quoted(do)}")
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
                no socket is open, no job or process goes on, and there is no other thread; else
                after the watchdog's time. Raised also if cancelled tasks do not end.
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
        try:
            result = self.run_until_complete(main)
        except BaseException:
            with suppress(LoopStuckError):  # of tasks that do not end; the first error is raised
                self._end_what_is_left()
            raise
        self._end_what_is_left()
        return result

    def run_forever(self) -> None:
        """Run until ``stop`` is called, as any loop; may raise ``LoopStuckError``."""
        self._jumping.busy_since = time.monotonic()
        super().run_forever()

    def _moved(self, now: float) -> None:
        # asyncio runs timers that are due within a nanosecond. After about three months, floats
        # are coarser than that, and a timer that is due would never be run.
        self._clock_resolution = max(10.0**-DIGITS, 2 * math.ulp(now))

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
        """Call a function at a moment, as in any loop; never, if the moment is infinity.

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
        """Run a function in an executor; the loop's time does not move until the function ends.

        Args:
            executor: The executor; ``None`` for the default one.
            func: The function.
            args: Its arguments.

        Returns:
            A future of the function's result.
        """
        taking = _Taking(self._own_executor() if executor is None else executor)
        future = super().run_in_executor(taking, func, *args)
        job = taking.job
        # Once the job is done, its thread still has to report this to the loop.
        self._jumping.hold_while(lambda: not (job.done() and future.done()))
        return future

    def _own_executor(self) -> Executor:
        if self._executor is None:
            self.set_default_executor(
                ThreadPoolExecutor(thread_name_prefix="asyncio", initializer=self._note_worker)
            )
        return cast("Executor", self._executor)

    def _note_worker(self) -> None:
        self._jumping.workers.add(threading.current_thread())

    def set_default_executor(self, executor: Executor) -> None:
        """Set the executor of ``run_in_executor(None, …)``, as in any loop.

        Args:
            executor: A ``ThreadPoolExecutor``.
        """
        super().set_default_executor(cast("ThreadPoolExecutor", executor))
        self._executor = executor

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        """Wait for the jobs of the default executor, as in any loop.

        Args:
            timeout: Seconds, if this version of Python supports them.
        """
        ended = self.create_future()  # a thread waits for them
        self._jumping.hold_while(lambda: not ended.done())
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            ended.cancel()

    async def subprocess_exec(self, *args: Any, **options: Any) -> tuple[Any, Any]:
        """Start a process, as in any loop; the loop's time does not move until the process ends.

        Args:
            args: The arguments, as of any loop.
            options: The options, as of any loop.

        Returns:
            The transport and the protocol.
        """
        return self._noted(await super().subprocess_exec(*args, **options))

    async def subprocess_shell(self, *args: Any, **options: Any) -> tuple[Any, Any]:
        """Start a shell, as in any loop; the loop's time does not move until the shell ends.

        Args:
            args: The arguments, as of any loop.
            options: The options, as of any loop.

        Returns:
            The transport and the protocol.
        """
        return self._noted(await super().subprocess_shell(*args, **options))

    def _noted(self, process: tuple[Any, Any]) -> tuple[Any, Any]:
        transport: asyncio.SubprocessTransport = process[0]
        self._jumping.hold_while(lambda: transport.get_returncode() is None)
        return process


class _Taking(Executor):
    """A wrapper of an executor; ``job`` is the future of the last submitted job."""

    job: Future[Any]

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        self.job = job = self._executor.submit(fn, *args, **options)
        return job


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
