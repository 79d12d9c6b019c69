"""Events and cancellations, which signal handlers may set; public in ``moby_plugins.ports``.

Setting one takes no lock: a signal handler would deadlock on a lock that is held by the thread that
it interrupts.
"""

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.retry import no_nan

_DOOR = AtDoor("moby_plugins.ports", __name__)

# The most seconds of one blocking wait in the main thread, so that signal handlers can run.
_LONGEST_SIGNALLED = 0.25


class WakeEvent(threading.Event):
    """An event that a signal handler may set, and that is never cleared. Threads may share it.

    ``set`` of a ``threading.Event`` takes a lock, which the thread that the handler interrupts may
    hold. Here each waiting thread has a lock of its own, and ``set`` only releases these locks.
    """

    __module__ = _DOOR

    def __init__(self) -> None:
        # The base class's ``__init__`` would make a lock and a list of waiting threads: not used.
        self._happened = False
        self._asleep: list[threading.Lock] = []

    def is_set(self) -> bool:
        """Return whether the event was set."""
        return self._happened

    def set(self) -> None:
        """Set the event: all waits end, those that begin later too."""
        self._happened = True
        while self._asleep:
            try:
                lock = self._asleep.pop()
            except IndexError:  # another thread has taken the last one
                return
            lock.release()

    def clear(self) -> None:
        """Raise ``RuntimeError``, because this event cannot be cleared."""
        raise RuntimeError("a WakeEvent cannot be cleared: make a new one")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set, or the time-out expires.

        Args:
            timeout: The most seconds to wait; ``None`` for no limit.

        Returns:
            Whether the event is set.

        Raises:
            ValueError: If ``timeout`` is NaN.
        """
        if timeout is not None:
            no_nan("timeout", timeout)
        if self._happened:
            return True
        ends = math.inf if timeout is None else time.monotonic() + timeout
        # Python runs signal handlers in the main thread. If a signal arrives right before the
        # blocking system call, its handler runs only after that call: so limit each call.
        is_main = threading.current_thread() is threading.main_thread()
        longest = _LONGEST_SIGNALLED if is_main else threading.TIMEOUT_MAX
        lock = threading.Lock()
        lock.acquire()
        self._asleep.append(lock)
        try:
            # Test the event after appending the lock: ``set`` does both in the opposite order.
            while not self.is_set() and (left := ends - time.monotonic()) > 0:
                lock.acquire(timeout=min(left, longest))
        finally:
            with suppress(ValueError):
                self._asleep.remove(lock)
        return self._happened

    def __repr__(self) -> str:
        return f"<WakeEvent: {'set' if self._happened else 'unset'}>"


class SleepEvent(WakeEvent):
    """An event that ends a sleep: a thread sleeps by waiting for it with a time-out.

    This is a class of its own so that a clock can distinguish sleeps from other waits:
    ``FakeClock`` lists them in ``sleeps``.
    """

    __module__ = _DOOR


class Cancellation:
    """A way to end waits from another thread, from a signal handler, or before they begin.

    Pass it to ``get(..., cancel=cancel)``; ``set`` then ends that ``get`` at once with
    ``WaitCancelledError``. One cancellation may be used for many calls, at the same time or in
    sequence; once set, it stays set. Threads may share it; there is nothing to close.

    Attributes:
        event: An event that ``set`` sets, for clocks and transports that wait.

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
        # Not guarded by a lock, which an interrupted thread could hold: each operation is atomic.
        self._callbacks: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        """End all waits that use this object, those that begin later too; may be called again."""
        self.event.set()
        while self._callbacks:
            try:
                _, callback = self._callbacks.popitem()
            except KeyError:  # another thread has taken the last one
                return
            try:
                callback()
            except BaseException:
                self.set()  # the others are called all the same
                raise

    def is_set(self) -> bool:
        """Return whether ``set`` was called."""
        return self.event.is_set()

    def calling(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Return a context manager, inside whose block ``set`` calls ``callback``, once.

        If ``set`` was called before, entering the block calls the function. Else the function runs
        in the thread that calls ``set``, possibly in a signal handler: it must neither wait nor
        raise. The function may still be running when the block ends.

        Args:
            callback: The function to call.

        Returns:
            The context manager.
        """
        return _Calling(self, self._callbacks, callback)

    def __repr__(self) -> str:
        return f"<Cancellation: {'set' if self.is_set() else 'not set'}>"


class _Calling:
    """A context manager that registers a callback with a ``Cancellation`` for its block."""

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
