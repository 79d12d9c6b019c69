"""The machine's clock."""

import threading
import time
from contextlib import AbstractContextManager, nullcontext


class SystemClock:
    """The machine's monotonic clock."""

    _free: AbstractContextManager[None] = nullcontext()

    def now(self) -> float:
        """Seconds since an arbitrary point, unmoved by changes of the date."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for real."""
        if seconds > 0:
            time.sleep(min(seconds, threading.TIMEOUT_MAX))

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait for real."""
        return event.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def working(self) -> AbstractContextManager[None]:
        """Nothing: real time passes by itself."""
        return self._free
