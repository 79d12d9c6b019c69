"""The cores on which the host and the plugin run.

On a shared core, a call takes the time of both ends. With a core for each, as in most
installations, it also takes the time to wake the other core, and both ends can work at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen


@frozen
class Placement:
    """The cores of the host and of the plugin, with a ``name`` for the page."""

    name: str
    host: frozenset[int]
    plugin: frozenset[int]

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Run this process, and those that it starts in the block, on the host's cores."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.host)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


@frozen
class Placements:
    """The placements on one core and on two, and the one that leaves the choice to the system."""

    together: Placement
    apart: Placement
    free: Placement

    @classmethod
    def of_this_process(cls) -> "Placements":
        """Return placements on the cores that this process may use."""
        cores = os.sched_getaffinity(0)
        first, last, every = min(cores), max(cores), frozenset(cores)
        free = Placement("not pinned", every, every)
        apart = Placement("a core each", frozenset({first}), frozenset({last}))
        if first == last:
            apart = Placement("not pinned: this machine has one core", every, every)
        return cls(Placement("one core", frozenset({last}), frozenset({last})), apart, free)
