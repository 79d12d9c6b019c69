"""Calls and connections of one transport in one event loop: turns, deadlines, idle connections.

A *turn* is one of the ``TURNS`` permissions to have a call under way at the same time; there are
more while no call ends (``STALLED``). A call gives its turn back however it ends, without waiting
for a task to run. All waiting happens in ``Call.wait``, which ends at the deadline or when the
transport is closed.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, Protocol, Self, TypeVar

from moby_plugins.adapters.aio.links import may_touch
from moby_plugins.adapters.http.deadline_socket import ClosedHereError
from moby_plugins.adapters.http.pool import PROCESS, IdleConnections, Kept, is_stale
from moby_plugins.failures import call_all

# The most calls at once to one plugin; a stream counts until its head was received. More would slow
# the plugin down rather than speed up the calls. Also the most idle connections.
TURNS = 64
# If no call gives its turn back for so many seconds, the plugin is not busy: its calls wait for
# something else, such as an entry of a log. Then all calls that wait for a turn get one.
STALLED = 0.1

C = TypeVar("C", bound=Kept)


class Closable(Protocol):
    """An object over which a call is made, such as a connection, and that can be closed."""

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        ...


def timed_out() -> OSError:
    """Return the ``TimeoutError`` for a deadline that has passed."""
    return TimeoutError("timed out")


class _Waiter(asyncio.Future[None]):
    """A future whose ``resume`` continues the waiting task without another iteration of the loop.

    A plain future schedules its task for the next iteration, which takes microseconds. ``task`` is
    the callback that continues the task, and its context, until the loop is given both.
    """

    __slots__ = ("task",)
    task: tuple[Callable[..., object], Context] | None

    def add_done_callback(
        self, fn: Callable[[Self], object], /, *, context: Context | None = None
    ) -> None:
        """Store the callback that continues the task."""
        # An empty context is false.
        self.task = fn, copy_context() if context is None else context

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the future: the loop continues the task."""
        if self.done():
            return False
        self._leave_to_loop()
        return super().cancel(msg)

    # The handler of a signal may cancel the future between any two steps of these functions.

    def wake(self) -> None:
        """Let the loop continue the task in its next iteration."""
        self._leave_to_loop()
        with suppress(asyncio.InvalidStateError):
            self.set_result(None)

    def resume(self) -> None:
        """Continue the task at once, in its own context, as the loop would."""
        try:
            self.set_result(None)
        except asyncio.InvalidStateError:
            return  # it was cancelled
        if self.task is not None:
            proceed, context = self.task
            context.run(proceed, self)

    def _leave_to_loop(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            super().add_done_callback(task[0], context=task[1])


class Call:
    """A call of a plugin, from its wait for a turn to the last byte of its response.

    ``ends`` is its deadline on the loop's clock, infinity for none; the pool ends a call that is
    late. Only ``abandon`` may be called in other threads than that of the loop.
    """

    __slots__ = ("_loop", "_scope", "carrier", "ends", "failure", "has_turn", "waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, ends: float = math.inf) -> None:
        self._loop = loop
        self.ends: float = ends
        self._scope: asyncio.Timeout | None = None
        # Returns the error of all further operations, once the call has failed.
        self.failure: Callable[[], OSError] | None = None
        # What its task is waiting for, if it has to be woken. It refers to the task.
        self.waiter: _Waiter | None = None
        # Closed if the call fails.
        self.carrier: Closable | None = None
        self.has_turn: bool = False

    def check(self) -> None:
        """Raise an ``OSError`` if the call has failed: ``TimeoutError`` after its deadline."""
        if self.failure is not None:
            raise self.failure()

    def woken(self) -> Awaitable[None]:
        """Return a future that ends at ``wake`` or ``resume``.

        Raise ``OSError`` if the call has failed, ``TimeoutError`` after its deadline.

        The future may end spuriously, and also ends if the call fails; then ``failure`` is set.
        """
        if self.failure is not None:
            raise self.failure()
        self.waiter = waiter = _Waiter(loop=self._loop)
        waiter.task = None
        return waiter

    async def wait(self) -> None:
        """Wait for ``wake`` or ``resume``; may return spuriously.

        Raise ``OSError`` if the call has failed, ``TimeoutError`` after its deadline.
        """
        try:
            await self.woken()
        finally:
            self.waiter = None
        self.check()

    async def wait_until(self, moment: float) -> None:
        """Wait for ``wake``, or until the loop's time is ``moment``.

        Raise ``OSError`` if the call has failed, ``TimeoutError`` after its deadline.
        """
        timer = self._loop.call_at(moment, self.wake)
        try:
            await self.wait()
        finally:
            timer.cancel()

    def wake(self) -> None:
        """Wake the task that makes this call; it continues in the loop's next iteration."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.wake()

    def resume(self) -> None:
        """Wake the task that makes this call; it continues at once.

        Call this only as the last step of a callback that the loop runs outside all tasks.
        """
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.resume()

    def fail(self, failure: Callable[[], OSError]) -> None:
        """End the call: pending and further operations raise the error that ``failure`` returns."""
        if self.failure is None:
            self.failure = failure
        if self.carrier is not None:
            self.carrier.close()
        if not self._loop.is_closed():
            self.interrupt()

    def abandon(self) -> None:
        """End a call that no task uses any more; may be called in any thread."""
        if not self._loop.is_closed() and not may_touch(self._loop):
            with suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(self.fail, ClosedHereError)
                return
        self.fail(ClosedHereError)

    def interrupt(self) -> None:
        """Wake the call's task, also while it waits for a chunk of the caller's own iterable."""
        if self._scope is not None:
            self._loop.call_soon(self._leave_scope)
        self.wake()

    def interruptible(self) -> "_Interruptible":
        """Return a context for waiting for the caller's iterable; ``interrupt`` ends that wait."""
        return _Interruptible(self)

    def _leave_scope(self) -> None:
        if self._scope is not None:
            self._scope.reschedule(-math.inf)


class _Interruptible:
    """A context whose block ``Call.interrupt`` cancels, as ``asyncio.timeout`` does when late.

    It swallows this cancellation, and no other, and sets ``interrupted``.
    """

    interrupted: bool = False

    def __init__(self, call: Call) -> None:
        self._call = call
        self._scope = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._call._scope = self._scope  # noqa: SLF001  the two classes belong together
        return self

    async def __aexit__(self, *raised: object) -> bool:
        self._call._scope = None  # noqa: SLF001
        try:
            await self._scope.__aexit__(*raised)  # type: ignore[arg-type]  # passed on as received
        except TimeoutError:
            self.interrupted = True
            return True
        return False


class LoopPool(Generic[C]):
    """The calls and idle connections of one transport in ``loop`` and this process.

    Only ``close`` may be called from other threads than that of its loop. ``shared`` bounds the
    idle connections, together with those of other transports.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: IdleConnections) -> None:
        self.loop = loop
        self.process: int = PROCESS.number
        self.shared = shared
        self._closed = False
        # All calls that have begun and not ended, in this order.
        # Whether each has a deadline.
        self.calls: dict[Call, bool] = {}
        self._with_deadline = 0
        self._free = TURNS
        self._waiting: deque[Call] = deque()
        # How many turns there are beyond ``TURNS``, and how many were given back so far.
        self._extra = 0
        self._given_back = 0
        self._stalling: asyncio.TimerHandle | None = None
        # Calls whose responses were received, to be resumed one after the other.
        self._answered: deque[Call] = deque()
        self._idle: deque[tuple[int, C]] = deque()
        # Calls end long before their deadlines, so one timer for all is cheaper than one for each:
        # it is set to no later than the earliest deadline.
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    @property
    def is_usable(self) -> bool:
        """Whether this pool belongs to this process and to a loop that can still run."""
        return self.process == PROCESS.number and not self.loop.is_closed()

    def begin(self, ends: float | None) -> Call:
        """Begin a call with the deadline ``ends``, if any; it has a turn if one is free.

        Raise ``ClosedHereError`` once this pool is closed.
        """
        if self._closed:
            raise ClosedHereError
        if ends is None:
            call = Call(self.loop)
        else:
            call = Call(self.loop, ends)
            if ends < self._due:
                self._watch(ends)
            self._with_deadline += 1
        self.calls[call] = ends is not None
        if self._free:
            self._free -= 1
            call.has_turn = True
        return call

    def end(self, call: Call) -> None:
        """Remove ``call``, which is complete or has failed; pass its turn to a waiting call."""
        call.carrier = None
        if self.calls.pop(call, False):
            self._with_deadline -= 1
            if not self._with_deadline:  # else time that jumps would jump to its deadline
                self._unwatch()
        if call.has_turn:
            self.pass_turn(call)

    async def take_turn(self, call: Call) -> None:
        """Wait until ``call`` has a turn (may be sent); raise ``OSError`` if it fails first."""
        if call.has_turn:
            return
        self._waiting.append(call)
        if self._stalling is None:
            self._watch_for_stall()
        try:
            while not call.has_turn:
                await call.wait()
        finally:
            if not call.has_turn:
                self._waiting.remove(call)
                self._unwatch_stall()

    def pass_turn(self, call: Call) -> None:
        """Pass the turn of ``call``, the right to be sent, to the next call that waits for one."""
        if not call.has_turn:
            return
        call.has_turn = False
        self._given_back += 1
        if self._waiting:
            self._give_turn()
            self._unwatch_stall()
        elif self._extra:
            self._extra -= 1
        else:
            self._free += 1

    def _give_turn(self) -> None:
        # A call that is being cancelled will pass it on.
        following = self._waiting.popleft()
        following.has_turn = True
        if not self.loop.is_closed():
            following.wake()

    def _watch_for_stall(self) -> None:
        due = self.loop.time() + STALLED
        self._stalling = self.loop.call_at(
            due, self._end_stall, self._given_back, context=Context()
        )

    def _unwatch_stall(self) -> None:
        if not self._waiting and self._stalling is not None:
            self._stalling.cancel()
            self._stalling = None

    def _end_stall(self, given_back: int) -> None:
        self._stalling = None
        if self._given_back == given_back:
            while self._waiting:
                self._extra += 1
                self._give_turn()
        elif self._waiting:
            self._watch_for_stall()

    def resume_together(self, call: Call) -> None:
        """Resume ``call`` together with others whose responses the loop reports at the same time.

        With many tasks it is cheaper to receive all responses first, and then to run all tasks.
        """
        # First, as the handler of a signal may raise between the two.
        if not self._answered:
            self.loop.call_soon(self._resume_answered)
        self._answered.append(call)

    def _resume_answered(self) -> None:
        answered = self._answered
        try:
            while answered:
                answered.popleft().resume()
        finally:
            if answered:  # a task has raised ``KeyboardInterrupt`` or the like
                self.loop.call_soon(self._resume_answered)

    def _watch(self, due: float) -> None:
        """Set the timer that ends late calls to the moment ``due``."""
        if self._timer is not None:
            self._unwatch()
        # In this order: the handler of a signal may raise between the two.
        self._timer = self.loop.call_at(due, self._end_late, context=Context())
        self._due = due

    def _unwatch(self) -> None:
        timer, self._timer, self._due = self._timer, None, math.inf
        if timer is not None:
            timer.cancel()

    def _end_late(self) -> None:
        """End all calls whose deadline has passed, and watch the others."""
        # A loop may be early by the resolution of its clock.
        now = max(self._due, self.loop.time())
        self._timer, self._due = None, math.inf
        # A copy, as the garbage collector may end abandoned calls at any step.
        calls = tuple(self.calls)
        following = min((call.ends for call in calls if call.ends > now), default=math.inf)
        if following < math.inf:
            self._watch(following)
        late = [call for call in calls if call.ends <= now]
        for call in sorted(late, key=lambda call: call.ends):
            call.fail(timed_out)

    def take(self) -> C | None:
        """Take an idle connection out of the pool; ``None`` if no connection can be used."""
        while (idle := self.shared.take(self._idle)) is not None:
            if not is_stale(idle, self.process):
                return idle[1]
            idle[1].close()
        return None

    def keep(self, connection: C) -> None:
        """Keep ``connection`` for another call; close it if the pool is full or closed."""
        if self._closed or len(self._idle) >= TURNS:
            connection.close()
        else:
            self.shared.add((self.process, connection), self._idle)

    def close(self) -> None:
        """End all calls with ``ClosedHereError``, and close idle connections.

        Any thread may call this.
        """
        if self.is_usable and not may_touch(self.loop):
            # A loop that has just been closed runs no callback.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._close)
                return
        self._close()

    def _close(self) -> None:
        self._closed = True
        if self.is_usable:
            self._unwatch()
        for call in tuple(self.calls):
            if self.is_usable:
                call.fail(ClosedHereError)
            elif call.carrier is not None:  # its loop no longer runs its task
                call.carrier.close()
        call_all(idle[1].close for idle in iter(partial(self.shared.take, self._idle), None))
