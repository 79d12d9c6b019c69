"""Output of commands: tables, fields, JSON and progress, for people and for programs.

At a terminal, rich draws tables. Elsewhere, and if ``NO_COLOR`` is set, tables have plain columns,
as wide as their content, so that the input of scripts does not depend on the size of a window.
Control characters in texts of plugins are escaped. Progress is in ``progress.py``.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from attrs import field, frozen

from moby_plugins.domain.text import shown

if TYPE_CHECKING:
    from rich.table import Table as Drawn

# The longest line that is printed.
MAX_LINE = 4000
# Styles of cells by their meaning, as rich names them.
GOOD, BAD, DOUBTFUL, FAINT, PLAIN = "green", "red", "yellow", "dim", ""


def printable(text: object) -> str:
    """Return ``text`` with its control characters escaped, and with lines of a limited length.

    Foreign text must be passed through ``shown`` before it becomes part of ``text``, since line
    ends are kept here.
    """
    return "\n".join(shown(line, MAX_LINE) for line in str(text).split("\n"))


@frozen
class Cell:
    """A part of a line or table: a text, and a style such as ``GOOD``."""

    text: str = field(converter=printable)
    style: str = PLAIN


def as_cell(value: str | Cell) -> Cell:
    """Return a text as a plain cell, or a cell unchanged."""
    return value if isinstance(value, Cell) else Cell(value)


class Table:
    """A table to print, with the headings ``columns``; ``add`` a row with a cell for each."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.rows: list[tuple[Cell, ...]] = []

    def add(self, *row: str | Cell) -> None:
        """Add a row of texts or cells."""
        self.rows.append(tuple(map(as_cell, row)))


def is_terminal(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal that can draw, and ``NO_COLOR`` is not set."""
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
    """Print labels and values, one per line; further lines of a value are aligned below it."""
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
    """Print ``cells`` in one line, and flush the output."""
    if is_terminal(sys.stdout):
        from rich.console import Console
        from rich.text import Text

        line = Text.assemble(*((cell.text, cell.style) for cell in cells))
        Console(highlight=False).print(line, soft_wrap=True)
    else:
        print("".join(cell.text for cell in cells), flush=True)


def wrapped(text: str, width: int) -> list[str]:
    """Return ``text`` in lines of at most ``width`` characters; a longer word is not broken."""
    import textwrap

    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)


def plain_columns(table: Table) -> Iterable[str]:
    """Yield the lines of ``table`` without colour, with two spaces between columns, not cut."""
    texts: list[Sequence[str]] = [[column.upper() for column in table.columns]]
    texts += [[cell.text.replace("\n", " ") for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def drawn(table: Table, *, heading: bool = True) -> "Drawn":
    """Return ``table`` as a table of the library rich."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    shape = Drawn(box=box.SIMPLE_HEAD, pad_edge=False, show_header=heading)
    for column in table.columns:
        shape.add_column(column, overflow="fold")  # a path that is cut would be useless
    for row in table.rows:
        shape.add_row(*(Text(cell.text, cell.style) for cell in row))
    return shape


def _print_drawn(shape: "Drawn") -> None:
    from rich.console import Console

    Console(highlight=False).print(shape)


def drawn_text(table: Table) -> str:
    """Return ``table`` as rich draws it, cut to the height of this terminal."""
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
