"""The command ``moby-plugins ls``, which lists plugins and their errors."""

import sys
from collections.abc import Iterator
from itertools import compress, repeat
from typing import Any, NamedTuple

import click
from attrs import evolve

from moby_plugins import (
    ActivePlugin,
    Candidate,
    DriverError,
    PluginDisabledError,
    PluginError,
    RetryPolicy,
    Settings,
    StatusError,
    new_local_discovery,
    new_local_registry,
)
from moby_plugins.cli.errors import error_as_json, in_brief
from moby_plugins.cli.options import example, with_json, with_settings, with_timeout
from moby_plugins.cli.output import (
    BAD,
    FAINT,
    GOOD,
    Cell,
    Table,
    is_terminal,
    show_json,
    show_line,
    show_table,
    wrapped,
)
from moby_plugins.domain.errors import status_line
from moby_plugins.domain.text import listed, shown

METRICS = "MetricsCollector"
HEADINGS = ("name", "implements", "address", "found")
# The space between columns, and before lines that continue the one above.
GAP = "  "
# Shown as the place of a plugin whose address already has the path.
SOCKET = "socket"
# Shown as the place of a managed plugin, which is not found by a file.
MANAGED = "managed"


class Row(NamedTuple):
    """A plugin in the list: where it was found, and the active plugin or the error."""

    name: str
    candidate: Candidate | None
    outcome: ActivePlugin | PluginError


@click.command(epilog=example("moby-plugins ls --json"))
@with_timeout(2.0, "Seconds to wait for each plugin.")
@with_settings
@with_json
def ls(timeout: float, settings: Settings, as_json: bool) -> None:
    """List the plugins that are there, or what is wrong with them.

    All are asked at the same time what they implement, so a plugin that hangs does
    not delay the others. The exit status is 0 even if plugins fail: use doctor and
    check to test them.
    """
    rows = plugin_rows(evolve(settings, retry=RetryPolicy.never(), activation_timeout=timeout))
    if as_json:
        show_json([_as_json(row) for row in rows])
        return
    if is_terminal(sys.stdout):
        import shutil

        for line in _drawn(rows, shutil.get_terminal_size().columns):
            show_line(*line)
    else:
        table = Table(HEADINGS)
        for row in rows:
            state = _error(row) or _implemented(row)
            table.add(shown(row.name), state, shown(_address(row)), Cell(shown(_where(row)), FAINT))
        show_table(table)
    if not rows:
        places = ", ".join(_places(settings))
        print(f"moby-plugins: no plugins in {shown(places)}", file=sys.stderr)


def _places(settings: Settings) -> tuple[str, ...]:
    engine = () if settings.engine is None else (settings.engine,)
    if settings.discovery == "local":
        return (*engine, settings.sockets_path, *settings.specs_paths)
    return (*engine, f"the discovery {shown(settings.discovery)}")


def plugin_rows(settings: Settings) -> list[Row]:
    """Return a row for each plugin that can be found, sorted by name.

    Each plugin is activated. Plugins that an engine has disabled have a row too.
    """
    discovery = new_local_discovery(settings)
    outcomes: dict[str, ActivePlugin | PluginError] = {}
    with new_local_registry(settings) as registry:
        for plugin in registry.get_all(None, on_failure=outcomes.__setitem__):
            outcomes[plugin.name] = plugin
    for ignored in discovery.ignored():
        if ignored.managed is not None:
            outcomes[ignored.name] = PluginDisabledError(ignored.name)
    # A disabled plugin that hides one on disk is listed under its own name.
    rows = {
        error.name if isinstance(error, PluginDisabledError) else name: error
        for name, error in outcomes.items()
    }
    return [
        Row(name, next(iter(discovery.candidates(name)), None), rows[name]) for name in sorted(rows)
    ]


def _drawn(rows: list[Row], width: int) -> Iterator[tuple[Cell, ...]]:
    """Yield the lines for a terminal, in which no word is broken.

    A plugin has one line, and an error another one below it. The address of a socket is left out,
    since its path is shown. If a line would be too wide, each cell is printed on a separate line.
    """
    table = [[Cell(heading.upper()) for heading in HEADINGS]]
    for row in rows:
        derivable = _where(row) == SOCKET
        address = "" if derivable else shown(_address(row))
        path = Cell(shown(_path(row)), FAINT)
        table.append([Cell(shown(row.name)), _implemented(row), Cell(address), path])
    # Leave out empty columns.
    filled = [any(cell.text for cell in column) for column in zip(*table[1:], strict=True)]
    table = [[*compress(line, filled or repeat(True))] for line in table]
    widths = [max(len(cell.text) for cell in column) for column in zip(*table, strict=True)]
    stacked = sum(widths) + len(GAP) * (len(widths) - 1) > width
    if not stacked:
        yield _side_by_side(table[0], widths)
        yield (Cell("─" * width, FAINT),)
    for row, line in zip(rows, table[1:], strict=True):
        error = _error(row)
        below = [error] if error else []
        if stacked:
            below += [cell for cell in line[1:] if cell.text]
        yield (line[0],) if stacked else _side_by_side(line, widths)
        for cell in below:
            yield from _wrapped(cell, width)


def _side_by_side(cells: list[Cell], widths: list[int]) -> tuple[Cell, ...]:
    padded = [
        Cell(cell.text.ljust(width) + GAP, cell.style)
        for cell, width in zip(cells, widths, strict=True)
    ]
    return (*padded[:-1], cells[-1])


def _wrapped(cell: Cell, width: int) -> Iterator[tuple[Cell, ...]]:
    for line in wrapped(cell.text, width - len(GAP)):
        yield Cell(GAP), Cell(line, cell.style)


def _implemented(row: Row) -> Cell:
    if isinstance(row.outcome, PluginError):
        return Cell("")
    implements = listed(row.outcome.manifest.implements)
    if METRICS in row.outcome.manifest.implements:
        # docs/protocol.md, B11, trap 6: an engine that finds it on disk locks up
        return Cell(f"{implements} (locks engines up: make it a managed plugin)", BAD)
    return Cell(implements, GOOD)


def _error(row: Row) -> Cell | None:
    if not isinstance(row.outcome, PluginError):
        return None
    error, status = row.outcome, ""
    # Without a message, ``in_brief`` already shows the status.
    if isinstance(error, (StatusError, DriverError)) and error.message:
        status = f" (status {status_line(error.status)})"
    return Cell(f"error: {in_brief(error)}{status}", BAD)


def _address(row: Row) -> str:
    if isinstance(row.outcome, ActivePlugin):
        return row.outcome.addr
    plugin = row.candidate.plugin if row.candidate else None
    return plugin.addr if plugin else ""


def _path(row: Row) -> str:
    if row.candidate is None:
        return ""
    return MANAGED if row.candidate.managed else row.candidate.path


def _where(row: Row) -> str:
    # The address of a socket already has its path, which need not be shown twice.
    return SOCKET if _address(row).endswith(f"://{_path(row)}") else _path(row)


def _as_json(row: Row) -> dict[str, Any]:
    fields = {"name": row.name, "address": _address(row) or None, "found": _path(row) or None}
    if isinstance(row.outcome, PluginError):
        return fields | {"implements": None, "error": error_as_json(row.outcome)}
    return fields | {"implements": row.outcome.manifest.implements, "error": None}
