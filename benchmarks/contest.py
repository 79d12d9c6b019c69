"""Who does the same work in how much time: all take turns, round by round.

So whatever else the machine does hits all of them. Figures are medians over the
rounds; the ratio is the median of each round's own, and the noise the distance
between that ratio's quartiles, as a part of it.
"""

import statistics
import time
from collections.abc import Callable, Mapping

from attrs import field, frozen

# Does one round of work, and returns the seconds it took.
Side = Callable[[], float]

MILLISECOND = 1e-3


def timed(work: Callable[[], object]) -> Side:
    """``work`` as a side of a contest, timed here."""

    def side() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return side


@frozen
class Bound:
    """What a ratio may be: of the time at most, or of the throughput at least."""

    ratio: float
    throughput: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.throughput else '≤'} {self.ratio:.2f}"


@frozen
class Comparison:
    """A row of the table: one side of a contest against another."""

    work: str
    ours: str
    theirs: str
    bound: Bound | None
    # What stands in the way, for the page, where the bound is not kept.
    obstacle: str = ""


@frozen
class Contest:
    """Sides by name, and the rows that come of them. ``units`` is the work of one round."""

    sides: Mapping[str, Side]
    rows: tuple[Comparison, ...]
    rounds: int
    units: int = 1

    def run(self) -> list["Result"]:
        """Let all take turns, after one round that does not count."""
        times: dict[str, list[float]] = {name: [] for name in self.sides}
        for number in range(self.rounds + 1):
            for name, side in self.sides.items():
                seconds = side() / self.units
                if number:
                    times[name].append(seconds)
        return [Result(row, times[row.ours], times[row.theirs]) for row in self.rows]


@frozen
class Result:
    """What a row came to; times in seconds for one unit of work."""

    row: Comparison
    ours: list[float] = field(repr=False)
    theirs: list[float] = field(repr=False)

    @property
    def ratio(self) -> float:
        """In the terms of the bound; of the time where there is none."""
        return statistics.median(self._ratios)

    @property
    def kept(self) -> bool:
        """Whether the bound holds."""
        bound = self.row.bound
        if bound is None:
            return True
        return self.ratio >= bound.ratio if bound.throughput else self.ratio <= bound.ratio

    @property
    def line(self) -> str:
        """A row of the table."""
        bound = "none" if self.row.bound is None else str(self.row.bound)
        return (
            f"| {self.row.work} | {shown(self.ours)} | {self.row.theirs} | {shown(self.theirs)} "
            f"| {self.ratio:.2f} | {bound}{'' if self.kept else ' (missed)'} | {self.noise} |"
        )

    @property
    def noise(self) -> str:
        """The ratio's spread."""
        low, middle, high = statistics.quantiles(self._ratios, n=4)
        return f"{(high - low) / middle:.0%}"

    @property
    def _ratios(self) -> list[float]:
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.row.bound is not None and self.row.bound.throughput:
            return [theirs / ours for ours, theirs in pairs]
        return [ours / theirs for ours, theirs in pairs]


def shown(values: list[float]) -> str:
    """A median, in the unit that suits it."""
    median = statistics.median(values)
    if median < MILLISECOND / 100:
        return f"{median * 1e9:,.0f} ns"
    return f"{median * 1e6:,.0f} µs" if median < MILLISECOND else f"{median * 1e3:,.1f} ms"
