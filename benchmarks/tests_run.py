"""The time of ``make unit`` on all cores, and of as many empty tests.

The floor is pytest's own time: ``make unit`` with a copy of the tests in which each file has as
many functions with as many cases, and each of them does nothing. It imports pytest and
hypothesis alone.
"""

import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from benchmarks.contest import Bound, Reading
from benchmarks.placement import Placement

ROOT = Path(__file__).parents[1]
UNIT = "tests/unit"
SECONDS = 6.0
ROUNDS = 3

OTHERS = (
    "It uses all cores and cannot be pinned: what else runs on this machine is in both times. The "
    "floor is pytest's own for as many empty tests in as many files, run by the same two processes "
    "with the same options, in turns. `pytest --durations=20` says which tests take longest."
)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
# What ``tests/unit/conftest.py`` prints.
_OWN = re.compile(r"unit tests: ([\d.]+) s of their own")
# As the tests' own: the collector's time is the same, and the profile that ``make unit`` names.
CONFTEST = """\
import gc

import hypothesis

gc.disable()
hypothesis.settings.register_profile("few", max_examples=5)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()
"""


@frozen
class _Run:
    """A run of the tests: its seconds, those of the tests themselves, and what failed, or ""."""

    seconds: float
    own: float
    failed: str


def unit_tests(placement: Placement) -> Iterator[Reading]:
    """Yield its wall time, after its dependencies were installed."""
    _make(".venv/test")
    listed = subprocess.run(  # noqa: S603  our own
        [str(ROOT / ".venv/bin/pytest"), "--collect-only", "--quiet", UNIT],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    tests = [line for line in listed.splitlines() if line.startswith(f"{UNIT}/") and "::" in line]
    with tempfile.TemporaryDirectory(prefix="mp-") as directory:
        write_empty(Path(directory), tests)
        empty = f"TESTS={directory}/{UNIT}"
        _make("unit", empty)  # what pytest compiles of the tests is kept
        runs = [(_make("unit"), _make("unit", empty)) for _ in range(ROUNDS)]
    own = statistics.median(run.own for run, _ in runs)
    yield Reading(
        "`make unit`, seconds",
        f"{placement.name}: it uses all cores",
        statistics.median(run.seconds for run, _ in runs),
        Bound(SECONDS),
        f"{statistics.median(run.seconds for _, run in runs):.2f}",
        obstacle=OTHERS,
        missing=next((run.failed for pair in runs for run in pair if run.failed), ""),
        beside=f"{len(tests):,} tests, {own:.1f} s of their own in two processes",
    )


def write_empty(root: Path, tests: list[str]) -> None:
    """Write as many empty tests, in the same files, for each of these ids."""
    files: dict[str, Counter[str]] = defaultdict(Counter)
    for test in tests:
        file, _, name = test.partition("::")
        files[file][re.sub(r"\W+", "_", name.partition("[")[0])] += 1
    for file, functions in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import pytest\n\n" + "".join(_empty(*each) for each in functions.items()))
    (root / UNIT / "conftest.py").write_text(CONFTEST)


def _empty(name: str, cases: int) -> str:
    if cases == 1:
        return f"\ndef test_{name}() -> None:\n    pass\n"
    mark = f"@pytest.mark.parametrize('case', range({cases}))"
    return f"\n{mark}\ndef test_{name}(case: int) -> None:\n    pass\n"


def _make(target: str, *variables: str) -> _Run:
    command = ["make", "--silent", target, *variables]
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603  our own
        command, cwd=ROOT, check=False, capture_output=True, text=True
    )
    own = sum(float(seconds) for seconds in _OWN.findall(done.stdout))
    failed = _FAILED.search(done.stdout)
    why = f"{failed[1]} fails" if failed else f"make {target} fails"
    return _Run(time.monotonic() - began, own, why if done.returncode else "")
