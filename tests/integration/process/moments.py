"""SIGTERM at one line after the other of a plugin's life: ``python -m … DIRECTORY HOW_MANY``.

Each life is a forked child, whose main thread counts the lines that it runs and sends itself
the signal at the one that is asked for. Prints a line for each that did not end well, and how
many lives there were.
"""

import logging
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from moby_plugins.adapters.server import cheroot_server, listeners
from moby_plugins.serving import PluginApp, serve_unix
from tests.integration.serving.plugins import Echoes

# Seconds for a life to end once it was told to.
PATIENCE = 15.0
# What a fork would import otherwise, line by line.
LOADED = (cheroot_server, listeners)

_COUNT = struct.Struct("q")


class Life:
    """One child that serves in ``directory``, and sends itself SIGTERM at line ``moment``."""

    def __init__(self, directory: str, moment: int) -> None:
        self._shared = mmap.mmap(-1, _COUNT.size)
        self.process = os.fork()
        if not self.process:
            self._live(directory, moment)

    @property
    def lines(self) -> int:
        """How many it has run."""
        count: int = _COUNT.unpack(self._shared[:])[0]
        return count

    def end(self, told_at: int | None) -> int:
        """Its exit status, -15 for SIGTERM; it is told to end once it has come to that line."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            if told_at is not None and self.lines >= told_at:
                os.kill(self.process, signal.SIGTERM)
                told_at = None
            time.sleep(0.002)
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        return -signal.SIGKILL

    def _live(self, directory: str, moment: int) -> None:
        code = 1
        try:
            sys.settrace(self._tracer(moment))
            serve_unix(PluginApp(Echoes()), "echo", sockets_path=directory)
            sys.settrace(None)
            code = 0
        finally:
            os._exit(code)

    def _tracer(self, moment: int) -> Callable[[FrameType, str, Any], Any]:
        count = 0

        def trace(_: FrameType, event: str, __: Any) -> Any:
            nonlocal count
            if event == "line":
                count += 1
                self._shared[:] = _COUNT.pack(count)
                if count == moment:
                    os.kill(os.getpid(), signal.SIGTERM)
            return trace

        return trace


def undisturbed(directory: str) -> tuple[int, int]:
    """How many lines a life has until it waits for its end, and in all."""
    life = Life(directory, -1)
    before, lines = -1, 0
    while before != lines or not os.listdir(directory):
        before = lines
        time.sleep(0.2)
        lines = life.lines
    assert life.end(lines) == 0
    return lines, life.lines


def main(directory: str, how_many: int) -> None:
    """Live so often, and die at moments that lie evenly over a life."""
    waiting, total = undisturbed(directory)
    step = max(1, total // how_many)
    # The end is full of moments, and short.
    moments = [*range(1, total + 1, step), *range(waiting - 2, waiting + 3)]
    for moment in moments:
        # One that waits is told by us, and tells itself again as it ends.
        code = Life(directory, moment).end(waiting if moment > waiting else None)
        left = os.listdir(directory)
        if code not in {0, -signal.SIGTERM} or left:
            print(f"at line {moment} of {waiting} and {total}: ended with {code}, left {left}")
    print("lives", len(moments))


if __name__ == "__main__":
    logging.disable()
    main(sys.argv[1], int(sys.argv[2]))
