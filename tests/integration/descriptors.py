"""How many files this process has open."""

import os
import time


def descriptors() -> int:
    """How many it has open now."""
    return len(os.listdir("/proc/self/fd"))


def soon(most: int, seconds: float = 5.0) -> int:
    """How many it has open once they are at most ``most``, or when the time is over.

    The other end of a connection may be a thread of this process, which closes its end when it gets
    to run; a count that is taken at once would find it.
    """
    ends = time.monotonic() + seconds
    while descriptors() > most and time.monotonic() < ends:
        time.sleep(0.01)
    return descriptors()
