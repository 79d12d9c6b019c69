"""How costs grow with the number of plugins: one process for each number, and a plot of all.

``python -m benchmarks.growth DIRECTORY COUNT`` measures one number, and prints JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import asdict, frozen

from benchmarks.processes import quick_plugins
from moby_plugins import Registry, Settings, new_local_registry

SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)
# The largest rise in cost per plugin from a thousand to ten thousand; quadratic growth gives 10.
MAX_RISE = 3.0
WARM_UP = 5
SCANS = 5

_STATUS = Path("/proc/self/status")


@frozen
class Size:
    """The costs of a number of plugins: seconds, and bytes once all are active."""

    plugins: int
    scan: float
    get_all: float
    memory: int


def measured(directory: Path) -> list[Size]:
    """Measure all sizes. The plugins are links to one socket, which closes each connection."""
    with quick_plugins(directory):
        return [_in_a_process(directory, count) for count in SIZES]


def rises(sizes: list[Size]) -> dict[str, float]:
    """Return the rise in cost per plugin from a thousand plugins to ten thousand."""
    few, many = (next(s for s in sizes if s.plugins == n) for n in (1000, SIZES[-1]))
    return {
        what: (getattr(many, what) / many.plugins) / (getattr(few, what) / few.plugins)
        for what in ("scan", "get_all", "memory")
    }


def table(sizes: list[Size]) -> Iterator[str]:
    """Yield a table of the costs per plugin."""
    yield "| plugins | scan, each | get_all, each | memory, each |"
    yield "|---|---|---|---|"
    for size in sizes:
        n = size.plugins
        yield (
            f"| {n:,} | {size.scan / n * 1e6:,.1f} µs | {size.get_all / n * 1e6:,.0f} µs "
            f"| {size.memory / n / 1024:,.1f} KiB |"
        )


def _in_a_process(directory: Path, count: int) -> Size:
    links = directory / f"links-{count}"
    links.mkdir()
    for number in range(count):
        (links / f"plugin-{number:05}.sock").symlink_to(directory / "closing.sock")
    command = [sys.executable, "-m", "benchmarks.growth", str(links), str(count)]
    told = subprocess.run(command, check=True, capture_output=True)  # noqa: S603  our own
    return Size(**json.loads(told.stdout))


def _one(directory: Path, count: int) -> Size:
    registry = new_local_registry(Settings(sockets_path=str(directory), specs_paths=()))
    with registry:
        for name in registry.scan()[:WARM_UP]:
            registry.get(name, "VolumeDriver")
            registry.invalidate(name)
        scan = min(_seconds(registry) for _ in range(SCANS))
        before, began = _resident(), time.perf_counter()
        found = registry.get_all("VolumeDriver")
        took = time.perf_counter() - began
        assert len(found) == count
        return Size(count, scan, took, max(_resident() - before, 1))


def _seconds(registry: Registry) -> float:
    began = time.perf_counter()
    registry.scan()
    return time.perf_counter() - began


def _resident() -> int:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    print(json.dumps(asdict(_one(Path(sys.argv[1]), int(sys.argv[2])))))
