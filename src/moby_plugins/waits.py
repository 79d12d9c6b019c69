"""What waits wait for, and what ends them: events, and cancellations of callers.

Nothing here waits for a lock, which a signal handler could find taken by the thread that it
interrupts. These are values of the door ``moby_plugins.ports``.
"""

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from moby_plugins.deferred_names import AtDoor

_DOOR = AtDoor("moby_plugins.ports", __name__)

# Seconds that a main thread waits at once, for the handlers of signals to run.
_LONGEST_SIGNALLED = 0.25


class WakeEvent(threading.Event):
    """An event that may be set by a signal handler, and is never cleared. Threads share it.

    ``threading.Event`` guards itself with a lock, which the thread that the handler interrupts may
    hold. Here each thread that waits has a lock of its own, and ``set`` only releases.
    """

    __module__ = _DOOR

    def __init__(self) -> None:
        # Without the lock and the list of waiting threads that the class above makes.
        self._happened = False
        self._asleep: list[threading.Lock] = []

    def is_set(self) -> bool:
        """Return whether it was set."""
        return self._happened

    def set(self) -> None:
        """Wake all that wait, now or later."""
        self._happened = True
        while True:
            try:
                lock = self._asleep.pop()
            except IndexError:
                return
            lock.release()

    def clear(self) -> None:
        """Raise ``RuntimeError``: what has ended does not begin again."""
        raise RuntimeError("this event stays set")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set.

        Args:
            timeout: Seconds at most; ``None`` for no bound.

        Returns:
            Whether it is set.
        """
        if self._happened:
            return True
        ends = math.inf if timeout is None else time.monotonic() + timeout
        # Python runs signal handlers in the main thread, and one whose signal comes right before
        # the system call that blocks only when that returns.
        is_main = threading.current_thread() is threading.main_thread()
        longest = _LONGEST_SIGNALLED if is_main else threading.TIMEOUT_MAX
        lock = threading.Lock()
        lock.acquire()
        self._asleep.append(lock)
        try:
            # Looked at after the lock was listed, as ``set`` does both the other way round.
            while not self.is_set() and (left := ends - time.monotonic()) > 0:
                lock.acquire(timeout=min(left, longest))
        finally:
            with suppress(ValueError):
                self._asleep.remove(lock)
        return self._happened

    def __repr__(self) -> str:
        return f"<WakeEvent: {'set' if self._happened else 'unset'}>"


class SleepEvent(WakeEvent):
    """What ends a sleep before its time: to wait for it with a time-out is to sleep.

    Only clocks that list sleeps, as ``FakeClock`` does, tell it from another event.
    """

    __module__ = _DOOR


class Cancellation:
    """Ends waits from another thread, from a signal handler, or before they begin.

    Give it to ``get(..., cancel=cancel)``; ``set`` then ends that ``get`` at once, with
    ``WaitCancelledError``. One may serve for many calls, at the same time or one after the other,
    and stays set. Threads may share it; there is nothing to close.

    Attributes:
        event: Set with it, for clocks and transports that wait.

    Examples:
        ```python
        import pytest

        from moby_plugins import Cancellation, WaitCancelledError
        from moby_plugins.testing import MemoryRegistry

        cancel = Cancellation()
        with MemoryRegistry() as registry:
            registry.clock.at(3, cancel.set)  # or from another thread, or a signal handler
            with pytest.raises(WaitCancelledError):
                registry.get("shelf", "VolumeDriver", cancel=cancel)
            assert registry.clock.now() == 3
        ```
    """

    __module__ = _DOOR

    def __init__(self) -> None:
        self.event: WakeEvent = WakeEvent()
        # No lock guards it, which an interrupted thread could hold: each step is atomic.
        self._callbacks: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        """End what waits with this, now or later; a second time changes nothing."""
        self.event.set()
        while True:
            try:
                _, callback = self._callbacks.popitem()
            except KeyError:
                return
            callback()

    def is_set(self) -> bool:
        """Return whether ``set`` was called."""
        return self.event.is_set()

    def calling(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Have ``set`` call a function once, while a ``with`` block lasts; at once if it is set.

        It is called by the thread that sets, which may be inside a signal handler: it must neither
        wait nor raise. It may still be running when the block ends.

        Args:
            callback: What to call.

        Returns:
            The context manager.
        """
        return _Calling(self, self._callbacks, callback)

    def __repr__(self) -> str:
        return f"<Cancellation: {'set' if self.is_set() else 'not set'}>"


class _Calling:
    """A callback of ``cancellation`` for one ``with`` block, by itself as its key."""

    def __init__(
        self,
        cancellation: Cancellation,
        callbacks: "dict[object, Callable[[], object]]",
        callback: Callable[[], object],
    ) -> None:
        self._cancellation = cancellation
        self._callbacks = callbacks
        self._callback = callback

    def __enter__(self) -> None:
        self._callbacks[self] = self._callback
        if self._cancellation.is_set():
            try:
                self._cancellation.set()
            except BaseException:
                self.__exit__()
                raise

    def __exit__(self, *_: object) -> None:
        self._callbacks.pop(self, None)
