"""The time of ``make unit`` on all cores."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contest import Bound, Reading
from benchmarks.placement import Placement

ROOT = Path(__file__).parents[1]
SECONDS = 6.0

OTHERS = (
    "It uses all cores and cannot be pinned: what else runs on this machine is in it. `pytest "
    "--durations=20` says which tests take longest."
)


def unit_tests(placement: Placement) -> Iterator[Reading]:
    """Yield its wall time, after its dependencies were installed."""
    command = ["make", "--silent", "unit"]
    subprocess.run(
        ["make", "--silent", ".venv/test"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)  # noqa: S603
    took = time.monotonic() - began
    missing = "" if done.returncode == 0 else "a unit test fails"
    where = f"{placement.name}: it uses all cores"
    yield Reading(
        "`make unit`, seconds", where, took, Bound(SECONDS), obstacle=OTHERS, missing=missing
    )
