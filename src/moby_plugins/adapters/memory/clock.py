"""A fake clock that is controlled by tests.

How it keeps exact time over threads:

- A thread is a *participant* while it is inside ``working()``, and while it sleeps or
  waits. A participant is either *running* or *blocked*.
- Time does not move while any participant is running. When the last running one blocks
  or leaves, that thread takes the *turn*.
- A turn wakes one blocked thread. If a thread waits for an event that has been set, it is
  that thread; else time jumps to the next moment at which something is due. A scripted
  event (a function that was passed to ``at``) goes before threads that sleep until the
  same moment; among threads, the one that was woken, or joined, the longest ago goes
  first. So threads run one after the other, and a test sees the same order every time.
  The exception is a thread that runs on for a fortieth of the watchdog's time, as in real
  I/O: others that wait for an event that has been set are then woken while it runs.
- If nothing is due and no event is set, no thread can continue: every blocked thread
  raises ``ClockStuckError``, which names them all. The watchdog, in real time, raises the
  same if a running thread neither blocks nor leaves, or if scripted events only lead to
  other scripted events, whose script is then dropped.
"""

import heapq
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

from attrs import define, field

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.retry import finite, no_nan
from moby_plugins.ports import SleepEvent

T = TypeVar("T")

# The share of the watchdog's time after which a running thread is assumed to be in real I/O:
# threads whose event is set then continue while it runs.
_PATIENCE = 1 / 40


# The most scripted events at one moment: more can only come from one that adds itself again.
_MOST_AT_ONCE = 100_000


class ClockStuckError(RuntimeError):
    """Raised if a ``FakeClock`` is stuck: it can wake no thread, or a thread runs without end."""

    __module__ = AtDoor("moby_plugins.testing", __name__)


@define(eq=False)
class _Participant:
    """A thread that is inside ``working``, ``sleep`` or ``wait`` of the clock."""

    name: str
    turn: int
    depth: int = 0
    running: bool = True
    until: float | None = None
    event: threading.Event | None = None
    woken: threading.Event = field(factory=threading.Event)
    error: BaseException | None = None

    def state_text(self) -> str:
        if self.running:
            return f"{self.name} is running"
        until = "" if self.until is None else f" until {self.until:g}"
        return f"{self.name} {'sleeps' if self.event is None else 'waits for an event'}{until}"


class FakeClock:
    """A clock for tests: no thread sleeps in real time, and the schedule is exact.

    Any number of threads may share it, and nothing is patched. There is nothing to close.

    Args:
        start: Its initial time, in seconds.
        watchdog: Seconds of real time after which ``ClockStuckError`` is raised if a thread inside
            ``working`` neither leaves the block nor waits on this clock.

    Attributes:
        sleeps: The seconds of every call of ``sleep``, in order.

    Examples:
        ```python
        from moby_plugins.testing import FakeClock

        clock = FakeClock()
        came = []
        clock.at(3, lambda: came.append(clock.now()))
        clock.sleep(5)
        assert came == [3] and clock.now() == 5 and clock.sleeps == [5]
        ```
    """

    def __init__(self, start: float = 0.0, *, watchdog: float = 10.0) -> None:
        self.sleeps: list[float] = []
        self._now = float(finite("start", start))
        self._watchdog = no_nan("watchdog", watchdog)
        self._lock = threading.Lock()
        self._participants: dict[int, _Participant] = {}
        self._script: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._scripting: int | None = None
        self._at_once = 0
        self._moved = time.monotonic()

    def __repr__(self) -> str:
        return f"<FakeClock at {self._now:g} s>"

    def now(self) -> float:
        """Return the seconds on this clock."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Wait until this clock has advanced by ``seconds``, without waiting in real time.

        Args:
            seconds: How long; for 0 or less, return at once.

        Raises:
            ClockStuckError: If every thread waits and nothing is due that would wake one. An
                exception of a function that was passed to ``at`` may be raised too.
            ValueError: If ``seconds`` is NaN.
        """
        with self._lock:
            self.sleeps.append(no_nan("seconds", seconds))
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Sleep without an entry in ``sleeps``: for tests that let time pass.

        Args:
            seconds: How long.
        """
        if no_nan("seconds", seconds) > 0:
            self._block(None, seconds)

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait until an event is set, or until this clock has advanced by ``timeout`` seconds.

        While it waits, this thread is one of those that the clock wakes one after the other, in the
        same order in each run. The order is only reproducible if the event is set by ``at``, or by
        a thread inside ``working``, ``sleep`` or ``wait``; any other thread may set it too. A wait
        for a ``SleepEvent`` with a ``timeout`` is listed in ``sleeps``.

        Args:
            event: The event.
            timeout: The most seconds to wait, on this clock; ``None`` for no limit.

        Returns:
            Whether the event is set; false if the time-out expired first.

        Raises:
            ClockStuckError: If every thread waits and nothing is due that would wake one. An
                exception of a function that was passed to ``at`` may be raised too.
            ValueError: If ``timeout`` is NaN.
        """
        if timeout is not None:
            no_nan("timeout", timeout)
        if isinstance(event, SleepEvent) and timeout is not None:
            with self._lock:
                self.sleeps.append(timeout)
        if not event.is_set():
            self._block(event, timeout)
        return event.is_set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Stop this clock while this thread runs the block and does not sleep or wait on it.

        Yields:
            Nothing.
        """
        participant = self._enter()
        try:
            yield
        finally:
            self._leave(participant)

    def at(self, moment: float, do: Callable[[], object]) -> None:
        """Call a function at a moment, before threads that sleep until then continue.

        The function runs in one of the threads that wait on this clock, and must not sleep or wait
        itself. Its exception is raised by the ``sleep`` or ``wait`` of that thread or, if that
        thread is leaving ``working`` instead, by the ``sleep`` or ``wait`` of the thread that
        continues next. A function that adds itself again for the same moment without end causes
        ``ClockStuckError``.

        Args:
            moment: When, in seconds on this clock.
            do: The function.

        Raises:
            ValueError: If ``moment`` is NaN or infinite.
        """
        with self._lock:
            script = (finite("moment", moment), next(self._order), do)
            heapq.heappush(self._script, script)

    def run(self, *functions: Callable[[], T]) -> list[Future[T]]:
        """Call each function in its own thread, at this moment; return when all have ended.

        They start one after the other, in the order given.

        Args:
            functions: The functions.

        Returns:
            A future for each, with the function's ``result()`` or ``exception()``.
        """
        futures: list[Future[T]] = [Future() for _ in functions]
        done = [threading.Event() for _ in functions]
        with self.working():
            for parts in zip(functions, futures, done, strict=True):
                entered = threading.Event()
                threading.Thread(target=self._run, args=(entered, *parts), daemon=True).start()
                entered.wait()
            for event in done:
                self.wait(event)
        return futures

    def _run(
        self,
        entered: threading.Event,
        function: Callable[[], T],
        future: Future[T],
        done: threading.Event,
    ) -> None:
        with self.working():
            entered.set()
            try:
                self._block(None, 0.0)
                future.set_result(function())
            except BaseException as error:  # the future holds it
                future.set_exception(error)
            finally:
                done.set()

    def _enter(self) -> _Participant:
        ident = threading.get_ident()
        with self._lock:
            participant = self._participants.get(ident)
            if participant is None:
                name = threading.current_thread().name
                participant = self._participants[ident] = _Participant(name, next(self._order))
                self._moved = time.monotonic()
            participant.depth += 1
        return participant

    def _leave(self, participant: _Participant) -> None:
        with self._lock:
            participant.depth -= 1
            if participant.depth:
                return
            del self._participants[threading.get_ident()]
            self._moved = time.monotonic()
        try:
            self._take_turn()
        except BaseException as error:
            self._hand_on(error)

    def _block(self, event: threading.Event | None, seconds: float | None) -> None:
        if self._scripting == threading.get_ident():
            raise ClockStuckError("a function that was passed to at() must not sleep or wait")
        with self.working():
            participant = self._participants[threading.get_ident()]
            with self._lock:
                participant.until = None if seconds is None else self._now + seconds
                participant.event, participant.running = event, False
                participant.woken.clear()
                self._moved = time.monotonic()
            try:
                self._take_turn()
                self._await(participant)
            finally:
                with self._lock:
                    participant.running = True

    def _take_turn(self) -> None:
        began = time.monotonic()
        while (scripted := self._next()) is not None:
            try:
                scripted()
            finally:
                self._scripting = None
            if self._at_once > _MOST_AT_ONCE or time.monotonic() - began > self._watchdog:
                self._stop_script()

    def _stop_script(self) -> None:
        # If scripted events only lead to other ones, no thread is ever woken.
        with self._lock:
            if self._at_once > _MOST_AT_ONCE:
                reason = f"more than {_MOST_AT_ONCE:,} scripted events at {self._now:g}"
            else:
                reason = f"nothing but scripted events for {self._watchdog:g} s of real time"
            self._script.clear()
            self._at_once = 0
            self._give_up(reason)

    def _next(self) -> Callable[[], object] | None:
        # Wakes one thread, or returns a scripted event for the caller to run.
        with self._lock:
            participants = self._participants.values()
            if (
                self._scripting
                or not participants
                or any(participant.running for participant in participants)
            ):
                return None
            blocked = sorted(participants, key=lambda participant: participant.turn)
            for participant in blocked:
                if participant.event is not None and participant.event.is_set():
                    self._wake(participant)
                    return None
            moment = min((p.until for p in blocked if p.until is not None), default=None)
            if self._script and (moment is None or self._script[0][0] <= moment):
                due, _, scripted = heapq.heappop(self._script)
                self._at_once = 0 if due > self._now else self._at_once + 1
                self._now = max(self._now, due)
                self._scripting = threading.get_ident()
                return scripted
            if moment is None:
                self._give_up("all threads wait, and no scheduled event can wake them")
            else:
                self._now = max(self._now, moment)
                self._wake(
                    next(participant for participant in blocked if participant.until == moment)
                )
            return None

    def _hand_on(self, error: BaseException) -> None:
        # A thread that leaves has no sleep() that could raise the error of a scripted event.
        with self._lock:
            blocked = [
                participant
                for participant in self._participants.values()
                if not participant.running
            ]
            if not blocked:
                raise error
            following = min(blocked, key=lambda p: float("inf") if p.until is None else p.until)
            following.error = error
            self._wake(following)

    def _wake(self, participant: _Participant) -> None:
        participant.running = True
        participant.turn = next(self._order)
        self._moved = time.monotonic()
        participant.woken.set()

    def _await(self, participant: _Participant) -> None:
        patience = min(self._watchdog * _PATIENCE, threading.TIMEOUT_MAX)
        while not participant.woken.wait(patience):
            with self._lock:
                idle = time.monotonic() - self._moved
                happened = participant.event is not None and participant.event.is_set()
                if happened and idle >= patience and not participant.running:
                    self._wake(participant)
                elif idle > self._watchdog:
                    self._give_up(f"no thread made progress for {self._watchdog:g} s of real time")
        error, participant.error = participant.error, None
        if error is not None:
            raise error

    def _give_up(self, reason: str) -> None:
        states = "; ".join(participant.state_text() for participant in self._participants.values())
        for participant in self._participants.values():
            if not participant.running:
                participant.error = ClockStuckError(f"{reason}: {states}")
                self._wake(participant)
