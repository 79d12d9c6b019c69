"""Calls and connections of one transport in one event loop: turns, deadlines, what is kept.

A turn belongs to a call, which gives it back in whatever way it ends: nothing here waits for a task
that has to run first. Waiting is done in one place, ``Call.wait``, which the deadline ends, and the
transport's ``close``.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Generic, Protocol, Self, TypeVar

from moby_plugins.adapters.aio.links import may_touch
from moby_plugins.adapters.http.deadline_socket import ClosedHereError
from moby_plugins.adapters.http.pool import PROCESS, IdleConnections, Kept, replaceable

# Calls that one plugin is sent at once; a stream counts until its head has come. More of them make
# the plugin slower, and not the calls faster. As many connections are kept.
TURNS = 64

C = TypeVar("C", bound=Kept)


class Closable(Protocol):
    """What a call is carried by."""

    def close(self) -> None:
        """Hang up; may be called more than once."""
        ...


def timed_out() -> OSError:
    """Make the error of a deadline that has passed."""
    return TimeoutError("timed out")


class Call:
    """One call, from its turn to the last byte of its response: until the loop's time ``ends``.

    For the thread of its loop.
    """

    __slots__ = ("_loop", "_scope", "_waiter", "carrier", "failure", "has_turn", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, ends: float | None) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._scope: asyncio.Timeout | None = None
        # Makes the error of all that is done from now on.
        self.failure: Callable[[], OSError] | None = None
        # What is closed where the call fails.
        self.carrier: Closable | None = None
        self.has_turn = False
        # What ends it at its deadline.
        self.timer: asyncio.TimerHandle | None = None
        if ends is not None:
            self.timer = loop.call_at(ends, self.fail, timed_out, context=Context())

    def check(self) -> None:
        """Raise ``OSError`` where the call has failed: ``TimeoutError`` after its deadline."""
        if self.failure is not None:
            raise self.failure()

    async def wait(self) -> None:
        """Wait for ``wake``; raises as ``check`` does. It may return for no reason."""
        if self.failure is not None:
            raise self.failure()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self.failure is not None:
            raise self.failure()

    async def wait_until(self, moment: float) -> None:
        """The same, but until the loop's time ``moment`` at most."""
        timer = self._loop.call_at(moment, self.wake)
        try:
            await self.wait()
        finally:
            timer.cancel()

    def wake(self) -> None:
        """Have ``wait`` return."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, failure: Callable[[], OSError]) -> None:
        """End the call: what waits in it raises what ``failure`` makes, and so does the rest."""
        if self.failure is None:
            self.failure = failure
        if self.carrier is not None:
            self.carrier.close()
        if not self._loop.is_closed():
            self.interrupt()

    def abandon(self) -> None:
        """End it where no task has it any more; in any thread."""
        if not self._loop.is_closed() and not may_touch(self._loop):
            with suppress(RuntimeError):  # the loop was closed since
                self._loop.call_soon_threadsafe(self.fail, ClosedHereError)
                return
        self.fail(ClosedHereError)

    def interrupt(self) -> None:
        """Have what waits look again, the caller's own iterable too."""
        if self._scope is not None:
            self._loop.call_soon(self._leave_scope)
        self.wake()

    def interruptible(self) -> "_Interruptible":
        """What the caller's iterable is waited for in: ``interrupt`` ends it."""
        return _Interruptible(self)

    def _leave_scope(self) -> None:
        if self._scope is not None:
            self._scope.reschedule(-math.inf)


class _Interruptible:
    """A block whose task is cancelled by ``Call.interrupt``, as by ``asyncio.timeout``.

    It swallows that cancellation, and no other: then ``interrupted`` is true.
    """

    interrupted: bool = False

    def __init__(self, call: Call) -> None:
        self._call = call
        self._scope = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._call._scope = self._scope  # noqa: SLF001  they are one
        return self

    async def __aexit__(self, *raised: object) -> bool:
        self._call._scope = None  # noqa: SLF001
        try:
            await self._scope.__aexit__(*raised)  # type: ignore[arg-type]  # as they came
        except TimeoutError:
            self.interrupted = True
            return True
        return False


class Place(Generic[C]):
    """One transport's calls and idle connections in ``loop``, in this process.

    For the thread of its loop, but for ``close``. ``shared`` bounds idle connections together with
    those of other transports.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: IdleConnections) -> None:
        self.loop = loop
        self.process: int = PROCESS.number
        self.shared = shared
        self._closed = False
        self._calls: set[Call] = set()
        self._free = TURNS
        self._waiting: deque[Call] = deque()
        self._idle: deque[tuple[int, C]] = deque()

    @property
    def is_here(self) -> bool:
        """Whether it belongs to this process and to a loop that can still run."""
        return self.process == PROCESS.number and not self.loop.is_closed()

    def begin(self, ends: float | None) -> Call:
        """A call until the loop's time ``ends``; raises ``OSError`` once closed."""
        if self._closed:
            raise ClosedHereError
        call = Call(self.loop, ends)
        self._calls.add(call)
        return call

    def end(self, call: Call) -> None:
        """Let go of ``call``, all of whose response has come, or which has failed."""
        call.carrier = None
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
        self._calls.discard(call)

    def take_at_once(self, call: Call) -> C | None:
        """An idle connection for ``call`` alone, if it need not wait for its turn, and has that."""
        if not self._free:
            return None
        self._free -= 1
        call.has_turn = True
        return self.take()

    async def take_turn(self, call: Call) -> None:
        """Wait until ``call`` has its turn, which ``give_turn`` gives back; raises ``OSError``."""
        if call.has_turn:
            return
        self._waiting.append(call)
        try:
            while not call.has_turn:
                await call.wait()
        finally:
            if not call.has_turn:
                self._waiting.remove(call)

    def give_turn(self, call: Call) -> None:
        """Give the turn of ``call``, where it has one, to the next that waits."""
        if not call.has_turn:
            return
        call.has_turn = False
        if self._waiting:
            # One that is being cancelled gives it on.
            following = self._waiting.popleft()
            following.has_turn = True
            if not self.loop.is_closed():
                following.wake()
        else:
            self._free += 1

    def take(self) -> C | None:
        """An idle connection for the caller alone."""
        while (idle := self.shared.take(self._idle)) is not None:
            if not replaceable(idle, self.process):
                return idle[1]
            idle[1].close()
        return None

    def keep(self, connection: C) -> None:
        """Keep ``connection`` for another call, or close it where there are enough."""
        if self._closed or len(self._idle) >= TURNS:
            connection.close()
        else:
            self.shared.add((self.process, connection), self._idle)

    def close(self) -> None:
        """End all calls with ``ClosedHereError``, and close what is idle. In any thread."""
        if self.is_here and not may_touch(self.loop):
            # What its loop does once it is closed is nothing.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._close)
                return
        self._close()

    def _close(self) -> None:
        self._closed = True
        for call in tuple(self._calls):
            if self.is_here:
                call.fail(ClosedHereError)
            elif call.carrier is not None:  # its task does not run any more
                call.carrier.close()
        while (idle := self.shared.take(self._idle)) is not None:
            idle[1].close()
