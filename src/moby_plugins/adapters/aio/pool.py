"""Calls and connections of one transport in one event loop: turns, deadlines, idle connections.

A *turn* is one of the ``TURNS`` permissions to have a call under way at the same time. A call gives
its turn back however it ends, without waiting for a task to run. All waiting happens in
``Call.wait``, which ends at the deadline or when the transport is closed.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Generic, Protocol, Self, TypeVar

from moby_plugins.adapters.aio.links import may_touch
from moby_plugins.adapters.http.deadline_socket import ClosedHereError
from moby_plugins.adapters.http.pool import PROCESS, IdleConnections, Kept, replaceable

# The most calls at once to one plugin; a stream counts until its head was received. More would slow
# the plugin down rather than speed up the calls. Also the most idle connections.
TURNS = 64

C = TypeVar("C", bound=Kept)


class Closable(Protocol):
    """A connection or the like over which a call is made."""

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        ...


def timed_out() -> OSError:
    """Return the error for a deadline that has passed."""
    return TimeoutError("timed out")


class _Waiter(asyncio.Future[None]):
    """A future whose ``resume`` continues the waiting task without another iteration of the loop.

    A plain future schedules its task for the next iteration, which takes microseconds.
    """

    __slots__ = ("_task",)
    _task: tuple[Callable[..., object], Context]

    def add_done_callback(
        self, fn: Callable[[Self], object], /, *, context: Context | None = None
    ) -> None:
        """Add the callback that continues the task, and store it so that ``resume`` can call it."""
        super().add_done_callback(fn, context=context)
        # An empty context is false.
        self._task = fn, copy_context() if context is None else context

    def resume(self) -> None:
        """Continue the task at once, in its own context, as the loop would."""
        proceed, context = self._task
        # The handler of a signal may cancel the future between any two of these steps.
        if not self.remove_done_callback(proceed):
            return  # the loop continues the task
        try:
            self.set_result(None)
        except asyncio.InvalidStateError:
            super().add_done_callback(proceed, context=context)
            return
        context.run(proceed, self)


class Call:
    """One call, from its turn to the last byte of its response, with the deadline ``ends``.

    ``ends`` is on the loop's clock. To be used in the thread of the loop.
    """

    __slots__ = ("_loop", "_scope", "carrier", "failure", "has_turn", "timer", "waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, ends: float | None) -> None:
        self._loop = loop
        self._scope: asyncio.Timeout | None = None
        # Returns the error of all further operations, once the call has failed.
        self.failure: Callable[[], OSError] | None = None
        # What its task is waiting for, if it has to be woken. It refers to the task.
        self.waiter: _Waiter | None = None
        # Closed if the call fails.
        self.carrier: Closable | None = None
        self.has_turn: bool = False
        # Ends the call at its deadline.
        self.timer: asyncio.TimerHandle | None = None
        if ends is not None:
            self.timer = loop.call_at(ends, self.fail, timed_out, context=Context())

    def check(self) -> None:
        """Raise ``OSError`` if the call has failed: ``TimeoutError`` after its deadline."""
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
        """Wake the task, which continues in the loop's next iteration."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def resume(self) -> None:
        """Wake the task, which continues at once.

        Only for the end of a callback of the loop that no task runs.
        """
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
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
        """Wake the call, also if it is waiting for the caller's own iterable."""
        if self._scope is not None:
            self._loop.call_soon(self._leave_scope)
        self.wake()

    def interruptible(self) -> "_Interruptible":
        """Return a context for waiting for the caller's iterable, which ``interrupt`` ends."""
        return _Interruptible(self)

    def _leave_scope(self) -> None:
        if self._scope is not None:
            self._scope.reschedule(-math.inf)


class _Interruptible:
    """A context that ``Call.interrupt`` cancels, in the way of ``asyncio.timeout``.

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
        # All calls that have begun and not ended.
        self.calls: set[Call] = set()
        self._free = TURNS
        self._waiting: deque[Call] = deque()
        self._idle: deque[tuple[int, C]] = deque()

    @property
    def is_usable(self) -> bool:
        """Whether it belongs to this process and to a loop that can still run."""
        return self.process == PROCESS.number and not self.loop.is_closed()

    def begin(self, ends: float | None) -> Call:
        """Begin a call with the deadline ``ends``; ``None`` for none.

        Raise ``ClosedHereError`` once this pool is closed.
        """
        if self._closed:
            raise ClosedHereError
        call = Call(self.loop, ends)
        self.calls.add(call)
        return call

    def end(self, call: Call) -> None:
        """Remove ``call``, whose response is complete or which has failed."""
        call.carrier = None
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
        self.calls.discard(call)

    def take_at_once(self, call: Call) -> C | None:
        """Give ``call`` a turn if one is free, and return an idle connection.

        Returns ``None`` if no turn is free or there is no idle connection.
        """
        if not self._free:
            return None
        self._free -= 1
        call.has_turn = True
        return self.take()

    async def take_turn(self, call: Call) -> None:
        """Wait until ``call`` has a turn; raise ``OSError`` if the call fails first."""
        if call.has_turn:
            return
        self._waiting.append(call)
        try:
            while not call.has_turn:
                await call.wait()
        finally:
            if not call.has_turn:
                self._waiting.remove(call)

    def pass_turn(self, call: Call) -> None:
        """Pass the turn of ``call``, if it has one, to the next waiting call."""
        if not call.has_turn:
            return
        call.has_turn = False
        if self._waiting:
            # A call that is being cancelled will pass it on.
            following = self._waiting.popleft()
            following.has_turn = True
            if not self.loop.is_closed():
                following.wake()
        else:
            self._free += 1

    def take(self) -> C | None:
        """Take an idle connection out, ``None`` if there is none that can be used."""
        while (idle := self.shared.take(self._idle)) is not None:
            if not replaceable(idle, self.process):
                return idle[1]
            idle[1].close()
        return None

    def keep(self, connection: C) -> None:
        """Keep ``connection`` for another call, or close it if there are enough."""
        if self._closed or len(self._idle) >= TURNS:
            connection.close()
        else:
            self.shared.add((self.process, connection), self._idle)

    def close(self) -> None:
        """End all calls with ``ClosedHereError``, close idle connections; in any thread."""
        if self.is_usable and not may_touch(self.loop):
            # A loop that has just been closed runs no callback.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._close)
                return
        self._close()

    def _close(self) -> None:
        self._closed = True
        for call in tuple(self.calls):
            if self.is_usable:
                call.fail(ClosedHereError)
            elif call.carrier is not None:  # its loop no longer runs its task
                call.carrier.close()
        while (idle := self.shared.take(self._idle)) is not None:
            idle[1].close()
