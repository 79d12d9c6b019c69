"""The time of ``moby-plugins`` as a whole process."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contest import Bound, Comparison, Contest, Side, timed
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins

COMMAND = str(Path(sysconfig.get_path("scripts")) / "moby-plugins")
PLUGINS = 50
NOTHING = "python -c pass"

LIBRARIES = "imports of libraries alone"
IMPORTING = "import attrs, click, json, logging, selectors, socket, threading"

IMPORTS = (
    "Nearly all of it is importing modules. The floor is a process that imports only what others "
    f"wrote and `ls` cannot do without: `{IMPORTING}`."
)


def command_line_contests(directory: Path, placement: Placement) -> Iterator[Contest]:
    """Yield the contests; each must be run before the next, as plugins are started in between."""
    yield version_contest(placement)
    with placement.pinned(), quick_plugins(directory, PLUGINS, placement):
        yield ls_contest(directory, placement)


def version_contest(placement: Placement) -> Contest:
    """Return a contest of ``--version`` against a Python process that does nothing."""
    sides = {
        "--version": process([COMMAND, "--version"]),
        NOTHING: process([sys.executable, "-c", "pass"]),
    }
    row = Comparison("moby-plugins --version", "--version", NOTHING, Bound(4.0))
    return Contest(sides, (row,), rounds=20, placement=placement)


def ls_contest(directory: Path, placement: Placement) -> Contest:
    """Return a contest of ``ls`` of all plugins, of one of them, and of a process without work."""
    sides = {}
    for count in (PLUGINS, 1):
        plugins = directory / f"ls-{count}"
        plugins.mkdir()
        for number in range(count):
            name = f"p{number:05}.sock"
            (plugins / name).symlink_to(directory / name)
        sides[f"ls over {count}"] = process([COMMAND, "ls"], **only_in(plugins))
    many, one = sides
    sides[NOTHING] = process([sys.executable, "-c", "pass"])
    sides[LIBRARIES] = process([sys.executable, "-c", IMPORTING])
    rows = (
        Comparison(f"moby-plugins {many} live plugins", many, one, Bound(2.0)),
        Comparison(f"moby-plugins {one} live plugin", one, NOTHING, Bound(8.0), IMPORTS, LIBRARIES),
    )
    return Contest(sides, rows, rounds=20, placement=placement)


def only_in(plugins: Path) -> dict[str, str]:
    """Return an environment in which a process finds only the plugins in that directory."""
    return {"MOBY_PLUGINS_SOCKETS_PATH": str(plugins), "MOBY_PLUGINS_SPECS_PATHS": ""}


def process(command: list[str], **environment: str) -> Side:
    """Return a side that runs a process from its start to its end."""

    def work() -> None:
        subprocess.run(  # noqa: S603  our own
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
        )

    return timed(work)
