"""Measure everything in one run, print the page, and write it to ``docs/performance.md``.

The exit status is 1 where a bound is missed. Needs Linux, and for the Go host Debian's
golang-go and golang-github-docker-docker-dev.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import bulk, calls, command_line, discovery, serving
from benchmarks.call_profile import activation_profiles, call_profiles
from benchmarks.contest import Contest
from benchmarks.growth import MAX_RISE, measured, rises
from benchmarks.page import PAGE, Findings, page, write
from benchmarks.peers.go_host import GoHost, installed


class _Places:
    """A new directory for each part, with a path short enough for sockets."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0

    def new(self) -> Path:
        self._count += 1
        path = self._root / f"{self._count}"
        path.mkdir()
        return path


def contests(places: _Places, go: GoHost, program: Path) -> Iterator[Contest]:
    """All but the bulk."""
    yield from calls.call_contest(places.new(), go)
    yield from calls.one_core_contest(places.new(), program)
    yield from discovery.scan_contests(places.new(), go)
    yield from discovery.get_all_contest(places.new(), go)
    yield from discovery.get_contest(places.new())
    yield from serving.serving_contest(places.new())
    yield discovery.import_contest()
    yield from command_line.command_line_contests(places.new())


def findings() -> Findings:
    """The whole run."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mp-")))
        places = _Places(root)
        program = GoHost.built(root)
        go = stack.enter_context(GoHost.running(program))
        results, growths = [], []
        for contest in contests(places, go, program):
            results += contest.run()
        for contest, memory in bulk.bulk_contests(places.new(), go):
            results += contest.run()
            growths += memory
        return Findings(
            results,
            growths,
            list(call_profiles(places.new())),
            list(activation_profiles(places.new())),
            measured(places.new()),
        )


def main() -> int:
    """Run it all; 0 where every bound was kept."""
    if not installed():
        print("the Go host is missing: apt install golang-go golang-github-docker-docker-dev")
        return 2
    found = findings()
    write(found)
    print(page(found))
    missed = [f"{result.row.work}, against {result.row.theirs}" for result in found.missed]
    missed += [growth.work for growth in found.growths if not growth.kept]
    missed += [what for what, rise in rises(found.sizes).items() if rise > MAX_RISE]
    for name in missed:
        print(f"over its bound: {name}")
    print(f"written: {PAGE}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
