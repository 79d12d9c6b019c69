"""The retry loops: make an attempt, ask the policy, sleep on the clock, make the next attempt.

One operation
-------------
``retry`` runs in the calling thread. After each failed attempt the policy decides whether to
try again, and after how many seconds.

Many operations
---------------
``retry_side_by_side`` runs many operations with at most ``MAX_THREADS`` worker threads. The
operations wait in one heap, ordered by the time at which their next attempt is due, and a free
worker takes the first. A plugin that is missing goes back into the heap after each attempt; a
plugin that hangs holds one worker. So no plugin delays the others while a worker is free.

First attempts in one thread
----------------------------
Most plugins respond to their first request at once. If a transport can begin an exchange without
waiting, one thread (the *beginner*) sends the first requests to many plugins, at most
``MAX_BEGUN`` at a time, and polls for their responses. It finishes each response that is complete.
It hands three kinds of work, for which it would have to wait, to the workers: an attempt that
failed, an attempt that cannot be begun without waiting, and a response of which only a parser can
find the end. After a failure the caller's code runs (the policy, ``on_retry``, log handlers), and
it may wait for a plugin that only the beginner can finish.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeAlias, TypeVar

from attrs import define, frozen

from moby_plugins.domain.errors import PluginError, WaitCancelledError, in_full
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, Tries
from moby_plugins.failures import call_all, logger
from moby_plugins.ports import Cancellation, Clock, PendingResponse, Selector, SleepEvent

# The most worker threads. So many attempts may hang before another attempt has to wait.
MAX_THREADS = 64
# The most first attempts that the beginner has sent and not finished.
MAX_BEGUN = 64

T = TypeVar("T")
R = TypeVar("R")
# Takes the number of the attempt, from 1.
Attempt: TypeAlias = Callable[[int], T]
# Takes an operation's index, and begins its first attempt; None if that would have to wait.
Begin: TypeAlias = Callable[[int], PendingResponse | None]
# Takes the error of an attempt, and the seconds until the next attempt.
OnRetry: TypeAlias = Callable[[PluginError, float], object]


class Ending:
    """The end of all waits of one client, one ``get`` or one ``get_all``.

    Call ``end`` to end the waits: they raise ``error()``. ``reason`` says why the waits ended; it
    is "" until then. The error names ``plugin`` and ``address``. Threads may share an ending.
    """

    def __init__(self, plugin: str = "", address: str = "") -> None:
        self.reason: str = ""
        # Whether the caller's policy or ``on_retry`` has raised.
        self.left = False
        self._names = (plugin, address)

    def end(self, reason: str) -> None:
        """End the waits; only the first reason is kept. May be called by a signal handler."""
        self.reason = self.reason or reason
        made = self.__dict__.get("_made")
        if made is not None:
            made.set()

    @property
    def cancellation(self) -> Cancellation:
        """The cancellation that ``end`` sets; made on first use, as most clients never wait."""
        made: Cancellation | None = self.__dict__.get("_made")
        if made is None:
            # Two threads that make one at once both get the one that was stored first.
            made = self.__dict__.setdefault("_made", Cancellation())
            if self.reason:  # tested after storing it: ``end`` does both in the opposite order
                made.set()
        return made

    def unless_own(self, error: BaseException | None) -> BaseException | None:
        """Return ``error`` if other callers that wait for the same activation get it, too.

        Return ``None`` for an error that ends the caller's own call alone: the
        ``WaitCancelledError`` of this ending, or what the policy or ``on_retry`` raised.
        """
        own = self.left or (self.reason and isinstance(error, WaitCancelledError))
        return None if own else error

    def error(self, attempts: int = 0, elapsed: float = 0.0) -> WaitCancelledError:
        """Return the error for a wait that was ended after ``elapsed`` seconds."""
        error = WaitCancelledError(self.reason, *self._names)
        error.attempts, error.elapsed = attempts, elapsed
        return error


def retry(
    attempt: Attempt[T],
    policy: RetryPolicy,
    clock: Clock,
    is_retryable: IsRetryable,
    on_retry: OnRetry | None = None,
    *,
    ending: Ending | None = None,
    started: float | None = None,
) -> T:
    """Call ``attempt`` as often as the policy allows, and return its result.

    ``on_retry`` is called before each wait. ``ending`` ends a wait with ``WaitCancelledError``. The
    policy's budget begins at ``started``, by default now. Raise the first ``PluginError`` that
    is not retryable, or else the last one, with the number of attempts and the time they took. An
    exception of another class passes at once.
    """
    started = clock.now() if started is None else started
    tries: Tries | None = None  # made on the first failure: most first attempts succeed
    while True:
        try:
            return attempt(1 if tries is None else tries.number)
        except PluginError as error:
            tries = tries or Tries(policy, is_retryable, started, chance)
            try:
                delay = delay_after(error, tries, clock.now(), on_retry)
            except BaseException:
                if ending is not None:
                    ending.left = True
                raise
            if delay is None:
                raise
        ending = ending or Ending()
        if _sleep(clock, ending, delay):
            raise ending.error(tries.number - 1, clock.now() - tries.started)


def delay_after(
    error: PluginError, tries: Tries, now: float, on_retry: OnRetry | None
) -> float | None:
    """Return the seconds until the next attempt; ``None`` if there is none, and ``error`` is final.

    The retry is logged, and ``on_retry`` is called. An exception of ``on_retry`` or of the policy
    passes unchanged.
    """
    delay = tries.after(error, now)
    if delay is None:
        # The caller raises it: raised here, it would keep this frame, which keeps the error.
        return None
    log_retry(error, delay)
    if on_retry is not None:
        on_retry(error, delay)
    return delay


def _sleep(clock: Clock, ending: Ending, delay: float) -> bool:
    """Sleep for ``delay`` seconds, or until ``ending`` ends; return whether that has ended."""
    event = SleepEvent()
    with ending.cancellation.calling(event.set):
        return clock.wait(event, delay)


def chance() -> float:
    """Return a random number from 0 to 1: how much of a policy's ``jitter`` to add to a delay."""
    from random import random

    return random()  # noqa: S311  it spreads attempts over time: not for security


def log_retry(error: PluginError, delay: float) -> None:
    """Log that an attempt failed with ``error``, and that the next follows in ``delay`` seconds."""
    logger.warning("%s; trying again in %g s", in_full(error), delay)


@define(eq=False, repr=False)
class _Task(Generic[T]):
    """One operation of ``retry_side_by_side``; its next attempt is due at the time ``due``."""

    due: float
    index: int
    attempt: Attempt[T]
    tries: Tries
    # The response that the next attempt must finish, if the attempt was begun.
    pending: PendingResponse | None = None
    # The error of an attempt that failed and of which a worker decides what follows.
    error: BaseException | None = None


@frozen
class Outcome(Generic[T]):
    """The value or the error with which an operation ended.

    ``index`` is the operation's index in ``attempts``. ``refusal`` is the exception of the policy
    or of ``on_retry``, if that ended the operation: it is no error of the operation itself.
    """

    index: int
    value: T | None = None
    error: BaseException | None = None
    refusal: BaseException | None = None


def retry_side_by_side(
    attempts: Sequence[Attempt[T]],
    policy: RetryPolicy,
    clock: Clock,
    is_retryable: IsRetryable,
    settle: Callable[[Outcome[T]], R],
    *,
    ending: Ending | None = None,
    begin: Begin | None = None,
    selector: Selector | None = None,
    on_retry: Sequence[OnRetry | None] = (),
) -> Generator[R]:
    """Run many operations concurrently, and yield ``settle(outcome)`` for each as it ends.

    Each operation is tried as often as ``policy`` allows. The outcome has the operation's value or
    last error, or as ``refusal`` an exception of the policy or of ``on_retry``.

    Attempts and ``settle`` run in threads that this function starts, whether or not the iterator is
    being read: at most ``MAX_THREADS`` workers, and with ``begin`` and ``selector`` one beginner,
    as the module's docstring says. ``begin(index)`` begins the first attempt of an operation.

    ``on_retry`` holds, for each operation, the function that is called before a wait.

    Closing the iterator stops each thread after its current attempt. Raise ``WaitCancelledError``
    when ``ending`` ends. To be called inside ``clock.working()``.
    """
    workers = _Workers(attempts, policy, clock, is_retryable, settle, on_retry=on_retry)
    ending = ending or Ending()
    with ExitStack() as stack:
        stack.callback(workers.stop.set)
        stack.enter_context(ending.cancellation.calling(workers.end))
        if begin is None or selector is None:
            workers.start()
        else:
            workers.start_beginner(begin, selector)
        for _ in attempts:
            settled = workers.next_settled()
            if settled is None:
                raise ending.error()
            yield settled[0]


class _Workers(Generic[T, R]):
    """The worker threads of one ``retry_side_by_side`` and, unless it has none, the beginner.

    Workers take tasks from a heap, which is ordered by due time, and put back those to try again.
    The beginner takes none from it: it begins the first attempt of each new task, and adds to the
    heap the tasks that it would have to wait for. Without it, all tasks are in the heap at first.
    """

    def __init__(
        self,
        attempts: Sequence[Attempt[T]],
        policy: RetryPolicy,
        clock: Clock,
        is_retryable: IsRetryable,
        settle: Callable[[Outcome[T]], R],
        *,
        on_retry: Sequence[OnRetry | None],
    ) -> None:
        self.stop = threading.Event()
        self._clock = clock
        self._settle = settle
        self._on_retry = dict(enumerate(on_retry))
        now = clock.now()
        self._new = [
            _Task(now, index, attempt, Tries(policy, is_retryable, now, chance))
            for index, attempt in enumerate(attempts)
        ]
        # A heap by due time; the index orders tasks that are due at the same time.
        self._tasks: list[tuple[float, int, _Task[T]]] = []
        self._worker_count = 0
        self._settled: deque[R] = deque()
        self._wakeup = threading.Event()
        # An exception outside an attempt, for example from ``settle``.
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start a worker for each task, at most ``MAX_THREADS``."""
        self._tasks = [(task.due, task.index, task) for task in self._new]
        for _ in self._new[:MAX_THREADS]:
            self._start_worker()

    def start_beginner(self, begin: Begin, selector: Selector) -> None:
        """Start the beginner thread, which leaves each task that it would wait for to a worker."""
        if self._new:
            self._start(lambda: self._begin_all(begin, selector))

    def end(self) -> None:
        """Stop all threads; may be called by any thread, and by a signal handler."""
        # In this order: ``next_settled`` wakes for ``_wakeup``, and then tests ``stop``.
        self.stop.set()
        self._wakeup.set()

    def next_settled(self) -> list[R] | None:
        """Wait for the next result of ``settle``; return it in a list, ``None`` once stopped.

        Raise an exception that a thread raised outside an attempt.
        """
        # In a list, because ``settle`` may return None.
        while not self.stop.is_set():
            if not self._settled:
                self._clock.wait(self._wakeup)
            with self._lock:
                if self._settled:
                    return [self._settled.popleft()]
                self._wakeup.clear()
        if self._failure is not None:
            raise self._failure
        return None

    def _start(self, work: Callable[[], None]) -> None:
        # Wait until the thread has entered ``clock.working()``: otherwise a fake clock could
        # advance as if the thread did not exist. This also starts threads in a known order.
        ready = threading.Event()

        def run() -> None:
            try:
                with self._clock.working():
                    ready.set()
                    work()
            except BaseException as error:
                self._failure = error
                self.end()

        # Observers see the caller's context variables, for example the current span.
        target = partial(copy_context().run, run)
        threading.Thread(target=target, name="moby-plugins", daemon=True).start()
        ready.wait()

    def _start_worker(self) -> None:
        with self._lock:
            if self._worker_count == MAX_THREADS or not self._tasks:
                return
            self._worker_count += 1
            task = heapq.heappop(self._tasks)[-1]
        try:
            self._start(lambda: self._work(task))
        except RuntimeError:  # the system cannot start another thread
            self._add(task)
            with self._lock:
                self._worker_count -= 1
                if not self._worker_count:  # no other worker could take the task
                    raise

    def _work(self, task: _Task[T] | None) -> None:
        while task is not None and not self.stop.is_set():
            outcome = self._try(task)
            if outcome is None:
                self._add(task)
            else:
                self._end(outcome)
            task = self._take()
        if self.stop.is_set():
            self._drop_rest(task)

    def _drop_rest(self, task: _Task[T] | None) -> None:
        # Close the responses that were begun: no attempt will finish and close them.
        if task is not None:
            call_all(partial(self._drop, each) for each in [task, *iter(self._take, None)])

    def _drop(self, task: _Task[T]) -> None:
        if task.pending is not None:
            task.pending.close()

    def _add(self, task: _Task[T]) -> None:
        with self._lock:
            heapq.heappush(self._tasks, (task.due, task.index, task))

    def _take(self) -> _Task[T] | None:
        with self._lock:
            if self._tasks:
                return heapq.heappop(self._tasks)[-1]
            self._worker_count -= 1
            return None

    def _end(self, outcome: Outcome[T]) -> None:
        settled = self._settle(outcome)
        with self._lock:
            self._settled.append(settled)
            if not self._wakeup.is_set():  # ``set`` calls six functions more
                self._wakeup.set()

    def _begin_all(self, begin: Begin, selector: Selector) -> None:
        # The task of each pending response that was begun and is not finished.
        begun: dict[PendingResponse, _Task[T]] = {}
        new = deque(self._new)
        try:
            while (new or begun) and not self.stop.is_set():
                if new and len(begun) < MAX_BEGUN:
                    task = new.popleft()
                    self._begin(task, begin)
                    if task.pending is not None:
                        begun[task.pending] = task
                        selector.add(task.pending)
                    else:
                        self._hand_over(task)
                    continue
                for pending in selector.wait():
                    task = begun.pop(pending)
                    self._finish(task, pending)
        finally:
            call_all(pending.close for pending in begun)

    def _begin(self, task: _Task[T], begin: Begin) -> None:
        now = self._clock.now()
        task.tries.postpone(now - task.due)
        task.due = now
        try:
            task.pending = begin(task.index)
        except BaseException as error:
            task.error = error

    def _finish(self, task: _Task[T], pending: PendingResponse) -> None:
        outcome = self._attempt(task) if pending.is_whole else None
        if outcome is None:
            task.due = self._clock.now()
            self._hand_over(task)
        else:
            self._end(outcome)

    def _hand_over(self, task: _Task[T]) -> None:
        self._add(task)
        self._start_worker()

    def _try(self, task: _Task[T]) -> Outcome[T] | None:
        # None if the task is to be tried again. The clock may raise, so the wait is in the ``try``.
        try:
            if self._clock.wait(self.stop, max(task.due - self._clock.now(), 0.0)):
                return None
            # The time that the task waited for a free worker does not count against its budget.
            task.tries.postpone(self._clock.now() - task.due)
        except BaseException as error:
            self._drop(task)
            return Outcome(task.index, error=error)
        outcome = self._attempt(task) if task.error is None else None
        return outcome or self._failed(task)

    def _attempt(self, task: _Task[T]) -> Outcome[T] | None:
        task.pending = None  # the attempt closes it
        try:
            return Outcome(task.index, value=task.attempt(task.tries.number))
        except BaseException as error:
            task.error = error
            return None

    def _failed(self, task: _Task[T]) -> Outcome[T] | None:
        error, task.error = task.error, None
        if not isinstance(error, PluginError):  # raised in the caller's thread, not retried
            return Outcome(task.index, error=error)
        try:
            now = self._clock.now()
            delay = delay_after(error, task.tries, now, self._on_retry.get(task.index))
        except BaseException as raised:
            return Outcome(task.index, refusal=raised)
        if delay is None:
            return Outcome(task.index, error=error)
        task.due = now + delay
        return None
