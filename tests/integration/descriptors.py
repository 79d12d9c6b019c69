"""How many files and threads this process has, and that those of a test are gone after it.

The other end of a connection may be a thread of this process, which closes its end and ends when it
gets to run: a count that is taken at once would find both. So each count waits, for a while.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import gt

# Seconds within which what was told to end has ended; long only where something is left. A plugin
# of a test may be behind with what it accepts, and TCP then sends again after seconds.
ENDED = 30.0


def descriptors() -> int:
    """How many files it has open now."""
    return len(os.listdir("/proc/self/fd"))


def soon(most: int, seconds: float = ENDED) -> int:
    """How many it has open once they are at most ``most``, or when the time is over."""
    if not _wait(lambda: descriptors() <= most, seconds):
        # Shown by pytest, as the test fails.
        logging.getLogger(__name__).warning("open: %s", "\n".join(opened()))
    return descriptors()


def opened() -> list[str]:
    """What each of them is: a path, or the two ends of a socket."""
    return [f"{number}: {_what(number)}" for number in map(int, os.listdir("/proc/self/fd"))]


def _what(number: int) -> str:
    what = ""
    try:
        what = os.readlink(f"/proc/self/fd/{number}")
        if not what.startswith("socket:"):
            return what
        with socket.socket(fileno=os.dup(number)) as sock:
            what = f"{sock.getsockname()}"
            return f"{what} to {sock.getpeername()}"
    except OSError as error:  # it was closed since, or has no other end
        return f"{what}, {error}"


def threads_soon(most: int, seconds: float = ENDED) -> int:
    """How many threads it has once they are at most ``most``, or when the time is over."""
    _wait(lambda: threading.active_count() <= most, seconds)
    return threading.active_count()


def no_thread_called(name: str, seconds: float = ENDED) -> bool:
    """Whether the last thread called ``name`` ends in time."""
    return _wait(lambda: all(each.name != name for each in threading.enumerate()), seconds)


def held() -> tuple[int, int]:
    """Its descriptors and threads."""
    return descriptors(), threading.active_count()


@contextmanager
def nothing_left(seconds: float = ENDED) -> Iterator[None]:
    """Afterwards there are no more descriptors and threads than before, or soon are not."""
    before = held()
    yield
    assert _wait(lambda: not any(map(gt, held(), before)), seconds), (before, held(), opened())


@contextmanager
def without_descriptors() -> Iterator[None]:
    """Inside, this process can open nothing more."""
    taken: list[int] = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)


def _wait(holds: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not (became := holds()) and time.monotonic() < ends:
        time.sleep(0.01)
    return became
