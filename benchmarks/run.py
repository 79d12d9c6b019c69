"""Measure everything in one run, print the page, and write it to ``docs/performance.md``.

``--rows`` measures some parts alone and ``--quick`` a fifth of the rounds; either prints its
tables and writes nothing. The exit status is 1 where a bound is missed. Needs Linux, and for the
Go host Debian's golang-go and golang-github-docker-docker-dev. Instructions are counted where
valgrind is installed, and system calls where strace is.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from attrs import field, frozen

from benchmarks import (
    asynchronous,
    bulk,
    calls,
    command_line,
    counted,
    crowd,
    decoding,
    discovery,
    growth,
    observed,
    serving,
    tests_run,
)
from benchmarks.bulk import Growth
from benchmarks.call_profile import Profile, activation_profiles, call_profiles
from benchmarks.contest import Contest, Reading, Result
from benchmarks.growth import MAX_RISE, Size, rises
from benchmarks.page import PAGE, Findings, page, tables, write
from benchmarks.peers.go_host import GoHost, installed
from benchmarks.placement import Placements

# The results of a part of the run.
Found: TypeAlias = Contest | Reading | Growth
Part: TypeAlias = Callable[[], Iterable[Found]]
# The fraction of the rounds with ``--quick``.
QUICK = 0.2


@frozen
class _Run:
    """A run: its directory, the Go program, the placements, and the fraction of rounds."""

    root: Path
    program: Path
    places: Placements
    rounds: float
    _made: list[Path] = field(factory=list)

    def parts(self) -> Mapping[str, Part]:
        """Return all parts except the profiles, by their names for ``--rows``."""
        apart, together, program = self.places.apart, self.places.together, self.program
        return {
            "calls-one-core": lambda: calls.call_contests(
                self._new(), program, together, (0.75, 2.2)
            ),
            "calls": lambda: calls.call_contests(self._new(), program, apart, (1.0, 1.55)),
            "peers": lambda: calls.peer_contests(self._new(), apart),
            "threads": lambda: calls.thread_contests(self._new(), apart),
            "observed": lambda: observed.observed_readings(self._new(), together),
            "asynchronous": lambda: asynchronous.asynchronous_contests(self._new(), apart),
            "counts": lambda: counted.counts(self._new(), program, together),
            "scan": lambda: discovery.scan_contests(self._new(), program, apart),
            "get-all-one-core": lambda: discovery.get_all_contests(self._new(), program, together),
            "get-all": lambda: discovery.get_all_contests(self._new(), program, apart),
            "get": lambda: discovery.get_contest(self._new(), apart),
            "serving": lambda: serving.serving_contest(self._new(), apart),
            "decoding": lambda: decoding.decoding_contest(apart),
            "import": lambda: discovery.import_contest(apart),
            "command-line": lambda: command_line.command_line_contests(self._new(), apart),
            "bulk": self._bulk,
            "growth": lambda: crowd.crowd(self._new(), apart),
            "unit": lambda: tests_run.unit_tests(self.places.free),
        }

    def found(self, names: Iterable[str]) -> Iterator[Result | Reading | Growth]:
        """Yield the results of these parts, and report progress."""
        parts = self.parts()
        for name in names:
            began = time.monotonic()
            for one in parts[name]():
                yield from one.run(self.rounds) if isinstance(one, Contest) else [one]
            say(f"{name}: {time.monotonic() - began:.0f} s")

    def sizes(self) -> list[Size]:
        """Return the costs by number of plugins, for the plot."""
        with self.places.apart.pinned():
            return growth.measured(self._new())

    def profiles(self) -> tuple[list[Profile], list[Profile]]:
        """Return the profiles of a call and of an activation."""
        apart = self.places.apart
        return list(call_profiles(self._new(), apart)), list(
            activation_profiles(self._new(), apart)
        )

    def _bulk(self) -> Iterator[Found]:
        for contest, growths in bulk.bulk_contests(self._new(), self.program, self.places.apart):
            yield contest
            yield from growths

    def _new(self) -> Path:
        """Return a new directory with a path that is short enough for sockets."""
        path = self.root / f"{len(self._made)}"
        path.mkdir()
        self._made.append(path)
        return path


def say(what: str) -> None:
    """Report the progress of the run."""
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmarks; return 0 if every bound was met."""
    given = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    given.add_argument("--rows", nargs="+", metavar="PART", help="these parts alone")
    given.add_argument("--quick", action="store_true", help="a fifth of the rounds")
    options = given.parse_args()
    if not installed():
        print("the Go host is missing: apt install golang-go golang-github-docker-docker-dev")
        return 2
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mp-")))
        rounds = QUICK if options.quick else 1.0
        run = _Run(root, GoHost.built(root), Placements.of_this_process(), rounds)
        names = options.rows or list(run.parts())
        if unknown := [name for name in names if name not in run.parts()]:
            given.error(f"no such part: {', '.join(unknown)}; there are {', '.join(run.parts())}")
        found = list(run.found(names))
        whole = not (options.rows or options.quick)
        sizes = run.sizes() if whole else []
        profiles = run.profiles() if whole else ([], [])
    findings = Findings(
        [one for one in found if isinstance(one, Result)],
        [one for one in found if isinstance(one, Reading)],
        [one for one in found if isinstance(one, Growth)],
        *profiles,
        sizes,
    )
    if whole:
        write(findings)
    print(page(findings) if whole else "\n".join(tables(findings)))
    missed = [one.work for one in found if not one.kept]
    if sizes:
        missed += [what for what, rise in rises(sizes).items() if rise > MAX_RISE]
    for name in missed:
        print(f"over its bound: {name}")
    if whole:
        print(f"written: {PAGE}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
