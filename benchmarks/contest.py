"""Contests, in which several sides do the same work and take turns, round by round.

So other load on the machine affects all sides. Figures are medians over the rounds. The ratio is
the median of the ratios of all rounds, and the noise is the distance between the quartiles of
these, as a fraction of their median.
"""

import statistics
import time
from collections.abc import Callable, Mapping

from attrs import field, frozen

from benchmarks.placement import Placement

# A function that does one round of work and returns the seconds it took.
Side = Callable[[], float]

MILLISECOND = 1e-3
THOUSAND = 1000
# As many as quartiles need.
FEWEST_ROUNDS = 5


def timed(work: Callable[[], object]) -> Side:
    """Return a side of a contest that runs ``work`` and measures its time."""

    def side() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return side


@frozen
class Bound:
    """A bound for a ratio: the largest of times, or the smallest of throughputs."""

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
    # For the page: the obstacle, if the bound is not met.
    obstacle: str = ""
    # The side that does the minimum of work, measured in the same rounds.
    floor: str = ""
    # The side that the floor is compared with, if not that of this row.
    floor_against: str = ""
    # The name of the counts for the call of this row.
    counts: str = ""


@frozen
class Contest:
    """Sides by name, and the rows to compute. ``units`` is the amount of work in one round.

    While the contest runs, this process, its children and the peers are pinned to the cores in
    ``placement``. The caller has already started the plugin there.
    """

    sides: Mapping[str, Side]
    rows: tuple[Comparison, ...]
    rounds: int
    units: int = 1
    placement: Placement = field(kw_only=True)

    def run(self, part: float = 1.0) -> list["Result"]:
        """Run the given part of the rounds, in turns, after one round that does not count."""
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
    """The result of a row; times are in seconds for one unit of work."""

    row: Comparison
    placement: str
    ours: list[float] = field(repr=False)
    theirs: list[float] = field(repr=False)
    floor: list[float] = field(repr=False)

    @property
    def work(self) -> str:
        """The two sides and the placement, as text."""
        return f"{self.row.work}, against {self.row.theirs}, {self.placement}"

    @property
    def ratio(self) -> float:
        """The ratio that the bound applies to; of the times if there is no bound."""
        return statistics.median(_ratios(self.row, self.ours, self.theirs))

    @property
    def lowest(self) -> str:
        """The ratio of the floor, for the page."""
        return f"{statistics.median(self.floor):.2f}" if self.floor else ""

    def explained(self, ours: float, theirs: float) -> list[str]:
        """Say what counts of ours and of theirs mean for the time that is not the floor's.

        A pace is a count over that time.
        """
        bound = self.row.bound
        if bound is None or bound.throughput or not self.floor or self.row.floor_against:
            return []
        lowest = statistics.median(self.floor)
        left = max((bound.ratio - lowest) / (self.ratio - lowest), 0.0)
        pace = ours / theirs / (self.ratio - lowest) * (1 - lowest) if theirs else 0.0
        return [
            *([f"our pace {pace:.2f} of theirs"] if theirs else []),
            f"the bound leaves {amount(ours * left)}",
        ]

    @property
    def kept(self) -> bool:
        """Whether the bound is met."""
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
        """The distance between the ratio's quartiles, relative to its median."""
        low, middle, high = statistics.quantiles(_ratios(self.row, self.ours, self.theirs), n=4)
        return f"{(high - low) / middle:.0%}"


def _ratios(row: Comparison, ours: list[float], theirs: list[float]) -> list[float]:
    pairs = zip(ours, theirs, strict=True)
    if row.bound is not None and row.bound.throughput:
        return [other / mine for mine, other in pairs]
    return [mine / other for mine, other in pairs]


@frozen
class Reading:
    """A row whose value is not from a contest: a count, or a difference of costs.

    ``missing`` says why the value could not be measured, "" if it was.
    """

    work: str
    placement: str
    value: float
    bound: Bound | None
    floor: str = ""
    obstacle: str = ""
    missing: str = ""
    # The counts that explain a time.
    beside: str = ""
    # The name of the counts that explain it.
    counts: str = ""
    # The same count for the Go host.
    go: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the bound is met, or the value is missing."""
        return bool(self.missing) or self.bound is None or self.value <= self.bound.ratio

    @property
    def shown(self) -> str:
        """The value, or why there is none."""
        return self.missing or amount(self.value)

    @property
    def besides(self) -> str:
        """What was measured beside it, as text."""
        return f"the Go host {amount(self.go)}" if self.go else self.beside

    @property
    def line(self) -> str:
        """A row of the table."""
        bound = "none" if self.bound is None else f"≤ {amount(self.bound.ratio)}"
        kept = "not counted" if self.missing else met(self.bound, self.kept)
        return (
            f"| {self.work} | {self.placement} | {self.shown} | {bound} | {kept} | {self.floor} "
            f"| {self.besides} |"
        )


def met(bound: Bound | None, kept: bool) -> str:  # noqa: FBT001  what the page says of it
    """Return what the page says about a bound."""
    return "" if bound is None else "met" if kept else "**not met**"


def amount(value: float) -> str:
    """Return a number as text: large ones as integers, others with two decimals."""
    return f"{value:,.0f}" if value >= THOUSAND else f"{value:,.2f}"


def shown(values: list[float]) -> str:
    """Return the median of times in a suitable unit."""
    median = statistics.median(values)
    if median < MILLISECOND / 100:
        return f"{median * 1e9:,.0f} ns"
    return f"{median * 1e6:,.0f} µs" if median < MILLISECOND else f"{median * 1e3:,.1f} ms"
