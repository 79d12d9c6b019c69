"""``moby-plugins ls``: the plugins that are there, and what is wrong with them."""

import sys
from typing import Any

import click
from attrs import evolve, frozen

from moby_plugins import (
    ActivePlugin,
    Candidate,
    PluginError,
    RetryPolicy,
    Settings,
    new_local_discovery,
    new_local_registry,
)
from moby_plugins.cli.errors import error_as_json, in_brief
from moby_plugins.cli.options import example, with_json, with_settings, with_timeout
from moby_plugins.cli.output import BAD, FAINT, GOOD, Cell, Table, show_json, show_table
from moby_plugins.domain.text import listed, shown

METRICS = "MetricsCollector"


@frozen
class Row:
    """One plugin: where it was found first, and either itself, active, or why it is not."""

    name: str
    found: Candidate | None
    outcome: ActivePlugin | PluginError


@click.command(epilog=example("moby-plugins ls --json"))
@with_timeout(2.0, "Seconds that each plugin has to answer.")
@with_settings
@with_json
def ls(timeout: float, settings: Settings, as_json: bool) -> None:
    """List the plugins that are there, or what is wrong with them.

    All are asked at the same time what they implement, so a plugin that is dead
    holds up none of the others. The exit status is 0 whatever they answer:
    doctor and check are there to judge.
    """
    rows = found(evolve(settings, retry=RetryPolicy.never(), activation_timeout=timeout))
    if as_json:
        show_json([_as_json(row) for row in rows])
    else:
        table = Table(("name", "implements", "address", "found"))
        for row in rows:
            table.add(
                shown(row.name), _state(row), shown(_address(row)), Cell(shown(_where(row)), FAINT)
            )
        show_table(table)
        if not rows:
            places = ", ".join(_places(settings))
            print(f"moby-plugins: no plugins in {shown(places)}", file=sys.stderr)


def _places(settings: Settings) -> tuple[str, ...]:
    if settings.discovery == "local":
        return (settings.sockets_path, *settings.specs_paths)
    return (f"the discovery {shown(settings.discovery)}",)


def found(settings: Settings) -> list[Row]:
    """Every plugin that can be found, asked once, in the order of their names."""
    discovery = new_local_discovery(settings)
    outcomes: dict[str, ActivePlugin | PluginError] = {}
    with new_local_registry(settings) as registry:
        for plugin in registry.get_all(None, on_failure=outcomes.__setitem__):
            outcomes[plugin.name] = plugin
    return [
        Row(name, next(iter(discovery.candidates(name)), None), outcomes[name])
        for name in sorted(outcomes)
    ]


def _state(row: Row) -> Cell:
    if isinstance(row.outcome, PluginError):
        return Cell(f"error: {in_brief(row.outcome)}", BAD)
    implements = listed(row.outcome.manifest.implements)
    if METRICS in row.outcome.manifest.implements:
        # docs/protocol.md, B11, trap 6: found by a host, it locks that up
        return Cell(f"{implements} (locks engines up: make it a managed plugin)", BAD)
    return Cell(implements, GOOD)


def _address(row: Row) -> str:
    if isinstance(row.outcome, ActivePlugin):
        return row.outcome.addr
    plugin = row.found.plugin if row.found else None
    return plugin.addr if plugin else ""


def _path(row: Row) -> str:
    return row.found.path if row.found else ""


def _where(row: Row) -> str:
    # A socket's path is its address already, and twice the same makes a long line.
    return "socket" if _address(row).endswith(f"://{_path(row)}") else _path(row)


def _as_json(row: Row) -> dict[str, Any]:
    told = {"name": row.name, "address": _address(row) or None, "found": _path(row) or None}
    if isinstance(row.outcome, PluginError):
        return told | {"implements": None, "error": error_as_json(row.outcome)}
    return told | {"implements": row.outcome.manifest.implements, "error": None}
