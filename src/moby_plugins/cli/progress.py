"""Progress of commands, on standard error: bars at a terminal, and lines of status."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO, cast

from attrs import define, frozen

from moby_plugins.cli.output import is_terminal, printable


@frozen
class FileWithProgress:
    """A binary file that calls ``on_read`` with its position after each read, but not after a seek.

    A reader seeks to the end and back to learn the length, which is not progress.
    """

    file: BinaryIO
    on_read: Callable[[int], object]

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes, and report the position."""
        data = self.file.read(size)
        self.on_read(self.file.tell())
        return data

    def seekable(self) -> bool:
        """Return whether the file can seek."""
        return self.file.seekable()

    def tell(self) -> int:
        """Return the position in the file."""
        return self.file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Change the position without reporting it."""
        return self.file.seek(offset, whence)


@contextmanager
def watched(file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield ``file``, with a progress bar on standard error that follows its reading.

    There is no bar if standard error is not a terminal, or if the file cannot seek, so that its
    length is unknown.
    """
    if not (is_terminal(sys.stderr) and file.seekable()):
        yield file
        return
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with progress_bar(size) as follow:
        yield cast("BinaryIO", FileWithProgress(file, follow))


@contextmanager
def progress_bar(size: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on standard error, if it is a terminal.

    Yields a function to call with how many of ``size`` bytes are done.
    """
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=size)
        yield lambda position: bar.update(task, completed=position)


@define
class StatusLine:
    """A status: at a terminal one line that is rewritten, elsewhere a line for each change."""

    stream: TextIO
    _last: str = ""

    def say(self, text: str, passing: str = "") -> None:
        """Show ``text``; ``passing``, such as a time, is only shown at a terminal."""
        line = printable(text).replace("\n", " ")
        if is_terminal(self.stream):
            import shutil

            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{(line + passing)[:width]}", end="", file=self.stream, flush=True)
        elif line != self._last:
            print(line, file=self.stream, flush=True)
        self._last = line

    def clear(self) -> None:
        """Erase the line at a terminal."""
        if self._last and is_terminal(self.stream):
            print("\r\x1b[K", end="", file=self.stream, flush=True)
