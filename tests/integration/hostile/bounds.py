"""What a test of hostility measures: time and memory, and what is left of it.

Bounds have slack, for machines that are slow or shared. ``HOSTILE_ROUNDS`` in the
environment multiplies the rounds of the tests that try again and again.
"""

import os
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.descriptors import nothing_left

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "1"))
# Seconds for what takes milliseconds.
SOON = 5.0
MIB = 1 << 20


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
