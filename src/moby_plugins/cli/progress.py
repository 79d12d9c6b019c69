"""What goes on, shown on standard error."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO, cast

from attrs import define, frozen

from moby_plugins.cli.output import is_terminal, printable


@frozen
class Followed:
    """A binary file of which ``told`` learns how far it was read, and nothing of where it is put.

    To know its length, its reader goes to the end and back: a bar must not take that for done.
    """

    file: BinaryIO
    told: Callable[[int], object]

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self.file.read(size)
        self.told(self.file.tell())
        return data

    def seekable(self) -> bool:
        """Whether it can be read again."""
        return self.file.seekable()

    def tell(self) -> int:
        """Where it stands."""
        return self.file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere, untold."""
        return self.file.seek(offset, whence)


@contextmanager
def watched(file: BinaryIO) -> Iterator[BinaryIO]:
    """``file``, with a bar on standard error that follows its reading, if that is a terminal.

    Without a bar, too, where nobody can tell how long it is.
    """
    if not (is_terminal(sys.stderr) and file.seekable()):
        yield file
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
        task = bar.add_task("", total=file.seek(0, os.SEEK_END))
        file.seek(0)
        follow = Followed(file, lambda position: bar.update(task, completed=position))
        yield cast("BinaryIO", follow)


@define
class StatusLine:
    """What is going on: one line that changes at a terminal, elsewhere a line for each change."""

    stream: TextIO
    _last: str = ""

    def say(self, text: str, passing: str = "") -> None:
        """Show ``text``; ``passing``, such as a time, is shown at a terminal, and no change."""
        shown = printable(text).replace("\n", " ")
        if is_terminal(self.stream):
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{(shown + passing)[:width]}", end="", file=self.stream, flush=True)
        elif shown != self._last:
            print(shown, file=self.stream, flush=True)
        self._last = shown

    def clear(self) -> None:
        """Leave an empty line at a terminal for what comes next."""
        if self._last and is_terminal(self.stream):
            print("\r\x1b[K", end="", file=self.stream, flush=True)
