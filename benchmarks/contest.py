"""Who does the same work in how much time: all take turns, round by round.

So whatever else the machine does hits all of them. Figures are medians over the
rounds; the ratio is the median of each round's own, and the noise the distance
between that ratio's quartiles, as a part of it.
"""

import statistics
import time
from collections.abc import Callable, Mapping

from attrs import field, frozen

from benchmarks.placement import Placement

# Does one round of work, and returns the seconds it took.
Side = Callable[[], float]

MILLISECOND = 1e-3
THOUSAND = 1000
# What quartiles need.
FEWEST_ROUNDS = 5


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
    # The side that does the least that any could, measured in the same rounds.
    floor: str = ""
    # What the floor is compared with, where it is not what this row is.
    floor_against: str = ""
    # Of the counts, those of this row's call.
    counts: str = ""


@frozen
class Contest:
    """Sides by name, and the rows that come of them. ``units`` is the work of one round.

    This process, its children and the peers are pinned as ``placement`` says while they run;
    who makes the contest has started the plugin there.
    """

    sides: Mapping[str, Side]
    rows: tuple[Comparison, ...]
    rounds: int
    units: int = 1
    placement: Placement = field(kw_only=True)

    def run(self, part: float = 1.0) -> list["Result"]:
        """Let all take turns, after one round that does not count; ``part`` is of the rounds."""
        times: dict[str, list[float]] = {name: [] for name in self.sides}
        with self.placement.pinned():
            for number in range(max(round(self.rounds * part), FEWEST_ROUNDS) + 1):
                for name, side in self.sides.items():
                    seconds = side() / self.units
                    if number:
                        times[name].append(seconds)
        return [
            Result(
                row,
                self.placement.name,
                times[row.ours],
                times[row.theirs],
                _ratios(row, times[row.floor], times[row.floor_against or row.theirs])
                if row.floor
                else [],
            )
            for row in self.rows
        ]


@frozen
class Result:
    """What a row came to; times in seconds for one unit of work."""

    row: Comparison
    placement: str
    ours: list[float] = field(repr=False)
    theirs: list[float] = field(repr=False)
    floor: list[float] = field(repr=False)

    @property
    def work(self) -> str:
        """What was compared with what, and where."""
        return f"{self.row.work}, against {self.row.theirs}, {self.placement}"

    @property
    def ratio(self) -> float:
        """In the terms of the bound; of the time where there is none."""
        return statistics.median(_ratios(self.row, self.ours, self.theirs))

    @property
    def lowest(self) -> str:
        """The ratio that the floor came to, for the page."""
        return f"{statistics.median(self.floor):.2f}" if self.floor else ""

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
            f"| {self.row.work} | {self.placement} | {shown(self.ours)} | {self.row.theirs} "
            f"| {shown(self.theirs)} | {self.ratio:.2f} "
            f"| {bound} | {met(self.row.bound, self.kept)} "
            f"| {self.lowest} | {self.noise} |"
        )

    @property
    def noise(self) -> str:
        """The ratio's spread."""
        low, middle, high = statistics.quantiles(_ratios(self.row, self.ours, self.theirs), n=4)
        return f"{(high - low) / middle:.0%}"


def _ratios(row: Comparison, ours: list[float], theirs: list[float]) -> list[float]:
    pairs = zip(ours, theirs, strict=True)
    if row.bound is not None and row.bound.throughput:
        return [other / mine for mine, other in pairs]
    return [mine / other for mine, other in pairs]


@frozen
class Reading:
    """A row whose value is not a contest's: a count, or a cost over another.

    ``missing`` is set where it could not be read, and says why.
    """

    work: str
    placement: str
    value: float
    bound: Bound | None
    floor: str = ""
    obstacle: str = ""
    missing: str = ""

    @property
    def kept(self) -> bool:
        """Whether the bound holds, or nothing could be read."""
        return bool(self.missing) or self.bound is None or self.value <= self.bound.ratio

    @property
    def shown(self) -> str:
        """The value, or why there is none."""
        return self.missing or amount(self.value)

    @property
    def line(self) -> str:
        """A row of the table."""
        bound = "none" if self.bound is None else f"≤ {amount(self.bound.ratio)}"
        kept = "not counted" if self.missing else met(self.bound, self.kept)
        return (
            f"| {self.work} | {self.placement} | {self.shown} | {bound} | {kept} | {self.floor} |"
        )


def met(bound: Bound | None, kept: bool) -> str:  # noqa: FBT001  what the page says of it
    """What the page says of a bound."""
    return "" if bound is None else "met" if kept else "**not met**"


def amount(value: float) -> str:
    """A count in full, a ratio or a time in two digits after the point."""
    return f"{value:,.0f}" if value >= THOUSAND else f"{value:,.2f}"


def shown(values: list[float]) -> str:
    """A median, in the unit that suits it."""
    median = statistics.median(values)
    if median < MILLISECOND / 100:
        return f"{median * 1e9:,.0f} ns"
    return f"{median * 1e6:,.0f} µs" if median < MILLISECOND else f"{median * 1e3:,.1f} ms"
