"""A selector for an event loop with fake time: instead of waiting, its time jumps.

The loop asks its selector to wait until the next timer is due. This selector first finds out
whether something real may still wake the loop:

- A *counted* piece of work, such as a job in an executor, certainly does: time does not move until
  the work has ended.
- A socket may become ready, and a thread that was started after the loop may call the loop: time
  does not move until all of them were silent for some real time. An idle connection would
  otherwise stop time for ever.
- A listening socket, and a UNIX connection both of whose ends are in this selector, delay nothing:
  only this loop's own tasks make them ready, or a peer of which nothing is known here.
"""

import asyncio
import heapq
import math
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any
from weakref import WeakSet

from moby_plugins.deferred_names import AtDoor

# The share of the watchdog's time after which silent sockets and threads are assumed to be idle.
_PATIENCE = 1 / 40
# The longest time in seconds that the system can wait.
_LONGEST = 1e6
# Decimal digits of times: asyncio compares times to a nanosecond, but sums of floats are inexact.
DIGITS = 9


class LoopStuckError(RuntimeError):
    """Raised if a ``FakeTimeLoop`` is stuck: no task can be woken, or a task never waits."""

    __module__ = AtDoor("moby_plugins.testing", __name__)


class JumpingSelector(selectors.DefaultSelector):
    """A selector that advances its time ``now`` instead of waiting, and then calls ``moved``.

    ``busy_since`` is the real time at which the loop was last about to wait. Descriptors that are
    in the map when ``start`` is called are the loop's own.
    """

    def __init__(self, now: float, watchdog: float, moved: Callable[[float], object]) -> None:
        super().__init__()
        self.now: float = now
        self.busy_since: float = time.monotonic()
        # The loop's threads whose jobs are counted: they are not asked what they do.
        self.workers: WeakSet[threading.Thread] = WeakSet()
        self._watchdog = watchdog
        self._patience = min(watchdog, _LONGEST) * _PATIENCE
        self._moved = moved
        self._own: set[int] = set()
        self._older = WeakSet(threading.enumerate())
        self._counted: list[Callable[[], bool]] = []
        self._script: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        # When the tasks were last looked at, and whether all had been cancelled by then.
        self._looked, self._were_cancelled = self.busy_since, False

    def start(self) -> None:
        """Note that the descriptors that are registered now are the loop's own."""
        self._own = self._descriptors()

    def add(self, moment: float, do: Callable[[], object]) -> None:
        """Call ``do`` at ``moment``, or soon if that has passed."""
        heapq.heappush(self._script, (float(moment), next(self._order), do))

    def hold_while(self, goes_on: Callable[[], bool]) -> None:
        """Stop time while ``goes_on()`` is true; the work's end must wake the loop."""
        self._counted.append(goes_on)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the ready events; if there are none, move the time on instead of waiting.

        The time moves to the next timer or scheduled event. If something real may come before, as
        the module's docstring says, this first waits for it in real time: until counted work has
        ended, or until sockets and threads were silent for a short time.
        """
        events = super().select(0)
        # Rounded, since a shorter sleep does not move time.
        due = math.inf if timeout is None else round(self.now + timeout, DIGITS)
        if self._script:
            due = min(due, self._script[0][0])
        real = time.monotonic()
        if events or due > self.now:
            events = events or self._wait(due)
            self.busy_since = time.monotonic()
            if not events:
                self.now = due
                self._moved(due)
        elif real - self.busy_since > self._watchdog:
            self._give_up(f"time did not move in {self._watchdog:g} s of real time")
        if real - self._looked > self._watchdog:
            self._look_at_tasks(real)
        self._play()
        return events

    def _wait(self, due: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for something real; return an empty list if time should move to ``due``."""
        is_working, threads = self._is_working(), self._threads()
        sockets = self._descriptors() - self._own
        if due < math.inf and not is_working:
            is_real = not self._older.issuperset(threads) or _may_be_reached(sockets)
            return super().select(self._patience) if is_real else []
        if not (is_working or threads or sockets):
            self._give_up("all tasks wait, and no scheduled event can wake them")
        events = super().select(min(self._watchdog, _LONGEST))
        if not events:
            what = "no socket was ready" if sockets else "no thread called the loop"
            if is_working:
                what = "a job in an executor or a process has been running"
            self._give_up(f"all tasks wait, and {what} for {self._watchdog:g} s of real time")
        return events

    def _descriptors(self) -> set[int]:
        return {key.fd for key in self.get_map().values()}

    def _is_working(self) -> bool:
        self._counted = [goes_on for goes_on in self._counted if goes_on()]
        return bool(self._counted)

    def _threads(self) -> set[threading.Thread]:
        """Return all threads but this one and those of the loop whose jobs are counted."""
        return {*threading.enumerate()} - {threading.current_thread(), *self.workers}

    def _play(self) -> None:
        # Only the events of this moment, not those that they add.
        added = next(self._order)
        while self._script and self._script[0][:2] < (self.now, added):
            heapq.heappop(self._script)[-1]()

    def _look_at_tasks(self, real: float) -> None:
        # Time may move for ever while tasks that swallow their cancellation sleep.
        tasks = asyncio.all_tasks()
        are_cancelled = bool(tasks) and all(task.cancelling() for task in tasks)
        if are_cancelled and self._were_cancelled:
            self._give_up(f"tasks were cancelled, and go on for {self._watchdog:g} s of real time")
        self._looked, self._were_cancelled = real, are_cancelled

    def _give_up(self, reason: str) -> None:
        # Raised here, it ends the running loop, which can then run again.
        self.busy_since = time.monotonic()
        tasks = sorted(f"{task.get_name()} in {_named(task)}" for task in asyncio.all_tasks())
        raise LoopStuckError(f"{reason}: {'; '.join(tasks) or 'there is no task'}")


def _may_be_reached(descriptors: Iterable[int]) -> bool:
    """Return whether a descriptor may become ready by anything else than its loop's tasks."""
    # A UNIX connection has an end at its address, and one that is connected to it.
    ends: Counter[object] = Counter()
    for number in descriptors:
        try:
            sock = socket.socket(fileno=number)
        except OSError:
            return True  # a pipe, for example
        try:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                continue
            here, there = sock.getsockname(), sock.getpeername()
        except OSError:
            return True
        finally:
            sock.detach()
        if sock.family != getattr(socket, "AF_UNIX", None) or bool(here) == bool(there):
            return True
        ends[here or there] += 1 if here else -1
    return any(ends.values())


def _named(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", None) or repr(coroutine)
