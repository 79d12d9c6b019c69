"""On which cores the host and the plugin run.

Where both share a core, a call takes what both do. With a core each it also takes the waking of
the other core, as most engines see it, and the two ends can work at the same time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen


@frozen
class Placement:
    """The cores of the host, ours or a peer, and those of the plugin; ``name`` is the page's."""

    name: str
    host: frozenset[int]
    plugin: frozenset[int]

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """This process, and what it starts inside, on the host's cores."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.host)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


@frozen
class Placements:
    """Both ways to place the two ends, and the one that leaves it to the system."""

    together: Placement
    apart: Placement
    free: Placement

    @classmethod
    def of_this_process(cls) -> "Placements":
        """Return them for the cores that this process may use."""
        cores = os.sched_getaffinity(0)
        first, last, every = min(cores), max(cores), frozenset(cores)
        free = Placement("not pinned", every, every)
        apart = Placement("a core each", frozenset({first}), frozenset({last}))
        if first == last:
            apart = Placement("not pinned: this machine has one core", every, every)
        return cls(Placement("one core", frozenset({last}), frozenset({last})), apart, free)
