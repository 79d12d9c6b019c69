"""Measure every pair in one run, print the table, and write it to ``docs/performance.md``.

The two sides of a pair take turns, round by round, so that whatever else the
machine does hits both. A figure is the median over the rounds; the noise is the
distance between the quartiles, as a part of the median. The exit status is 1 where a
ratio is over its bound.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from attrs import frozen

from benchmarks.pairs import Pair, call_pair, import_pair, quick_plugin, scan_pairs

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


MILLISECOND = 1e-3


@frozen
class Result:
    """What one pair came to; times in seconds for one piece of work."""

    pair: Pair
    ours: list[float]
    plain: list[float]

    @property
    def ratio(self) -> float:
        """How many times as long ours takes."""
        return statistics.median(self.ours) / statistics.median(self.plain)

    @property
    def row(self) -> str:
        """A row of the table."""
        return (
            f"| {self.pair.name} | {_time(self.ours)} | {_time(self.plain)} "
            f"| {self.ratio:.2f} | {self.pair.bound:.2f} | {_noise(self.ours, self.plain)} |"
        )


def measure(pair: Pair) -> Result:
    """Let both sides take turns."""
    pair.ours()
    pair.plain()
    ours, plain = [], []
    for _ in range(pair.rounds):
        ours.append(_timed(pair.ours) / pair.per_round)
        plain.append(_timed(pair.plain) / pair.per_round)
    return Result(pair, ours, plain)


def all_results() -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="mp-") as directory:
        with quick_plugin(Path(directory)) as path:
            yield measure(call_pair(path))
        for pair in scan_pairs(Path(directory)):
            yield measure(pair)
    yield measure(import_pair())


def page(results: list[Result]) -> str:
    """The document, as a command can write it."""
    cores = f"{os.cpu_count()} cores"
    return "\n".join(
        [
            "# Performance",
            "",
            "Written by `make bench`; run it to see your own machine.",
            f"This run: Python {platform.python_version()}, urllib3 {version('urllib3')}, {cores}.",
            "",
            "| work | ours | plain | ratio | at most | noise |",
            "|---|---|---|---|---|---|",
            *(result.row for result in results),
            "",
        ]
    )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _time(values: list[float]) -> str:
    median = statistics.median(values)
    return f"{median * 1e6:,.0f} µs" if median < MILLISECOND else f"{median * 1e3:,.1f} ms"


def _noise(*sides: list[float]) -> str:
    quartiles = [statistics.quantiles(side, n=4) for side in sides]
    return f"{max((high - low) / middle for low, middle, high in quartiles):.0%}"


def main() -> int:
    results = list(all_results())
    text = page(results)
    PAGE.write_text(text)
    print(text)
    missed = [result.pair.name for result in results if result.ratio > result.pair.bound]
    for name in missed:
        print(f"over its bound: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
