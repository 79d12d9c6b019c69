"""Signals that end a command, and what a command does then."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType

from moby_plugins.platforms import ending_signals, ending_signals_handled


def interrupted_by_signals() -> AbstractContextManager[None]:
    """Make SIGTERM and SIGHUP raise ``KeyboardInterrupt`` as Ctrl-C does, so that blocks are left.

    For a command that removes what it has made. A signal that the process ignores stays ignored.
    """
    return ending_signals_handled(signal.default_int_handler)


def told_of_signals(tell: Callable[[], object]) -> AbstractContextManager[None]:
    """Call ``tell`` when SIGTERM, SIGINT or SIGHUP comes, and then the handler from before."""
    before = {number: signal.getsignal(number) for number in ending_signals()}

    def handler(number: int, frame: FrameType | None) -> None:
        tell()
        earlier = before[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)

    return ending_signals_handled(handler)
