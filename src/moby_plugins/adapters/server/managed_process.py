"""Bounded log lines and a reaper of orphans, for a process that an engine runs.

An engine reads the output of a managed plugin line by line, and stops at a line of more than 64
KiB: the plugin then hangs on its next write. Process 1 of a container becomes the parent of every
orphaned process; an orphan for which it does not wait stays a zombie.
"""

import io
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from moby_plugins.failures import logger

# Characters of a line; in every encoding, fewer bytes than an engine's limit.
MAX_LINE = 4000
# Signals that process 1 forwards to the program.
_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT")
_BY_A_SIGNAL = 128
_STANDARD_ERROR = 2


class BoundedLines(io.TextIOWrapper):
    """A text stream that breaks the lines written to it after ``MAX_LINE`` characters.

    Threads may share it.
    """

    def __init__(self, buffer: Any) -> None:
        super().__init__(buffer, "utf-8", "backslashreplace", write_through=True)
        self._lock = threading.Lock()
        self._column = 0

    def write(self, text: str, /) -> int:
        """Write ``text``, breaking lines that are too long; return its length."""
        with self._lock:
            super().write("".join(self._folded(text)))
            self.flush()
        return len(text)

    def _folded(self, text: str) -> list[str]:
        pieces: list[str] = []
        for line in text.splitlines(keepends=True):
            rest = line
            while self._column + len(rest.rstrip("\n")) > MAX_LINE:
                room = MAX_LINE - self._column
                pieces += [rest[:room], "\n"]
                rest, self._column = rest[room:], 0
            pieces.append(rest)
            self._column = 0 if rest.endswith("\n") else self._column + len(rest)
        return pieces


class _BelowWarning(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING


def log_to_engine(level: int) -> None:
    """Bound the lines of standard output and error, and log to them unless logging is set up.

    Warnings and errors go to standard error, which engines log as errors, the rest to standard
    output. Existing handlers that write to either keep doing so.
    """
    now: dict[object, BoundedLines] = {}
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
            now[stream] = BoundedLines(stream.buffer)
            setattr(sys, name, now[stream])
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream in now:
            handler.setStream(now[handler.stream])
    if not root.handlers:
        output_handler, error_handler = (
            logging.StreamHandler(sys.stdout),
            logging.StreamHandler(sys.stderr),
        )
        output_handler.addFilter(_BelowWarning())
        error_handler.setLevel(logging.WARNING)
        logging.basicConfig(
            handlers=[output_handler, error_handler],
            level=level,
            format="%(levelname)s %(message)s",
        )


def leave_reaping_to_process_one() -> None:
    """Fork if this process has the id 1: continue in the child, and reap orphans in the parent.

    The parent forwards signals to that child, and exits with its exit status. Only the program
    waits for its own children, so ``subprocess`` gets their exit status. If other threads are
    running, only log a warning and do not fork, as a fork would not copy them.
    """
    if os.getpid() != 1:
        return
    if threading.active_count() > 1:
        logger.warning(
            "processes that outlive their parents stay as zombies: threads run already, and"
            " process 1 cannot wait for orphans any more; serve before threads are started"
        )
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    waited_for = {signal.SIGCHLD, *(getattr(signal, name) for name in _FORWARDED)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    child = os.fork()
    if child:
        os._exit(_reap(child, waited_for))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reap(child: int, waited_for: set[signal.Signals]) -> int:
    """Reap all children and forward signals until ``child`` ends; return its exit status."""
    _close_all()
    while True:
        number = signal.sigwait(waited_for)
        if number != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.kill(child, number)
            continue
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                return code if code >= 0 else _BY_A_SIGNAL - code


def _close_all() -> None:
    # Close inherited descriptors: the reader of a pipe sees its end only after its last writer.
    with suppress(OSError):
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > _STANDARD_ERROR:
                with suppress(OSError):
                    os.close(descriptor)
