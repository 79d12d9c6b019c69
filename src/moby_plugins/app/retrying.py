"""The one loop: try, ask the policy, sleep on the clock, try again.

``retry`` tries one thing in the calling thread. ``retry_side_by_side`` tries many
with a few threads: each takes what is due next, so that neither a dead
plugin nor a hung one makes the others wait for its turn.

Most plugins answer their first request at once. So where a transport can begin an exchange
without a wait, one thread begins the first attempts of many plugins and ends each as its
response is there. What it would have to wait for, it hands to the others: an attempt that
failed and is due again, one that cannot be begun, and a response whose end only a parser knows.
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
from moby_plugins.failures import logger
from moby_plugins.ports import Cancellation, Clock, PendingResponse, Selector, SleepEvent

# Threads for many attempts side by side; as many may hang before any other has to wait.
MAX_THREADS = 64
# First attempts that one thread has begun, and that have not ended.
MAX_BEGUN = 64

T = TypeVar("T")
R = TypeVar("R")
# Takes the number of the attempt, from 1.
Attempt: TypeAlias = Callable[[int], T]
# Takes the index of an attempt, and begins the first: None where that would have to wait.
Begin: TypeAlias = Callable[[int], PendingResponse | None]
# Takes the error of an attempt, and the seconds until the next.
OnRetry: TypeAlias = Callable[[PluginError, float], object]


class Ending:
    """What ends all that waits for one thing: a client, a ``get`` or a ``get_all``.

    ``reason`` is "" until then. ``plugin`` and ``address`` are the error's.
    """

    def __init__(self, plugin: str = "", address: str = "") -> None:
        self.reason: str = ""
        self.cancellation: Cancellation = Cancellation()
        # Whether what the caller gave to be told of retries has raised.
        self.left = False
        self._names = (plugin, address)

    def end(self, reason: str) -> None:
        """End it; the first reason counts. May be called by a signal handler."""
        self.reason = self.reason or reason
        self.cancellation.set()

    def unless_own(self, error: BaseException | None) -> BaseException | None:
        """Return ``error``, or ``None`` for that of this: it ends a leader, and no activation."""
        own = self.left or (self.reason and isinstance(error, WaitCancelledError))
        return None if own else error

    def error(self, attempts: int = 0, elapsed: float = 0.0) -> WaitCancelledError:
        """Return the error of one that waited."""
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
    """What ``attempt`` returns, tried as often as the policy allows.

    ``on_retry`` is told before each wait, which ``ending`` ends with ``WaitCancelledError``.
    The policy's budget counts from ``started``, which is now unless given. Raises the last
    ``PluginError``, which says how often and for how long, or the first that is not retryable;
    anything else passes at once.
    """
    started = clock.now() if started is None else started
    tries: Tries | None = None  # nearly always the first attempt is the last
    while True:
        try:
            return attempt(1 if tries is None else tries.number)
        except PluginError as error:
            tries = tries or Tries(policy, is_retryable, started, chance)
            delay = tries.after(error, clock.now())
            if delay is None:
                raise
            log_retry(error, delay)
            if on_retry is not None:
                _tell(on_retry, error, delay, ending)
        ending = ending or Ending()
        if _sleep(clock, ending, delay):
            raise ending.error(tries.number - 1, clock.now() - tries.started)


def _tell(on_retry: OnRetry, error: PluginError, delay: float, ending: Ending | None) -> None:
    try:
        on_retry(error, delay)
    except BaseException:
        if ending is not None:
            ending.left = True
        raise


def _sleep(clock: Clock, ending: Ending, delay: float) -> bool:
    """Sleep; true, and at once, where that is to end."""
    event = SleepEvent()
    with ending.cancellation.calling(event.set):
        return clock.wait(event, delay)


def chance() -> float:
    """Return a random number from 0 to 1: a policy's jitter is so much of what it may be."""
    from random import random

    return random()  # noqa: S311  it spreads attempts, and guards nothing


def log_retry(error: PluginError, delay: float) -> None:
    """Tell in the log that what failed with ``error`` is tried again, and when."""
    logger.warning("%s; trying again in %g s", in_full(error), delay)


@define
class _Task(Generic[T]):
    """One of many, waiting for its next attempt at the moment ``due``."""

    due: float
    index: int
    attempt: Attempt[T]
    tries: Tries
    # What the attempt is to finish, where it was begun.
    pending: PendingResponse | None = None


@frozen
class Outcome(Generic[T]):
    """How the attempt at ``index`` ended: with a value, or with an error."""

    index: int
    value: T | None = None
    error: BaseException | None = None


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
    """Yield what ``settle`` makes of each attempt's outcome, as they come.

    Each is tried as ``retry`` would. Attempts and ``settle`` run in threads of this function's
    own, whether or not the iterator is being read: at most ``MAX_THREADS`` that make one attempt
    at a time, and, where there is a ``selector``, one that makes the first attempts of all,
    as far as ``begin(index)`` can begin them and they end without a wait.

    ``on_retry`` has what is told before each wait, by the index of the attempt.

    Closing the iterator stops them after the attempt they are at. Raises
    ``WaitCancelledError`` once ``ending`` has ended it. To be used inside ``clock.working()``.
    """
    crew = _Crew(attempts, policy, clock, is_retryable, settle, on_retry=on_retry)
    ending = ending or Ending()
    with ExitStack() as stack:
        stack.callback(crew.stop.set)
        stack.enter_context(ending.cancellation.calling(crew.end))
        if begin is None or selector is None:
            crew.start()
        else:
            crew.start_beginner(begin, selector)
        for _ in attempts:
            settled = crew.next_settled()
            if settled is None:
                raise ending.error()
            yield settled[0]


class _Crew(Generic[T, R]):
    """The threads that share one heap of tasks."""

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
        # In the order in which they are due, with an index to tell those of one moment apart.
        self._tasks: list[tuple[float, int, _Task[T]]] = []
        self._workers = 0
        self._settled: deque[R] = deque()
        self._news = threading.Event()
        # What went wrong with a thread itself, a failure of ``settle`` say.
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Have a thread for each task, as far as there may be so many."""
        self._tasks = [(task.due, task.index, task) for task in self._new]
        for _ in self._new[:MAX_THREADS]:
            self._start_worker()

    def start_beginner(self, begin: Begin, selector: Selector) -> None:
        """Have one thread begin all tasks, which hands those that it would wait for to others."""
        if self._new:
            self._start(lambda: self._begin_all(begin, selector))

    def end(self) -> None:
        """Stop; may be called by any thread, and by a signal handler."""
        # In this order: who looks for what was settled, and finds nothing, looks whether to stop.
        self.stop.set()
        self._news.set()

    def next_settled(self) -> list[R] | None:
        """Wait for the next outcome; ``None`` where this was stopped."""
        # What is settled may be None itself.
        while not self.stop.is_set():
            self._clock.wait(self._news)
            with self._lock:
                if self._settled:
                    return [self._settled.popleft()]
                self._news.clear()
        if self._failure is not None:
            raise self._failure
        return None

    def _start(self, work: Callable[[], None]) -> None:
        # It takes part in the clock before this thread goes on, or a fake clock would
        # take the crew for not being there; and in a known order.
        ready = threading.Event()

        def run() -> None:
            try:
                with self._clock.working():
                    ready.set()
                    work()
            except BaseException as error:
                self._failure = error
                self.end()

        # Observers see what the caller has set, the span that is current for example.
        target = partial(copy_context().run, run)
        threading.Thread(target=target, name="moby-plugins", daemon=True).start()
        ready.wait()

    def _start_worker(self) -> None:
        with self._lock:
            if self._workers == MAX_THREADS or not self._tasks:
                return
            self._workers += 1
            task = heapq.heappop(self._tasks)[-1]
        try:
            self._start(lambda: self._work(task))
        except RuntimeError:  # the machine has no thread left
            self._add(task)
            with self._lock:
                self._workers -= 1
                if not self._workers:  # and none of those there are will take it
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
        # What was begun is closed, where no attempt will.
        while task is not None:
            self._drop(task)
            task = self._take()

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
            self._workers -= 1
            return None

    def _end(self, outcome: Outcome[T]) -> None:
        settled = self._settle(outcome)
        with self._lock:
            self._settled.append(settled)
            self._news.set()

    def _begin_all(self, begin: Begin, selector: Selector) -> None:
        # Which task each request belongs to, of those that were begun and have not ended.
        begun: dict[PendingResponse, _Task[T]] = {}
        new = deque(self._new)
        try:
            while (new or begun) and not self.stop.is_set():
                if new and len(begun) < MAX_BEGUN:
                    task = new.popleft()
                    outcome = self._begin(task, begin)
                    if task.pending is not None:
                        begun[task.pending] = task
                        selector.add(task.pending)
                    else:
                        self._go_on(task, outcome)
                    continue
                for pending in selector.wait():
                    task = begun.pop(pending)
                    self._go_on(task, self._finish(task, pending))
        finally:
            for pending in begun:
                pending.close()

    def _begin(self, task: _Task[T], begin: Begin) -> Outcome[T] | None:
        now = self._clock.now()
        task.tries.postpone(now - task.due)
        task.due = now
        try:
            task.pending = begin(task.index)
        except BaseException as error:
            return self._failed(error, task)
        return None

    def _finish(self, task: _Task[T], pending: PendingResponse) -> Outcome[T] | None:
        if pending.is_whole:
            return self._attempt(task)
        task.due = self._clock.now()
        return None

    def _go_on(self, task: _Task[T], outcome: Outcome[T] | None) -> None:
        if outcome is None:
            self._add(task)
            self._start_worker()
        else:
            self._end(outcome)

    def _try(self, task: _Task[T]) -> Outcome[T] | None:
        # None where it is to be tried again. The wait is inside, for what a clock raises.
        try:
            if self._clock.wait(self.stop, max(task.due - self._clock.now(), 0.0)):
                return None
            # Its own time only: what it waited for a free thread is not held against it.
            task.tries.postpone(self._clock.now() - task.due)
        except BaseException as error:
            self._drop(task)
            return Outcome(task.index, error=error)
        return self._attempt(task)

    def _attempt(self, task: _Task[T]) -> Outcome[T] | None:
        task.pending = None  # it is the attempt's to close
        try:
            return Outcome(task.index, value=task.attempt(task.tries.number))
        except BaseException as error:
            return self._failed(error, task)

    def _failed(self, error: BaseException, task: _Task[T]) -> Outcome[T] | None:
        if not isinstance(error, PluginError):  # handed to the caller, whose error it is
            return Outcome(task.index, error=error)
        try:
            return self._after(error, task)
        except BaseException as raised:  # by a policy or a handler of the log, say
            return Outcome(task.index, error=raised)

    def _after(self, error: PluginError, task: _Task[T]) -> Outcome[T] | None:
        now = self._clock.now()
        delay = task.tries.after(error, now)
        if delay is None:
            return Outcome(task.index, error=error)
        log_retry(error, delay)
        if (on_retry := self._on_retry.get(task.index)) is not None:
            on_retry(error, delay)
        task.due = now + delay
        return None
