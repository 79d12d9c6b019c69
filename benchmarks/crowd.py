"""The cost of each of 10,000 active plugins against each of 100, with few file descriptors.

``python -m benchmarks.crowd DIRECTORY`` measures one number of plugins, and prints JSON. Its
process may have 256 files open, far fewer than there are plugins, so that most calls open a new
connection.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from attrs import asdict, frozen

from benchmarks.calls import Mounted, settings
from benchmarks.command_line import COMMAND, only_in, process
from benchmarks.contest import Bound, Reading
from benchmarks.peers.python_clients import ARGS, METHOD
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import Client, Settings, new_client, new_local_registry

FEW, MANY = 100, 10_000
FILES = 256
RISE = 1.5
DIALLED_AGAIN = 1.3
# Both numbers are measured in turns; the row is the median of the rounds' ratios.
ROUNDS = 5
# How many plugins are called in turn: more than there are idle connections.
CALLED = 300

COLLECTING = (
    "All values stay alive, and the garbage collector looks at them again each time their number "
    "has grown by a quarter."
)


@frozen
class Cost:
    """Seconds for one plugin: to activate it, to list it once active, to scan, and to call it."""

    get_all: float
    again: float
    scan: float
    call: float
    fresh: float


def crowd(directory: Path, placement: Placement) -> Iterator[Reading]:
    """Yield all rows. The plugins are links to one socket."""
    with placement.pinned(), quick_plugins(directory, placement=placement) as path:
        folders = {count: linked(directory, path, count) for count in (1, FEW, MANY)}
        costs = [
            {count: _in_a_process(folders[count], count) for count in (FEW, MANY)}
            for _ in range(ROUNDS)
        ]
        listing = [
            {
                count: process([COMMAND, "ls"], **only_in(folder))()
                for count, folder in folders.items()
            }
            for _ in range(ROUNDS)
        ]
    where = f"{placement.name}, {FILES} files"
    rises = {
        f"get_all, activating {MANY:,} plugins, one over one of {FEW}": "get_all",
        f"get_all of {MANY:,} active plugins, one over one of {FEW}": "again",
        f"scan of {MANY:,} plugins, one over one of {FEW}": "scan",
    }
    for work, name in rises.items():
        ratios = [getattr(cost[MANY], name) / getattr(cost[FEW], name) for cost in costs]
        yield Reading(work, where, statistics.median(ratios), Bound(RISE), obstacle=COLLECTING)
    # Subtract the cost of the first plugin, which includes imports.
    each = [
        (took[MANY] - took[1]) / (MANY - 1) / ((took[FEW] - took[1]) / (FEW - 1))
        for took in listing
    ]
    work = f"moby-plugins ls over {MANY:,} plugins, one over one of {FEW}, less ls over 1"
    yield Reading(work, where, statistics.median(each), Bound(RISE), obstacle=COLLECTING)
    again = [cost[MANY].call / cost[MANY].fresh for cost in costs]
    work = f"a call that dials again among {MANY:,} active plugins, over one of a new client"
    yield Reading(work, where, statistics.median(again), Bound(DIALLED_AGAIN), obstacle=COLLECTING)


def linked(directory: Path, path: Path, count: int) -> Path:
    """Return a directory with ``count`` plugins, all links to ``path``."""
    folder = directory / f"crowd-{count}"
    folder.mkdir()
    for number in range(count):
        (folder / f"plugin-{number:05}.sock").symlink_to(path)
    return folder


def _in_a_process(directory: Path, count: int) -> Cost:
    command = [sys.executable, "-m", "benchmarks.crowd", str(directory), str(count)]
    told = subprocess.run(command, check=True, capture_output=True)  # noqa: S603  our own
    return Cost(**json.loads(told.stdout))


def _measured(directory: Path, count: int) -> Cost:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    here = Settings(
        sockets_path=str(directory),
        specs_paths=(),
        transports=settings("httptools").transports,
    )
    with new_local_registry(here) as registry, ExitStack() as stack:
        for name in registry.scan()[:5]:  # for the imports of first use
            registry.get(name, "VolumeDriver")
            registry.invalidate(name)
        scan = min(seconds(registry.scan) for _ in range(5))
        get_all = seconds(lambda: registry.get_all("VolumeDriver"))
        again = min(seconds(lambda: registry.get_all("VolumeDriver")) for _ in range(5))
        found = registry.get_all("VolumeDriver")
        assert len(found) == count
        active = [plugin.client for plugin in found[:CALLED]]
        call, fresh = [], []
        for client in active * (1 if count > CALLED else 0):
            other = new_client(client.address.text, settings=here)
            stack.callback(other.close)
            fresh.append(calling(other))
            other.close()
            call.append(calling(client))
        return Cost(
            get_all / count,
            again / count,
            scan / count,
            statistics.median(call or [0.0]),
            statistics.median(fresh or [0.0]),
        )


def calling(client: Client) -> float:
    """Return the seconds of one call."""
    return seconds(lambda: client.call(METHOD, ARGS, Mounted))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(asdict(_measured(Path(sys.argv[1]), int(sys.argv[2])))))
