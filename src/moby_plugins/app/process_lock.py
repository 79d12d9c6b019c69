"""A lock that a fork does not take along."""

import os
import threading


class ProcessLock:
    """Gives the lock of the calling process: ``with lock():``.

    Whoever holds a lock at a fork, in another thread, is not there to release it in
    the child. So a child has a lock of its own, which is free.
    """

    def __init__(self) -> None:
        self._by_process: dict[int, threading.Lock] = {}

    def __call__(self) -> threading.Lock:
        """The one lock of this process, for all its threads."""
        process = os.getpid()
        lock = self._by_process.get(process)
        # Of two threads that make one, both get that of the first.
        return lock or self._by_process.setdefault(process, threading.Lock())
