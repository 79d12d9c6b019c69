"""``docs/performance.md``: written by the command, from what it measured and nothing else."""

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
from benchmarks.contest import Result
from benchmarks.discovery import PLUGINS
from benchmarks.growth import MAX_RISE, Size, rises
from benchmarks.plot import plot

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PLOT = PAGE.with_name("growth.svg")
PEERS = ("urllib3", "httptools", "httpx", "aiohttp", "requests-unixsocket2", "docker", "flask")


@frozen
class Findings:
    """Everything that one run found."""

    results: list[Result]
    growths: list[Growth]
    calls: list[Profile]
    activations: list[Profile]
    sizes: list[Size]

    @property
    def missed(self) -> list[Result]:
        """The rows whose bound was not kept."""
        return [result for result in self.results if not result.kept]


def write(found: Findings) -> None:
    """The page, and the plot beside it."""
    PAGE.write_text(page(found))
    lines = {
        "get_all, ms": [(size.plugins, size.get_all * 1e3) for size in found.sizes],
        "memory, MiB": [(size.plugins, size.memory / (1 << 20)) for size in found.sizes],
        "scan, ms": [(size.plugins, size.scan * 1e3) for size in found.sizes],
    }
    PLOT.write_text(plot(lines, "plugins", "cost"))


def page(found: Findings) -> str:
    """The document."""
    parts = [
        _head(),
        _table(found),
        _memory(found),
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
    yield "All who are compared take turns in one run, round by round. Times are medians for one"
    yield "piece of work, the ratio is the median over the rounds, and the noise the distance"
    yield "between the ratio's quartiles, as a part of it. `≤` bounds our time over theirs, `≥` our"
    yield "throughput over theirs. The Go host is Moby's own package, as Debian has it, calling the"
    yield "same plugin."


def _table(found: Findings) -> Iterator[str]:
    yield "| work | ours | against | theirs | ratio | bound | noise |"
    yield "|---|---|---|---|---|---|---|"
    yield from (result.line for result in found.results)


def _memory(found: Findings) -> Iterator[str]:
    yield "Growth of the process while a gigabyte passes, at its peak:"
    yield ""
    yield "| work | grows by | bound |"
    yield "|---|---|---|"
    yield from (grown.line for grown in found.growths)


def _missed(found: Findings) -> Iterator[str]:
    explained: dict[str, list[str]] = {}
    for result in found.results:
        if result.row.obstacle and (result.row.bound is None or not result.kept):
            works = explained.setdefault(result.row.obstacle, [])
            works.append(f"{result.row.work}, against {result.row.theirs}")
    if explained:
        yield "## What stands in the way"
        yield ""
    for obstacle, works in explained.items():
        yield f"- {'; '.join(works)}: {obstacle}"


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
