"""Retry operations for which no file descriptor was left, after closing idle connections.

A host with many plugins keeps idle connections that it can do without. So each operation that
opens a descriptor (for a connection, a file, a directory, the resolver or an imported module) runs
through ``Descriptors``, which closes idle connections and tries again if there is none left. A dial
also waits for the connections of running calls, until its time-out.
"""

import errno
import os
import weakref
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import ParamSpec, Protocol, TypeVar

from moby_plugins.domain.errors import PluginError

P = ParamSpec("P")
T = TypeVar("T")

# Errors for no descriptor left, in this process and in the whole system.
_REFUSALS = (errno.EMFILE, errno.ENFILE)
# Their texts, with which the loader of C extensions ends its own error.
_REFUSED = tuple(map(os.strerror, _REFUSALS))
# The most attempts of one operation that does not wait: other threads may take what is freed.
_ATTEMPTS = 8
# What an operation raises that found no descriptor.
RAISED = (OSError, PluginError, ImportError)


class Holder(Protocol):
    """An object with file descriptors that it can close if the process needs some."""

    def shed(self) -> bool:
        """Close spare descriptors without waiting; return false if there were none."""
        ...


class Used(Protocol):
    """A connection that a call uses."""

    def fileno(self) -> int:
        """Return its descriptor, -1 once it is closed."""
        ...


class Descriptors:
    """A list of objects that close spare file descriptors for operations that found none left.

    Threads may share it; there is no lock, which a fork could leave locked.
    """

    def __init__(self) -> None:
        self._holders: dict[weakref.ref[Holder], None] = {}
        # Each with the id of the process that opened it: a forked child's parent closes its own.
        self._used: dict[weakref.ref[Used], int] = {}

    def add(self, holder: Holder) -> None:
        """Add ``holder`` to the list, as a weak reference."""
        self._holders[weakref.ref(holder, self._forget)] = None

    def add_used(self, connection: Used) -> None:
        """Add an open connection, as a weak reference: ``tried_while`` waits for its descriptor."""
        self._used[weakref.ref(connection, self._used.pop)] = os.getpid()

    def tried(self, do: Callable[[], T]) -> T:
        """Call ``do`` and return its result; if no descriptor was left, free some and try again.

        An exception of the last attempt passes unchanged.

        All holders close their spare descriptors before another attempt. If they have none, there
        is only one more attempt, since another thread may just have closed some.
        """
        for attempt in range(1, _ATTEMPTS):
            try:
                return do()
            except RAISED as error:
                if not self.made_room(error, attempt):
                    raise
        return do()

    def tried_while(self, pause: Callable[[], bool], do: Callable[[], T]) -> T:
        """Call ``do`` and return its result; wait and try again if no descriptor was left.

        Spare descriptors are closed first, as in ``tried``. If none is left even so, ``pause``
        waits a moment before the next attempt; it returns false if no time is left. An exception
        passes unchanged if it has another reason, if no time is left, or if no connection of this
        process is in use.
        """
        while True:
            try:
                return self.tried(do)
            except RAISED as error:
                if not (self.will_have_room(error) and pause()):
                    raise

    def made_room(self, error: BaseException, attempt: int) -> bool:
        """Free descriptors if ``error`` says that none was left; return whether to try again.

        ``attempt`` is the number of the failed attempt, from 1.
        """
        return is_refusal(error) and (self._shed() or attempt == 1)

    def will_have_room(self, error: BaseException) -> bool:
        """Return whether to wait: no descriptor was left, and open connections use some.

        ``error`` says whether none was left. Only connections of this process count.
        """
        if not is_refusal(error):
            return False
        process = os.getpid()
        used = [(reference(), made_by) for reference, made_by in self._used.copy().items()]
        return any(
            connection is not None and made_by == process and connection.fileno() >= 0
            for connection, made_by in used
        )

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
        if isinstance(error, ImportError) and str(error).endswith(_REFUSED):
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


@cache
def shared_descriptors() -> Descriptors:
    """Return the one ``Descriptors`` that all registries and clients of this process share."""
    return Descriptors()


def with_descriptors(function: Callable[P, T]) -> Callable[P, T]:
    """Return a wrapper of ``function`` that closes idle connections if no descriptor is left.

    It then calls ``function`` again. For functions that import modules on first use.
    """

    @wraps(function)
    def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        return shared_descriptors().tried(partial(function, *args, **kwargs))

    return tried
