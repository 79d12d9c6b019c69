"""Retry operations for which no file descriptor was left, after closing idle connections.

A host with many plugins keeps idle connections that it can do without. So each operation that
opens a descriptor (for a connection, a file, a directory or the resolver) runs through
``Descriptors``, which closes idle connections and tries again if there is none left.
"""

import errno
import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from attrs import frozen

from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.plugin import Plugin
from moby_plugins.ports import Cancellation, Discovery, LocalDiscovery, ended_by

T = TypeVar("T")

# Errors for no descriptor left, in this process and in the whole system.
_REFUSALS = (errno.EMFILE, errno.ENFILE)
# The most attempts of one operation, as other threads may take the freed descriptors.
ATTEMPTS = 8


class Holder(Protocol):
    """An object with file descriptors that it can close if the process needs some."""

    def shed(self) -> bool:
        """Close spare descriptors without waiting; return false if there were none."""
        ...


class Descriptors:
    """A list of objects that can close file descriptors when the process has none left.

    Threads may share it; there is no lock, which a fork could leave locked.
    """

    def __init__(self) -> None:
        self._holders: dict[weakref.ref[Holder], None] = {}

    def add(self, holder: Holder) -> None:
        """Add ``holder`` to the list, as a weak reference."""
        self._holders[weakref.ref(holder, self._forget)] = None

    def tried(self, do: Callable[[], T]) -> T:
        """Call ``do`` and return its result; if no descriptor was left, free some and try again.

        An exception of the last attempt passes unchanged.

        All holders close their descriptors before another attempt. If they have none, there is only
        one more attempt, since another thread may just have closed some.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return do()
            except (OSError, PluginError) as error:
                if not self.made_room(error, attempt):
                    raise
        return do()

    def made_room(self, error: BaseException, attempt: int) -> bool:
        """Free descriptors if ``error`` says that none was left; return whether to try again.

        ``attempt`` is the number of the failed one, from 1.
        """
        return is_refusal(error) and (self._shed() or attempt == 1)

    def _shed(self) -> bool:
        holders = [reference() for reference in self._holders.copy()]
        return sum(holder.shed() for holder in holders if holder is not None) > 0

    def _forget(self, reference: "weakref.ref[Holder]") -> None:
        self._holders.pop(reference, None)


def is_refusal(error: BaseException | None) -> bool:
    """Return whether ``error``, or one of its causes, says that no descriptor was left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            return True
        error = error.__cause__
    return False


def check_descriptors() -> None:
    """Raise ``OSError`` if this process can open no more file descriptors now."""
    try:
        pipe = os.pipe()
    except OSError as error:
        if is_refusal(error):
            raise
    else:
        for descriptor in pipe:
            os.close(descriptor)


@frozen
class SheddingDiscovery:
    """A discovery that retries the look-ups of ``discovery`` if no descriptor was left."""

    discovery: Discovery
    descriptors: Descriptors

    @property
    def is_local(self) -> bool:
        """Whether the look-ups of ``discovery`` only read local files."""
        return isinstance(self.discovery, LocalDiscovery) and self.discovery.is_local

    def ended_by(self, cancel: Cancellation) -> "SheddingDiscovery":
        """Return a copy whose look-ups end once ``cancel`` is set, if ``discovery`` supports it."""
        return SheddingDiscovery(ended_by(self.discovery, cancel), self.descriptors)

    def scan(self) -> list[str]:
        """Return the names that ``discovery`` finds."""
        return self.descriptors.tried(self.discovery.scan)

    def lookup(self, name: str) -> Plugin:
        """Return the plugin ``name`` that ``discovery`` finds."""
        return self.descriptors.tried(partial(self.discovery.lookup, name))

    def __repr__(self) -> str:
        return repr(self.discovery)
