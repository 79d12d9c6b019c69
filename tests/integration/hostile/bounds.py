"""What a test of hostility measures: time, memory, descriptors and threads.

Bounds have slack, for machines that are slow or shared. ``HOSTILE_ROUNDS`` in the
environment multiplies the rounds of the tests that try again and again.
"""

import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from operator import gt

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "1"))
# Seconds for what takes milliseconds.
SOON = 5.0
MIB = 1 << 20


def held() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@contextmanager
def nothing_left() -> Iterator[None]:
    """Afterwards there are no more descriptors and threads than before, or soon are not."""
    before = held()
    yield
    ends = time.monotonic() + SOON
    # A thread that was told to stop may still be on its way out.
    while any(map(gt, held(), before)) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not any(map(gt, held(), before)), (before, held())


@contextmanager
def bounded(seconds: float = SOON, memory: int = 4 * MIB) -> Iterator[None]:
    """What happens inside ends in time, needs at most so many bytes, and leaves nothing behind."""
    with nothing_left():
        tracemalloc.start()
        began = time.monotonic()
        try:
            yield
            took, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert took < seconds, f"it took {took:.1f} s"
    assert peak < memory, f"it took {peak:,} bytes"
