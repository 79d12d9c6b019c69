"""What goes on where the system refuses a descriptor: idle connections make room, then again.

A host with many plugins keeps connections that it could do without. So whatever here opens
something, a connection, a file, a directory, the resolver's sockets, is tried through
``Descriptors``, which closes these first where there is no descriptor left.
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

# The system's refusal of a descriptor, to this process and to all.
_REFUSALS = (errno.EMFILE, errno.ENFILE)
# How often at most one thing is tried, while other threads take what was closed for it.
ATTEMPTS = 8


class Holder(Protocol):
    """What holds descriptors that it can do without."""

    def shed(self) -> bool:
        """Let them go; false where there are none. It never waits."""
        ...


class Descriptors:
    """The descriptors of this process, as far as something can do without them.

    Threads may share it; there is no lock, which a fork could leave locked.
    """

    def __init__(self) -> None:
        self._holders: dict[weakref.ref[Holder], None] = {}

    def add(self, holder: Holder) -> None:
        """Ask ``holder`` too, as long as it lives."""
        self._holders[weakref.ref(holder, self._forget)] = None

    def tried(self, do: Callable[[], T]) -> T:
        """What ``do`` returns or raises; again where it was refused a descriptor.

        Before that all holders let theirs go. Where none has any, it is tried once more, since
        another thread may have had them go.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return do()
            except (OSError, PluginError) as error:
                if not self.made_room(error, attempt):
                    raise
        return do()

    def made_room(self, error: BaseException, attempt: int) -> bool:
        """Whether to try once more after ``error`` of this attempt, which is counted from 1."""
        return is_refusal(error) and (self._shed() or attempt == 1)

    def _shed(self) -> bool:
        holders = [reference() for reference in self._holders.copy()]
        return sum(holder.shed() for holder in holders if holder is not None) > 0

    def _forget(self, reference: "weakref.ref[Holder]") -> None:
        self._holders.pop(reference, None)


def is_refusal(error: BaseException | None) -> bool:
    """Whether ``error``, or what it was made of, is the system's refusal of a descriptor."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            return True
        error = error.__cause__
    return False


def check_descriptors() -> None:
    """Raise ``OSError`` where the system has no descriptors for this process now."""
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
    """A ``discovery`` whose look-ups are tried again where they are refused a descriptor."""

    discovery: Discovery
    descriptors: Descriptors

    @property
    def is_local(self) -> bool:
        """Whether that of ``discovery`` is."""
        return isinstance(self.discovery, LocalDiscovery) and self.discovery.is_local

    def ended_by(self, cancel: Cancellation) -> "SheddingDiscovery":
        """This, for as long as ``cancel`` is not set, where ``discovery`` can be ended."""
        return SheddingDiscovery(ended_by(self.discovery, cancel), self.descriptors)

    def scan(self) -> list[str]:
        """The names that ``discovery`` finds."""
        return self.descriptors.tried(self.discovery.scan)

    def lookup(self, name: str) -> Plugin:
        """The plugin that ``discovery`` finds."""
        return self.descriptors.tried(partial(self.discovery.lookup, name))

    def __repr__(self) -> str:
        return repr(self.discovery)
