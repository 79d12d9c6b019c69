"""The one loop: try, ask the policy, sleep on the clock, try again.

``retry`` tries one thing in the calling thread. ``retry_side_by_side`` tries many
with a few threads: each takes whatever is due next, so that neither a dead
plugin nor a hung one makes the others wait for its turn.
"""

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Generic, TypeAlias, TypeVar

from attrs import define, frozen

from moby_plugins.domain.errors import PluginError, WaitCancelledError, in_full
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, Tries
from moby_plugins.ports import Cancellation, Clock, SleepEvent

logger: logging.Logger = logging.getLogger("moby_plugins")

# Threads for many attempts side by side; as many may hang before any other has to wait.
MAX_THREADS = 64
# Seconds in which an attempt ends where no more threads are needed than there are; the
# longer they keep it up, the more seldom somebody looks, down to the second figure.
PACE, MAX_PACE = 0.001, 0.032

T = TypeVar("T")
R = TypeVar("R")
# Takes the number of the attempt, from 1.
Attempt: TypeAlias = Callable[[int], T]
# Takes the error of an attempt, and the seconds until the next.
OnRetry: TypeAlias = Callable[[PluginError, float], object]


class Ending:
    """What ends all that waits for one thing: a client, a ``get`` or a ``get_all``.

    ``reason`` is "" until then. ``plugin`` and ``address`` are the error's.
    """

    def __init__(self, plugin: str = "", address: str = "") -> None:
        self.reason: str = ""
        self.cancellation: Cancellation = Cancellation()
        self._names = (plugin, address)

    def end(self, reason: str) -> None:
        """End it; the first reason counts. May be called by a signal handler."""
        self.reason = self.reason or reason
        self.cancellation.set()

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
            tries = tries or Tries(policy, is_retryable, started)
            delay = tries.after(error, clock.now())
            if delay is None:
                raise
            log_retry(error, delay)
            if on_retry is not None:
                on_retry(error, delay)
        ending = ending or Ending()
        if _sleep(clock, ending, delay):
            raise ending.error(tries.number - 1, clock.now() - tries.started)


def _sleep(clock: Clock, ending: Ending, delay: float) -> bool:
    """Sleep; true, and at once, where that is to end."""
    event = SleepEvent()
    with ending.cancellation.calling(event.set):
        return clock.wait(event, delay)


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
) -> Generator[R]:
    """What ``settle`` makes of each attempt's outcome, as they come.

    Each is tried as ``retry`` would. Attempts and ``settle`` run in threads of
    this function's own, whether or not the iterator is being read. Closing it
    stops them after the attempt they are at. Raises ``WaitCancelledError`` once ``ending``
    has ended it. To be used inside ``clock.working()``.
    """
    crew = _Crew(attempts, policy, clock, is_retryable, settle)
    ending = ending or Ending()
    with ExitStack() as stack:
        stack.callback(crew.stop.set)
        stack.enter_context(ending.cancellation.calling(crew.end))
        crew.start(min(len(attempts), MAX_THREADS))
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
    ) -> None:
        self.stop = threading.Event()
        self._clock = clock
        self._settle = settle
        now = clock.now()
        # In the order in which they are due, with an index to tell those of one moment apart.
        self._tasks = [
            (now, index, _Task(now, index, attempt, Tries(policy, is_retryable, now)))
            for index, attempt in enumerate(attempts)
        ]
        self._settled: deque[R] = deque()
        self._news = threading.Event()
        self._all_taken = threading.Event()
        self._ended = 0
        self._lock = threading.Lock()

    def start(self, most: int) -> None:
        """Begin all attempts, with one thread more whenever those there are take their time."""
        for number in range(most):
            pace = PACE
            while number and self._keeps_pace(pace):
                pace = min(2 * pace, MAX_PACE)
            if not self._start_thread():
                return

    def _keeps_pace(self, pace: float) -> bool:
        # Threads that are not needed would only take turns with each other, and so would
        # this one if it were woken by each attempt. This is about this process, and real
        # time: on the clock nothing has passed yet.
        ended = self._ended
        return not self._all_taken.wait(pace) and self._ended != ended

    def _start_thread(self) -> bool:
        task = self._take()
        if task is None:
            return False
        # Each takes part in the clock before this thread goes on, or a fake
        # clock would take the crew for not being there; and in a known order.
        ready = threading.Event()
        threading.Thread(
            target=self._work, args=(task, ready), name="moby-plugins", daemon=True
        ).start()
        ready.wait()
        return True

    def end(self) -> None:
        # In this order: who looks for what was settled, and finds nothing, looks whether to stop.
        self.stop.set()
        self._news.set()

    def next_settled(self) -> list[R] | None:
        # None where it was stopped. What is settled may be None itself.
        while not self.stop.is_set():
            self._clock.wait(self._news)
            with self._lock:
                if self._settled:
                    return [self._settled.popleft()]
                self._news.clear()
        return None

    def _work(self, task: _Task[T] | None, ready: threading.Event) -> None:
        with self._clock.working():
            ready.set()
            while task is not None and not self.stop.is_set():
                outcome = self._try(task)
                settled = None if outcome is None else [self._settle(outcome)]
                with self._lock:
                    self._ended += 1
                    if settled is None:
                        heapq.heappush(self._tasks, (task.due, task.index, task))
                        self._all_taken.clear()
                    else:
                        self._settled += settled
                        self._news.set()
                task = self._take()

    def _take(self) -> _Task[T] | None:
        with self._lock:
            if self._tasks:
                return heapq.heappop(self._tasks)[-1]
            self._all_taken.set()
            return None

    def _try(self, task: _Task[T]) -> Outcome[T] | None:
        # None where it is to be tried again. The wait is inside, for what a clock raises.
        began = self._clock.now()
        try:
            if self._clock.wait(self.stop, max(task.due - began, 0.0)):
                return None
            # Its own time only: what it waited for a free thread is not held against it.
            task.tries.postpone(self._clock.now() - task.due)
            return Outcome(task.index, value=task.attempt(task.tries.number))
        except PluginError as error:
            try:
                return self._after(error, task)
            except BaseException as raised:  # by a policy or a handler of the log, say
                return Outcome(task.index, error=raised)
        except BaseException as error:  # handed to the caller, whose error it is
            return Outcome(task.index, error=error)

    def _after(self, error: PluginError, task: _Task[T]) -> Outcome[T] | None:
        now = self._clock.now()
        delay = task.tries.after(error, now)
        if delay is None:
            return Outcome(task.index, error=error)
        log_retry(error, delay)
        task.due = now + delay
        return None
