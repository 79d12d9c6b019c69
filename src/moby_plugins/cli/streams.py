"""Standard output and standard error of commands, wherever they lead.

Imports nothing but what a process has loaded anyway: what is printed may be no more than a version.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

UNWRITTEN = 10  # the exit status where standard output is closed or full


class UnwrittenError(Exception):
    """Standard output is closed or full; the rest of what is written to it is dropped."""


class _Output(io.FileIO):
    """Standard output, which says with ``UnwrittenError`` that it cannot be written to.

    That is no ``OSError``, which a command may take for one of a file's or a plugin's.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write, or fail once; later there is nothing to say of what is lost."""
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
                raise UnwrittenError from error
        return memoryview(data).nbytes


class _Messages(io.FileIO):
    """Standard error: where it cannot be written to, the exit status has to do."""

    def write(self, data: Any, /) -> int:
        """Write, or drop it."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextmanager
def standard_streams() -> Iterator[None]:
    """Have the process exit with ``UNWRITTEN`` where its standard output is closed or full.

    Says so on standard error, unless it is a pipe whose reader has left.
    """
    _fill_in_closed()
    output = _Output(1, "w", closefd=False)
    sys.stdout = _text(output, sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except UnwrittenError:
        pass
    finally:
        if output.failure is not None:
            if output.failure.errno != errno.EPIPE:
                closed = output.failure.errno == errno.EBADF
                why = "it is closed" if closed else str(output.failure.strerror)
                print(f"moby-plugins: standard output: {why}", file=sys.stderr)
            sys.exit(UNWRITTEN)


def _fill_in_closed() -> None:
    # What is opened next would take its place: a connection to a plugin, for example. A
    # descriptor that is open for reading alone cannot be written to.
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def _text(raw: io.RawIOBase, before: TextIO | None) -> TextIO:
    # Whatever the locale, a name can be printed.
    encoding = "utf-8" if before is None else before.encoding
    buffered = io.BufferedWriter(raw)
    at_once = isinstance(raw, _Messages) or raw.isatty()
    return io.TextIOWrapper(buffered, encoding, "backslashreplace", line_buffering=at_once)
