"""Counts for a small call: instructions by valgrind, and system calls by strace.

The count for one call is the difference between runs with many and with few calls, divided by the
difference of their numbers.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.contest import Bound, Reading
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins

PROGRAM = str(Path(__file__).with_name("counted_calls.py"))
FEW, MANY = 100, 600
# A fixed hash seed, so that sets and dictionaries take the same work in every run.
ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}
BARE = "bare"
BOUNDS = {"httptools": 90_000.0, "urllib3": 90_000.0}
SYSTEM_CALLS = 4.0
_REFERENCES = re.compile(r"I\s+refs:\s+([\d,]+)")
# The number of calls in the line of totals.
_TOTAL = re.compile(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total$", re.MULTILINE)
# A function that runs a command and returns a count for it.
Count = Callable[[list[str]], int]


def counts(directory: Path, placement: Placement) -> Iterator[Reading]:
    """Yield both counts for each transport, with those of a bare socket as the floor."""
    tools: tuple[tuple[str, str, Count, dict[str, float]], ...] = (
        ("instructions", "valgrind", instructions, BOUNDS),
        ("system calls", "strace", system_calls, dict.fromkeys(BOUNDS, SYSTEM_CALLS)),
    )
    with placement.pinned(), quick_plugins(directory, placement=placement) as path:
        for what, tool, count, bounds in tools:
            missing = "" if shutil.which(tool) else f"{tool} is not installed"
            floor = "" if missing else f"{a_call(count, path, BARE):,.0f}"
            for how, bound in bounds.items():
                yield Reading(
                    f"{what} of a small call with a time-out, transport `{how}`",
                    placement.name,
                    0.0 if missing else a_call(count, path, how),
                    Bound(bound),
                    floor,
                    missing=missing,
                )


def a_call(count: Count, path: Path, how: str) -> float:
    """Return the count for one additional call."""
    few, many = (
        count([sys.executable, PROGRAM, str(path), how, str(calls)]) for calls in (FEW, MANY)
    )
    return (many - few) / (MANY - FEW)


def instructions(command: list[str]) -> int:
    """Return the number of instructions of the process, outside the kernel."""
    with tempfile.NamedTemporaryFile() as out:
        # Cachegrind only counts; callgrind would take several times as long.
        options = ["--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out.name}"]
        told = subprocess.run(  # noqa: S603  our own
            ["valgrind", *options, *command],  # noqa: S607
            check=True,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        ).stderr
    return _found(_REFERENCES, told)


def system_calls(command: list[str]) -> int:
    """Return the number of system calls of all threads."""
    told = subprocess.run(  # noqa: S603  our own
        ["strace", "-c", "-f", *command],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    ).stderr
    return _found(_TOTAL, told)


def _found(pattern: "re.Pattern[str]", text: str) -> int:
    match = pattern.search(text)
    if match is None:
        raise RuntimeError(f"no count in what the tool said: {text[-500:]}")
    return int(match[1].replace(",", ""))
