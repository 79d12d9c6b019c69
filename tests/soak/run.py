"""Many calls, one in a hundred of which has a fault: ``make soak CALLS=1000000``.

Threads call two plugins, each in its own process: one that this library serves, and one on a raw
socket that sends faulty responses. Then tasks make as many calls to these two and to one that is
served in an event loop, in each kind of loop; some of these calls are cancelled. Each call has a
number, which its response must have, too. At the end no call may be lost, no response crossed,
nothing left open, and memory must not have grown. Exits with 1 otherwise.
"""

import argparse
import asyncio
import gc
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from attrs import field, frozen

from moby_plugins import Registry, RetryPolicy, Settings, new_client, new_local_registry
from moby_plugins.app.settings import BUILT_IN
from tests.integration.loops import LOOPS, loop_factory
from tests.soak import async_calls
from tests.soak.async_calls import TASKS, LoopCount, call_in_loop
from tests.soak.calls import NAMES, Caller, Tally
from tests.soak.footprint import Footprint, footprint

ROOT = Path(__file__).parents[2]
THREADS = 8
# Bytes that a process may grow by, from when a fifth of the calls was made to the end.
GROWTH = 8 << 20
# Seconds for processes to start, and for descriptors to be closed.
PATIENCE = 30.0


@frozen
class Soak:
    """The result of a soak. Footprints are by process: after a fifth of the calls, at the end."""

    calls: int
    callers: str
    seconds: float
    tally: Tally
    fifth: dict[str, Footprint]
    end: dict[str, Footprint]
    leaks: list[str] = field(factory=list)
    loops: dict[str, list[LoopCount]] = field(factory=dict)

    def problems(self) -> list[str]:
        """Return all that is not as it must be."""
        found = [*self.tally.problems, *self.leaks]
        counted = sum(self.tally.right.values()) + len(self.tally.problems)
        if counted != self.calls:
            found.append(f"{self.calls - counted} calls are lost")
        for name, before in self.fifth.items():
            grown = self.end[name].memory - before.memory
            if grown > GROWTH:
                found.append(f"{name} has grown by {grown:,} bytes")
        for name, counts in self.loops.items():
            # The one task is that which counts.
            found += [f"a loop of {name} has {one}" for one in counts if one != LoopCount(1, 0)]
        return found

    def report(self) -> str:
        """Return the section of ``docs/soak.md``."""
        faults = {name: count for name, count in self.tally.right.items() if name != "answered"}
        lines = [
            f"{self.calls:,} calls by {self.callers}, in",
            f"{self.seconds:,.0f} s; {sum(faults.values()):,} of them with a fault or cancelled.",
            "",
            "| fault | calls with the expected outcome |",
            "|---|---|",
            *(f"| {name} | {count:,} |" for name, count in sorted(faults.items())),
            f"| none | {self.tally.right['answered']:,} |",
            "",
            _row(
                "process",
                "memory after a fifth of the calls",
                "memory at the end",
                "descriptors after a fifth",
                "descriptors at the end",
                "threads at the end",
            ),
            "|---|---|---|---|---|---|",
        ]
        for name, before in self.fifth.items():
            after = self.end[name]
            mib = [f"{one.memory / (1 << 20):.1f} MiB" for one in (before, after)]
            lines.append(
                _row(name, *mib, before.descriptors, after.descriptors, after.threads),
            )
        if self.loops:
            lines += [
                "",
                _row(
                    "event loop",
                    "tasks after a fifth of the calls",
                    "tasks at the end",
                    "turns in use after a fifth",
                    "turns in use at the end",
                ),
                "|---|---|---|---|---|",
            ]
        for name, (fifth, end) in self.loops.items():
            lines.append(_row(name, fifth.tasks, end.tasks, fifth.turns, end.turns))
        problems = self.problems()
        lines += ["", f"Lost calls, crossed responses and leaks: {len(problems) or 'none'}."]
        return "\n".join(lines + [f"- {problem}" for problem in problems[:20]])


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


@contextmanager
def plugins(directory: Path, names: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """Run the plugins of these names until the end of the block; yield their processes by name."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    with ExitStack() as stack, (directory / "log").open("w") as log:
        started = {}
        for name in names:
            command = [sys.executable, "-m", "tests.soak.plugins", name, f"{directory}/{name}.sock"]
            process = subprocess.Popen(command, env=environment, stderr=log)
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.terminate)
            started[name] = process.pid
        for name in names:
            _await(f"unix://{directory}/{name}.sock")
        yield started


def soak(calls: int, directory: Path) -> Soak:
    """Make ``calls`` calls in threads; sockets are in ``directory``, whose path has to be short."""
    began = time.monotonic()
    with plugins(directory, NAMES) as started:
        processes = {"the host": os.getpid(), **started}
        before = _footprints(processes)
        tally = Tally()
        registries = tuple(_registry(directory, transport) for transport in sorted(BUILT_IN))
        marks = []
        for part in _parts(0, calls):
            tally.add(_in_threads(part, registries))
            marks.append(_footprints(processes))
        for registry in registries:
            registry.close()
        leaks = _leaks(processes, before)
    callers = f"{THREADS} threads over each built-in transport"
    return Soak(calls, callers, time.monotonic() - began, tally, marks[0], marks[1], leaks)


def async_soak(calls: int, directory: Path) -> Soak:
    """Make ``calls`` calls in tasks, in each kind of loop in turn; the rest as ``soak``."""
    began = time.monotonic()
    factories = {kind: loop_factory(kind) for kind in LOOPS if find_spec(kind)}
    for factory in factories.values():
        # Descriptors that a kind of loop opens once and keeps, as uvloop does, are not counted.
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.sleep(0))
    with plugins(directory, async_calls.NAMES) as started:
        processes = {"the host": os.getpid(), **started}
        before = _footprints(processes)
        tally = Tally()
        loops = {}
        marks: list[dict[str, Footprint]] = []
        for index, (kind, factory) in enumerate(factories.items()):
            first, end = (calls * one // len(factories) for one in (index, index + 1))
            with asyncio.Runner(loop_factory=factory) as runner:
                came, loops[kind] = runner.run(
                    call_in_loop(
                        _settings(directory, "auto"),
                        _parts(first, end),
                        index,
                        lambda: marks.append(_footprints(processes)),
                    )
                )
            tally.add(came)
        leaks = _leaks(processes, before)
    callers = f"{TASKS} tasks in each of the loops of {' and '.join(factories)}"
    seconds = time.monotonic() - began
    return Soak(calls, callers, seconds, tally, marks[0], marks[-1], leaks, loops)


def _parts(first: int, end: int) -> tuple[range, range]:
    fifth = first + (end - first) // 5
    return range(first, fifth), range(fifth, end)


def _registry(directory: Path, transport: str) -> Registry:
    return new_local_registry(_settings(directory, transport))


def _settings(directory: Path, transport: str) -> Settings:
    return Settings(
        sockets_path=str(directory),
        specs_paths=(str(directory),),
        transports={"unix": transport},
        retry=RetryPolicy.never(),
    )


def _in_threads(numbers: range, registries: tuple[Registry, ...]) -> Tally:
    callers = [Caller(registries) for _ in range(THREADS)]
    share = -(-len(numbers) // THREADS)

    def work(index: int) -> None:
        for number in numbers[index * share : (index + 1) * share]:
            callers[index].call(number)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally = Tally()
    for caller in callers:
        tally.add(caller.tally)
    return tally


def _await(addr: str) -> None:
    patient = Settings(retry=RetryPolicy(initial=0.05, factor=1.0, budget=PATIENCE))
    with new_client(addr, settings=patient) as client:
        client.call("Plugin.Activate")


def _footprints(processes: dict[str, int]) -> dict[str, Footprint]:
    gc.collect()
    return {name: footprint(process) for name, process in processes.items()}


def _leaks(processes: dict[str, int], before: dict[str, Footprint]) -> list[str]:
    def found() -> list[str]:
        now = _footprints(processes)
        leaks = [
            f"{name} has {now[name].descriptors} descriptors, {before[name].descriptors} at first"
            for name in processes
            if now[name].descriptors > before[name].descriptors
        ]
        # A served plugin keeps the threads that it has started, within its bound.
        if now["the host"].threads > before["the host"].threads:
            leaks.append(f"the host has {now['the host'].threads} threads")
        return leaks

    _until(lambda: not found())
    return found()


def _until(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not done() and time.monotonic() < ends:
        time.sleep(0.05)


HEAD = """\
# The soak

Written by `make soak`. Threads call two plugins, each in its own process: `served`, which this
library serves, and `raw`, a raw socket that sends faulty responses. Then tasks call these two and
`awaited`, which is served in an event loop; some of these calls are cancelled, after a random
number of iterations of the loop or a random time. Each call has a number, which its response must
have, too. A turn is a permission of a transport to have one of its calls under way.
"""
SOAKS = {"threads": soak, "asyncio": async_soak}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls of each kind of caller")
    parser.add_argument("--only", choices=SOAKS, help="the callers, if not both kinds")
    parser.add_argument("--report", type=Path, help="the file for the report")
    # Each fault would log a line.
    logging.disable()
    arguments = parser.parse_args()
    done = {}
    for name in [arguments.only] if arguments.only else SOAKS:
        with tempfile.TemporaryDirectory(prefix="mp-") as directory:
            done[name] = SOAKS[name](arguments.calls, Path(directory))
        print(done[name].report(), flush=True)
    if arguments.report is not None:
        parts = [f"\n## {name.capitalize()}\n\n{one.report()}\n" for name, one in done.items()]
        arguments.report.write_text(HEAD + "".join(parts))
    return 1 if any(one.problems() for one in done.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
