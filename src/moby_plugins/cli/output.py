"""Output of commands: tables, fields, JSON and progress, for people and for programs.

At a terminal tables are drawn by rich. Elsewhere, and where ``NO_COLOR`` is set, they are plain
columns, as wide as their content, so that what a script reads does not depend on a window.
Progress is shown on standard error, at a terminal only. Control characters in what a plugin says
are escaped.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from attrs import define, field, frozen

from moby_plugins.domain.text import shown

if TYPE_CHECKING:
    from rich.table import Table as Drawn

# No line is longer, whatever it is made of.
MAX_LINE = 4000
# How a cell reads, by its meaning: rich styles.
GOOD, BAD, DOUBTFUL, FAINT, PLAIN = "green", "red", "yellow", "dim", ""


def printable(text: object) -> str:
    """Return ``text``, whose lines may end, with each line as ``shown`` has it: no cursor moves.

    What others wrote is passed through ``shown`` before it becomes part of such a text.
    """
    return "\n".join(shown(line, MAX_LINE) for line in str(text).split("\n"))


@frozen
class Cell:
    """A text and its style, as ``GOOD`` and the like name it."""

    text: str = field(converter=printable)
    style: str = PLAIN


def as_cell(given: str | Cell) -> Cell:
    """A text as a plain cell; a cell as it is."""
    return given if isinstance(given, Cell) else Cell(given)


@frozen
class Table:
    """Columns under headings; a row is as long as ``columns``, of texts or of cells."""

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(factory=list)

    def add(self, *row: str | Cell) -> None:
        """One more row."""
        self.rows.append(tuple(map(as_cell, row)))


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches who wants it drawn: no dumb terminal, and no ``NO_COLOR``."""
    wanted = os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    return wanted and stream.isatty()


def show_table(table: Table) -> None:
    """Print ``table`` on standard output."""
    if is_terminal(sys.stdout):
        _print_drawn(drawn(table))
        return
    for line in plain_columns(table):
        print(line)


def show_fields(fields: Iterable[tuple[str, str | Cell]]) -> None:
    """Print labels and values, a line each; a value of several lines goes on under itself."""
    table = Table(("", ""))
    for label, value in fields:
        cell = as_cell(value)
        for number, line in enumerate(cell.text.split("\n")):
            table.add(Cell("" if number else label, FAINT), Cell(line, cell.style))
    if is_terminal(sys.stdout):
        _print_drawn(drawn(table, heading=False))
        return
    for line in [*plain_columns(table)][1:]:
        print(line)


def show_line(*cells: Cell) -> None:
    """Print ``cells`` one after the other, and at once, for whoever watches."""
    if is_terminal(sys.stdout):
        from rich.console import Console
        from rich.text import Text

        line = Text.assemble(*((cell.text, cell.style) for cell in cells))
        Console(highlight=False).print(line, soft_wrap=True)
    else:
        print("".join(cell.text for cell in cells), flush=True)


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of ``width`` characters, in which only what is longer stands out."""
    import textwrap

    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)


def plain_columns(table: Table) -> Iterable[str]:
    """The lines of ``table`` without colour: two spaces between columns, no line cut."""
    texts: list[Sequence[str]] = [[column.upper() for column in table.columns]]
    texts += [[cell.text.replace("\n", " ") for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def drawn(table: Table, *, heading: bool = True) -> "Drawn":
    """``table`` as rich draws it."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    shape = Drawn(box=box.SIMPLE_HEAD, pad_edge=False, show_header=heading)
    for column in table.columns:
        shape.add_column(column, overflow="fold")  # a path that is cut is none
    for row in table.rows:
        shape.add_row(*(Text(cell.text, cell.style) for cell in row))
    return shape


def _print_drawn(shape: "Drawn") -> None:
    from rich.console import Console

    Console(highlight=False).print(shape)


def drawn_text(table: Table) -> str:
    """Return ``table`` as rich draws it at this terminal, no higher than that."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(drawn(table))
    lines = capture.get().splitlines(keepends=True)
    room = console.height - 2
    return "".join(lines if len(lines) <= room else [*lines[: room - 1], "…\n"])


def show_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output, in ASCII and without control characters."""
    print(json.dumps(value, indent=2, default=str).replace("\x7f", "\\u007f"))


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
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with progress_bar(size) as follow:
        yield cast("BinaryIO", Followed(file, follow))


@contextmanager
def progress_bar(size: int) -> Iterator[Callable[[int], object]]:
    """A bar on standard error, if that is a terminal; it is told how many of ``size`` bytes."""
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
    """What is going on: one line that changes at a terminal, elsewhere a line for each change."""

    stream: TextIO
    _last: str = ""

    def say(self, text: str, passing: str = "") -> None:
        """Show ``text``; ``passing``, such as a time, is shown at a terminal, and no change."""
        line = printable(text).replace("\n", " ")
        if is_terminal(self.stream):
            import shutil

            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{(line + passing)[:width]}", end="", file=self.stream, flush=True)
        elif line != self._last:
            print(line, file=self.stream, flush=True)
        self._last = line

    def clear(self) -> None:
        """Leave an empty line at a terminal for what comes next."""
        if self._last and is_terminal(self.stream):
            print("\r\x1b[K", end="", file=self.stream, flush=True)
