"""Signals that end a command, and what a command does then."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from moby_plugins.platforms import ending_signals


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise ``KeyboardInterrupt`` as Ctrl-C does, so that blocks are left.

    For a command that removes what it has made. A signal that the process ignores stays ignored.
    """
    with _handled(signal.default_int_handler):
        yield


@contextmanager
def calling_at_signals(call: Callable[[], object]) -> Iterator[None]:
    """Call a function when SIGTERM, SIGINT or SIGHUP comes, and not what was called before."""
    with _handled(lambda *_: call()):
        yield


@contextmanager
def told_of_signals(tell: Callable[[], object]) -> Iterator[None]:
    """Call a function when such a signal comes, and then the handler from before."""

    def handler(number: int, frame: FrameType | None) -> None:
        tell()
        handle = before[signal.Signals(number)]
        if callable(handle):
            handle(number, frame)

    before = {number: signal.getsignal(number) for number in ending_signals()}
    with _handled(handler):
        yield


@contextmanager
def _handled(handler: Callable[..., object]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handle in before.items():
            signal.signal(number, handle)
