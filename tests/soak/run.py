"""Many calls, one in a hundred of which goes wrong: ``make soak CALLS=1000000``.

Threads call two plugins, each a process: one that this library serves, and one that is a raw
socket and does mischief. Each call has a number, which its answer must carry. At the end nothing
may be lost, nothing crossed, nothing left open, and memory must be flat. Exits with 1 otherwise.
"""

import argparse
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
from pathlib import Path

from attrs import field, frozen

from moby_plugins import Registry, RetryPolicy, Settings, new_client, new_local_registry
from moby_plugins.app.settings import BUILT_IN
from tests.soak.calls import NAMES, Caller, Tally
from tests.soak.footprint import Footprint, footprint

ROOT = Path(__file__).parents[2]
THREADS = 8
# Bytes that a process may grow by, from when a fifth of the calls was made to the end.
GROWTH = 8 << 20
# Seconds for processes to start, and for what was closed to be gone.
PATIENCE = 30.0


@frozen
class Soak:
    """What a soak came to. Footprints are by process: at a fifth of the calls, and at the end."""

    calls: int
    seconds: float
    tally: Tally
    fifth: dict[str, Footprint]
    end: dict[str, Footprint]
    leaks: list[str] = field(factory=list)

    def problems(self) -> list[str]:
        """All that is not as it must be."""
        found = [*self.tally.problems, *self.leaks]
        counted = sum(self.tally.right.values()) + len(self.tally.problems)
        if counted != self.calls:
            found.append(f"{self.calls - counted} calls are lost")
        for name, before in self.fifth.items():
            grown = self.end[name].memory - before.memory
            if grown > GROWTH:
                found.append(f"{name} has grown by {grown:,} bytes")
        return found

    def report(self) -> str:
        """For people."""
        faults = {name: count for name, count in self.tally.right.items() if name != "answered"}
        lines = [
            f"{self.calls:,} calls by {THREADS} threads over each built-in transport, in",
            f"{self.seconds:,.0f} s; {sum(faults.values()):,} of them with a fault.",
            "",
            "| what went wrong | calls, each of which came to what it must |",
            "|---|---|",
            *(f"| {name} | {count:,} |" for name, count in sorted(faults.items())),
            f"| nothing | {self.tally.right['answered']:,} |",
            "",
            "| process | memory at a fifth of the calls | at the end | threads at the end |",
            "|---|---|---|---|",
        ]
        for name, before in self.fifth.items():
            after = self.end[name]
            mib = [f"{one.memory / (1 << 20):.1f} MiB" for one in (before, after)]
            lines.append(f"| {name} | {mib[0]} | {mib[1]} | {after.threads} |")
        problems = self.problems()
        lines += ["", f"Lost, crossed, leaked: {len(problems) or 'nothing'}."]
        return "\n".join(lines + [f"- {problem}" for problem in problems[:20]])


@contextmanager
def plugins(directory: Path) -> Iterator[dict[str, int]]:
    """Both plugins, listening; their processes by name."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    with ExitStack() as stack, (directory / "log").open("w") as log:
        started = {}
        for name in NAMES:
            command = [sys.executable, "-m", "tests.soak.plugins", name, f"{directory}/{name}.sock"]
            process = subprocess.Popen(command, env=environment, stderr=log)
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.terminate)
            started[name] = process.pid
        for name in NAMES:
            _await(f"unix://{directory}/{name}.sock")
        yield started


def soak(calls: int, directory: Path) -> Soak:
    """Make ``calls`` calls; sockets are in ``directory``, whose path has to be short."""
    began = time.monotonic()
    with plugins(directory) as started:
        processes = {"the host": os.getpid(), **started}
        before = _footprints(processes)
        tally = Tally()
        registries = tuple(_registry(directory, transport) for transport in sorted(BUILT_IN))
        parts = (range(calls // 5), range(calls // 5, calls))
        marks = []
        for part in parts:
            tally.add(_in_threads(part, registries))
            marks.append(_footprints(processes))
        for registry in registries:
            registry.close()
        leaks = _leaks(processes, before)
    return Soak(calls, time.monotonic() - began, tally, marks[0], marks[1], leaks)


def _registry(directory: Path, transport: str) -> Registry:
    return new_local_registry(
        Settings(
            sockets_path=str(directory),
            specs_paths=(str(directory),),
            transports={"unix": transport},
            retry=RetryPolicy.never(),
        )
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
        # A served plugin keeps the threads that it once needed, within its bound.
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

Written by `make soak`. Threads call two plugins, each a process: one that this library serves, and
a raw socket that does mischief. Every call has a number, which its answer must carry.

"""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--report", type=Path, help="a file to be written")
    # Of what goes wrong there is one line a call.
    logging.disable()
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mp-") as directory:
        done = soak(arguments.calls, Path(directory))
    print(done.report())
    if arguments.report is not None:
        arguments.report.write_text(f"{HEAD}{done.report()}\n")
    return 1 if done.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
