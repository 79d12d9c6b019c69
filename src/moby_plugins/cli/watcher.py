"""What watches the calls that pass through a ``trace``: shows them, and writes them down."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from moby_plugins.ports import Transport
from moby_plugins.tracing import OnCall, Progress, RecordedCall, Trace, masked_call

# Seconds between two lines of a body on its way.
PROGRESS = 1.0


class Watcher:
    """Shows what passes without its secrets, and has ``writes`` write it down.

    Told by several threads; they are let through one after the other.
    """

    def __init__(
        self,
        show: Callable[[str, RecordedCall], None],
        show_progress: Callable[[str, Progress], None],
        writes: Iterable[OnCall] = (),
    ) -> None:
        self._writes = tuple(writes)
        self._show = show
        self._show_progress = show_progress
        self._began = time.monotonic()
        self._clock = datetime.now().astimezone()
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._ending = False
        self._told: dict[float, float] = {}

    def app(self, transport: Transport) -> Trace:
        """What stands in between."""
        return Trace(transport, self.now, self.on_call, self.on_piece)

    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def on_call(self, call: RecordedCall) -> None:
        """Show a call, and write it down."""
        with self._failing(), self._lock:
            self._told.pop(call.at, None)
            self._show(self._at(call.at), masked_call(call))
            for write in self._writes:
                write(call)

    def on_piece(self, passing: Progress) -> None:
        """Show from time to time how far a body has come."""
        now = self.now()
        with self._failing(), self._lock:
            if now - self._told.setdefault(passing.at, now) >= PROGRESS:
                self._told[passing.at] = now
                self._show_progress(self._at(now), passing)

    def end(self) -> None:
        """Have it end; may be called by a signal handler."""
        self._ending = True

    def ending(self) -> bool:
        """Whether it is to end."""
        return self._ending

    def check(self) -> None:
        """Raise what went wrong while a call was shown or written down."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _failing(self) -> Iterator[None]:
        # The call goes on all the same: it is the host's and the plugin's.
        try:
            yield
        except Exception as error:
            self._failure = self._failure or error
            self.end()

    def _at(self, seconds: float) -> str:
        time = self._clock + timedelta(seconds=seconds)
        return time.isoformat(timespec="milliseconds")
