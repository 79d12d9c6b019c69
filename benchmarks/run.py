"""Measure every pair in one run, print the table, and write it to ``docs/performance.md``.

The two sides of a pair take turns, round by round, so that whatever else the
machine does hits both. Figures are medians over the rounds. The noise is the
distance between the quartiles of the ratio, as a part of it. The exit status is 1
where a ratio is over its bound.
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
        """How many times as long ours takes: the median over the rounds, each with its own peer."""
        return statistics.median(self._ratios)

    @property
    def _ratios(self) -> list[float]:
        return [ours / plain for ours, plain in zip(self.ours, self.plain, strict=True)]

    @property
    def row(self) -> str:
        """A row of the table."""
        return (
            f"| {self.pair.name} | {_time(self.ours)} | {_time(self.plain)} "
            f"| {self.ratio:.2f} | {self.pair.bound:.2f} | {_noise(self._ratios)} |"
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


def _noise(ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{(high - low) / middle:.0%}"


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
