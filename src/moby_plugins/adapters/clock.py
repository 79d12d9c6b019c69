"""The real ``Clock``, used wherever no other is given: real time, and real sleeps."""

import threading
import time
from contextlib import AbstractContextManager, nullcontext

from moby_plugins.domain.retry import no_nan


class SystemClock:
    """The machine's monotonic clock as a ``Clock``: its waits take real time."""

    _free: AbstractContextManager[None] = nullcontext()

    # Seconds since an arbitrary point, unaffected by changes of the system time; called as it is,
    # because each call asks for the time.
    now: "staticmethod[[], float]" = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` of real time; raise ``ValueError`` for NaN."""
        no_nan("seconds", seconds)
        if seconds > 0:
            time.sleep(min(seconds, threading.TIMEOUT_MAX))

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds of real time; return whether ``event`` is set.

        ``None`` means no limit. Raise ``ValueError`` for NaN.
        """
        if timeout is not None:
            timeout = min(no_nan("timeout", timeout), threading.TIMEOUT_MAX)
        return event.wait(timeout)

    def working(self) -> AbstractContextManager[None]:
        """Return a context that does nothing: only fake clocks ask which threads are at work."""
        return self._free
