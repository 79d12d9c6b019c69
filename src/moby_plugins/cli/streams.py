"""Standard output and standard error of commands, even if they are closed or full.

Imports only modules that every process has loaded anyway, to keep ``--version`` fast.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

UNWRITTEN = 10  # the exit status if standard output is closed or full


class UnwrittenError(Exception):
    """The error that standard output is closed or full; further output is dropped."""


class _Output(io.FileIO):
    """Standard output, which raises ``UnwrittenError`` if it cannot be written to.

    ``UnwrittenError`` is not an ``OSError``, which a command could mistake for an error of a file
    or a plugin.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write ``data``; raise ``UnwrittenError`` at the first failure, and drop later data."""
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
                raise UnwrittenError from error
        return memoryview(data).nbytes


class _Messages(io.FileIO):
    """Standard error, whose own failures are ignored: the exit status remains."""

    def write(self, data: Any, /) -> int:
        """Write ``data``, or drop it if that fails."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make the process exit with ``UNWRITTEN`` if its standard output is closed or full.

    The reason is printed on standard error, unless standard output is a pipe without a reader.
    """
    _fill_in_closed()
    output = _Output(1, "w", closefd=False)
    sys.stdout = _text(output, sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr)
    failure: BaseException | None = None
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except UnwrittenError as error:
        failure = error.__cause__  # of a thread that writes by itself
    finally:
        failure = output.failure or failure
        if isinstance(failure, OSError):
            if failure.errno != errno.EPIPE:
                closed = failure.errno == errno.EBADF
                why = "it is closed" if closed else str(failure.strerror)
                print(f"moby-plugins: standard output: {why}", file=sys.stderr)
            sys.exit(UNWRITTEN)


def _fill_in_closed() -> None:
    # The next file to be opened, such as a connection to a plugin, would take the number of a
    # closed descriptor. Standard output is opened read-only, so that writing to it still fails.
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def _text(raw: io.RawIOBase, before: TextIO | None) -> TextIO:
    # ``backslashreplace`` lets every name be printed in every locale.
    encoding = "utf-8" if before is None else before.encoding
    buffered = io.BufferedWriter(raw)
    at_once = isinstance(raw, _Messages) or raw.isatty()
    return io.TextIOWrapper(buffered, encoding, "backslashreplace", line_buffering=at_once)
