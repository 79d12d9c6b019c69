"""What ``moby-plugins`` takes as a whole process."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contest import Bound, Comparison, Contest, Side, timed
from benchmarks.processes import quick_plugins

COMMAND = str(Path(sysconfig.get_path("scripts")) / "moby-plugins")
PLUGINS = 50


def command_line_contests(directory: Path) -> Iterator[Contest]:
    """To be run one after the other, because plugins run between two of them."""
    yield version_contest()
    with quick_plugins(directory, PLUGINS):
        yield ls_contest(directory)


def version_contest() -> Contest:
    """The least that a process of ours does, against the least that any of Python's does."""
    sides = {
        "--version": process([COMMAND, "--version"]),
        "python -c pass": process([sys.executable, "-c", "pass"]),
    }
    row = Comparison("moby-plugins --version", "--version", "python -c pass", Bound(4.0))
    return Contest(sides, (row,), rounds=20)


def ls_contest(directory: Path) -> Contest:
    """All that live in ``directory``, against the first of them alone."""
    sides = {}
    for count in (PLUGINS, 1):
        plugins = directory / f"ls-{count}"
        plugins.mkdir()
        for number in range(count):
            name = f"p{number:05}.sock"
            (plugins / name).symlink_to(directory / name)
        found = {"MOBY_PLUGINS_SOCKETS_PATH": str(plugins), "MOBY_PLUGINS_SPECS_PATHS": ""}
        sides[f"ls over {count}"] = process([COMMAND, "ls"], **found)
    many, one = sides
    row = Comparison(f"moby-plugins {many} live plugins", many, one, Bound(2.0))
    return Contest(sides, (row,), rounds=20)


def process(command: list[str], **environment: str) -> Side:
    """A process, from its start to its end."""

    def work() -> None:
        subprocess.run(  # noqa: S603  our own
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
        )

    return timed(work)
