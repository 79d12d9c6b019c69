"""Write ``docs/performance.md`` from the measurements."""

import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from attrs import frozen

from benchmarks import call_profile, growth
from benchmarks.bulk import Growth
from benchmarks.call_profile import Profile
from benchmarks.contest import Reading, Result
from benchmarks.counted import INSTRUCTIONS
from benchmarks.discovery import PLUGINS
from benchmarks.growth import MAX_RISE, Size, rises
from benchmarks.plot import plot

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PLOT = PAGE.with_name("growth.svg")
PEERS = ("urllib3", "httptools", "httpx", "aiohttp", "requests-unixsocket2", "docker", "flask")


@frozen
class Findings:
    """The measurements of one run."""

    results: list[Result]
    readings: list[Reading]
    growths: list[Growth]
    calls: list[Profile]
    activations: list[Profile]
    sizes: list[Size]


def write(found: Findings) -> None:
    """Write the page and the plot."""
    PAGE.write_text(page(found))
    lines = {
        "get_all, ms": [(size.plugins, size.get_all * 1e3) for size in found.sizes],
        "memory, MiB": [(size.plugins, size.memory / (1 << 20)) for size in found.sizes],
        "scan, ms": [(size.plugins, size.scan * 1e3) for size in found.sizes],
    }
    PLOT.write_text(plot(lines, "plugins", "cost"))


def page(found: Findings) -> str:
    """Return the text of the page."""
    parts = [
        _head(),
        tables(found),
        _missed(found),
        _profile(found),
        _growth(found),
    ]
    return "\n".join(line for part in parts for line in [*part, ""]).rstrip() + "\n"


def _head() -> Iterator[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in PEERS)
    told = subprocess.run(["go", "version"], capture_output=True, text=True, check=True)  # noqa: S607
    python, go = platform.python_version(), told.stdout.split()[2]
    yield "# Performance"
    yield ""
    yield "Written by `make bench`; run it to see your own machine. This run: Python"
    yield f"{python}, {os.cpu_count()} cores; {versions}; {go}."
    yield ""
    yield "All that are compared take turns in one run, round by round. Times are medians for one"
    yield "piece of work, the ratio is the median over the rounds, and the noise the distance"
    yield "between the ratio's quartiles, as a part of it. `≤` bounds our time over theirs, `≥` our"
    yield "throughput over theirs. The Go host is Moby's own package, as Debian has it, calling the"
    yield "same plugin. Host and plugin are pinned, both on one core or on a core each; a peer has"
    yield "the host's core. What cannot be pinned says so. The floor is the same ratio for the"
    yield "least that does the work at all, in most rows a bare socket that sends and receives the"
    yield "same bytes, measured in the same rounds."


def tables(found: Findings) -> Iterator[str]:
    """Yield the lines of the tables of all results."""
    if found.results:
        yield "| work | placement | ours | against | theirs | ratio | bound | | floor | noise |"
        yield "|---|---|---|---|---|---|---|---|---|---|"
        yield from (result.line for result in found.results)
        yield ""
    if found.readings:
        yield "Counts, and costs of one over costs of another. A call's count is the difference"
        yield "between many calls and few, and its floor a bare socket's. Beside it is what the Go"
        yield "host takes for the same, counted in the same way, or what else explains the value:"
        yield ""
        yield "| work | placement | value | bound | | floor | beside it |"
        yield "|---|---|---|---|---|---|---|"
        yield from (reading.line for reading in found.readings)
        yield ""
    if found.growths:
        yield "Growth of the process while a gigabyte passes, at its peak:"
        yield ""
        yield "| work | grows by | bound |"
        yield "|---|---|---|"
        yield from (grown.line for grown in found.growths)


def _missed(found: Findings) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for result in found.results:
        if not result.kept:
            rows.setdefault(result.row.obstacle, []).append(_missed_result(result, found.readings))
    for reading in found.readings:
        if not reading.kept:
            told = [f"{reading.work}: {reading.shown} where {reading.bound} is wanted"]
            told += [f"the floor beside it is {reading.floor}"] if reading.floor else []
            told += [reading.besides] if reading.besides else []
            told += _counts(reading.counts, found.readings)
            rows.setdefault(reading.obstacle, []).append("; ".join(told))
    if rows:
        yield "## What is not met, and what stands in the way"
        yield ""
        yield "The time beyond the floor is the host's own, and its pace the instructions that it"
        yield "executes in that time. System calls are in it too: a host that makes many of them"
        yield "has a slower pace. The bound leaves what we execute until it, at our pace."
    for obstacle, missed in rows.items():
        yield ""
        yield obstacle
        yield ""
        yield from (f"- {row}." for row in missed)


def _missed_result(result: Result, readings: list[Reading]) -> str:
    told = [f"{result.work}: {result.ratio:.2f} where {result.row.bound} is wanted"]
    if result.floor:
        told.append(f"the floor beside it, {result.row.floor}, is {result.lowest}")
    return "; ".join([*told, *_counts(result.row.counts, readings, result)])


def _counts(of: str, readings: list[Reading], result: Result | None = None) -> Iterator[str]:
    for reading in readings:
        if of and of in reading.work and not reading.missing:
            what = reading.work.partition(" of ")[0]
            more = [f"floor {reading.floor}" if reading.floor else "", reading.besides]
            if result is not None and what == INSTRUCTIONS:
                more += result.explained(reading.value, reading.go)
            yield f"{reading.shown} {what} ({', '.join(part for part in more if part)})"


def _profile(found: Findings) -> Iterator[str]:
    yield "## Where the time goes"
    yield ""
    yield "The shares are a profiler's, which makes many small functions look dearer than they"
    yield "are; the times are those shares of what it takes without one. `calls` counts functions."
    yield ""
    yield "A small call:"
    yield ""
    yield from call_profile.table(found.calls)
    yield ""
    yield f"An activation, one of {PLUGINS}: a look-up, a client, a connection, a handshake."
    yield ""
    yield from call_profile.table(found.activations)


def _growth(found: Findings) -> Iterator[str]:
    yield "## As plugins grow in number"
    yield ""
    yield f"![scan, get_all and memory from 10 to 10,000 plugins]({PLOT.name})"
    yield ""
    yield "Grey is what a linear cost would be. Sockets, default transport:"
    yield ""
    yield from growth.table(found.sizes)
    yield ""
    told = ", ".join(f"{what} {rise:.2f}" for what, rise in rises(found.sizes).items())
    yield "From 1,000 plugins to 10,000 the cost of one rises by a factor of at most"
    yield f"{MAX_RISE:.0f}, or it is not linear: {told}."
