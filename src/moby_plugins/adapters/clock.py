"""The machine's clock."""

import threading
import time
from contextlib import AbstractContextManager, nullcontext


class SystemClock:
    """The machine's monotonic clock."""

    _free: AbstractContextManager[None] = nullcontext()

    def now(self) -> float:
        """Return the seconds since an arbitrary point, unaffected by changes of the system time."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` of real time."""
        if seconds > 0:
            time.sleep(min(seconds, threading.TIMEOUT_MAX))

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait up to ``timeout`` seconds of real time; return whether ``event`` is set."""
        return event.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def working(self) -> AbstractContextManager[None]:
        """Return a context that does nothing: real time needs no help."""
        return self._free
