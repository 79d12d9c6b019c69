"""Counts of small calls and of activations: instructions by valgrind, system calls by strace.

A count is the difference between runs with many and with few rounds, divided by what those rounds
do more. The Go host's is counted in the same way.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from benchmarks.contest import Bound, Reading
from benchmarks.counted_calls import AT_ONCE, EACH
from benchmarks.discovery import PLUGINS
from benchmarks.peers.go_host import GoHost
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins

ROOT = Path(__file__).parents[1]
# A fixed hash seed, so that sets and dictionaries take the same work in every run.
ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}
INSTRUCTIONS, SYSTEM_CALLS = "instructions", "system calls"
BARE = "bare"
_REFERENCES = re.compile(r"I\s+refs:\s+([\d,]+)")
# The number of calls in the line of totals.
_TOTAL = re.compile(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total$", re.MULTILINE)


@frozen
class Command:
    """A command, and the text of its input."""

    line: list[str]
    input: str = ""


# A function that runs a command and returns a count for it.
Count = Callable[[Command], int]


@frozen
class Counted:
    """Work of which one unit is counted, from ``few`` and from ``many`` rounds of ``units``."""

    name: str
    work: str
    path: Path
    # By side as the page names it: that in ``counted_calls.py``, and a bound by what is counted.
    sides: Mapping[str, tuple[str, Mapping[str, float]]]
    few: int
    many: int
    units: int = 1
    # The Go host's command for a number of rounds, if it does the same.
    go: Callable[[int], Command] | None = field(default=None, kw_only=True)

    def readings(self, what: str, count: Count, missing: str, placement: str) -> Iterator[Reading]:
        """Yield one for each side, with the floor and the Go host's count beside it."""
        floor = "" if missing else f"{self._one(count, self._ours(BARE)):,.0f}"
        theirs = 0.0 if missing or self.go is None else self._one(count, self.go)
        for name, (side, bounds) in self.sides.items():
            yield Reading(
                f"{what} of {self.name}{name}",
                placement,
                0.0 if missing else self._one(count, self._ours(side)),
                Bound(bounds[what]) if what in bounds else None,
                floor,
                missing=missing,
                go=theirs,
            )

    def _ours(self, side: str) -> Callable[[int], Command]:
        program = [sys.executable, "-m", "benchmarks.counted_calls", self.work, side]
        return lambda rounds: Command([*program, str(self.path), str(rounds)])

    def _one(self, count: Count, command: Callable[[int], Command]) -> float:
        few, many = (count(command(rounds)) for rounds in (self.few, self.many))
        return (many - few) / ((self.many - self.few) * self.units)


def counts(directory: Path, program: Path, placement: Placement) -> Iterator[Reading]:
    """Yield both counts for each work and side."""
    tools: tuple[tuple[str, str, Count], ...] = (
        (INSTRUCTIONS, "valgrind", instructions),
        (SYSTEM_CALLS, "strace", system_calls),
    )
    with placement.pinned(), quick_plugins(directory, PLUGINS, placement) as path:
        (directory / "closing.sock").unlink()
        for what, tool, count in tools:
            missing = "" if shutil.which(tool) else f"{tool} is not installed"
            for one in _all_counted(directory, path, program):
                yield from one.readings(what, count, missing, placement.name)


def _all_counted(directory: Path, path: Path, program: Path) -> Iterator[Counted]:
    go = [str(program)]
    yield Counted(
        "a small call with a time-out",
        "call",
        path,
        {
            ", transport `httptools`": ("httptools", {INSTRUCTIONS: 90_000, SYSTEM_CALLS: 4}),
            ", transport `urllib3`": ("urllib3", {INSTRUCTIONS: 345_000, SYSTEM_CALLS: 4}),
        },
        100,
        600,
        go=lambda rounds: Command(go, GoHost.order("call", path, Count=rounds)),
    )
    yield Counted(
        f"get_all of {PLUGINS} live plugins, for each,",
        "get_all",
        directory,
        {f" transport `{name}`": (name, {}) for name in ("httptools", "urllib3")},
        1,
        3,
        PLUGINS,
        go=lambda rounds: Command(go, GoHost.order("getAll", directory, Count=PLUGINS) * rounds),
    )
    for work, name, tasks, rounds in (
        ("one-task", "a small call in an event loop", 1, 64),
        ("at-once", f"each of {AT_ONCE} small calls at once", AT_ONCE, 2),
    ):
        yield Counted(name, work, path, {"": ("aio", {})}, rounds, 2 * rounds, EACH * tasks)


def instructions(command: Command) -> int:
    """Return the number of instructions of the process, outside the kernel."""
    with tempfile.NamedTemporaryFile() as out:
        # Cachegrind only counts; callgrind would take several times as long.
        options = ["--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out.name}"]
        return _found(_REFERENCES, _told(["valgrind", *options], command))


def system_calls(command: Command) -> int:
    """Return the number of system calls of all threads."""
    return _found(_TOTAL, _told(["strace", "-c", "-f"], command))


def _told(tool: list[str], command: Command) -> str:
    return subprocess.run(  # noqa: S603  our own
        [*tool, *command.line],
        check=True,
        capture_output=True,
        text=True,
        input=command.input,
        cwd=ROOT,
        env=ENVIRONMENT,
    ).stderr


def _found(pattern: "re.Pattern[str]", text: str) -> int:
    match = pattern.search(text)
    if match is None:
        raise RuntimeError(f"no count in what the tool said: {text[-500:]}")
    return int(match[1].replace(",", ""))
