"""Fuzz each target for so many seconds: ``make fuzz SECONDS=3600``; needs atheris.

What was found worth trying is kept in ``build/fuzz`` for the next run. Prints a table; exits
with 1 where something was found, and names the file with it.
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Timer

from attrs import frozen

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
# Bytes; what matters of any format fits.
MAX_BYTES = 4096
# Seconds after which an input that is still being read counts as found, and for the start.
SLOW, PATIENCE = 10, 120

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


@frozen
class Outcome:
    """What fuzzing a target came to; ``found`` is what the fuzzer said, "" where it is well."""

    target: str
    seconds: int
    # Those in which it had a processor: fewer, where others ran at once.
    worked: float
    tried: int
    covered: int
    found: str


def fuzz(name: str, seconds: int) -> Outcome:
    """Throw bytes at one target."""
    corpus = BUILD / name
    corpus.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{index}").write_bytes(seed)
    command = [
        *(sys.executable, "-m", "tests.fuzz.one", name, str(corpus)),
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={SLOW}",
        f"-artifact_prefix={BUILD}/{name}-",
        "-print_final_stats=1",
    ]
    log = BUILD / f"{name}.log"
    status, worked = _run(command, log, seconds + PATIENCE)
    said = log.read_text(errors="replace")
    tried, covered = _EXECUTED.findall(said), _COVERED.findall(said)
    return Outcome(
        name,
        seconds,
        worked,
        int(tried[-1]) if tried else 0,
        int(covered[-1]) if covered else 0,
        said[-4000:] if status or not tried else "",
    )


def _run(command: list[str], log: Path, limit: float) -> tuple[int, float]:
    """A command's exit status, and the seconds for which it had a processor."""
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **path}, stdout=file, stderr=file
        )
    timer = Timer(limit, process.kill)
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def table(outcomes: list[Outcome]) -> str:
    """For people."""
    lines = [
        "| target | promise | seconds | of a processor | inputs | found |",
        "|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        promise = str(TARGETS[outcome.target].__doc__).rstrip(".").replace("``", "`")
        found = "something" if outcome.found else "nothing"
        lines.append(
            f"| {outcome.target} | {promise} | {outcome.seconds:,} | {outcome.worked:,.0f} "
            f"| {outcome.tried:,} | {found} |"
        )
    return "\n".join(lines)


HEAD = """\
# Fuzzing

Written by `make fuzz`: bytes that atheris makes up, guided by what they reach, thrown at all that
reads what strangers write. Each target begins with real messages, and has seconds of its own.

"""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--at-once", type=int, default=1, help="targets that share the machine")
    parser.add_argument("--report", type=Path, help="a file to be written")
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    arguments = parser.parse_args()
    with ThreadPoolExecutor(arguments.at_once) as threads:
        outcomes = list(threads.map(partial(fuzz, seconds=arguments.seconds), arguments.targets))
    for outcome in outcomes:
        if outcome.found:
            print(f"--- {outcome.target}\n{outcome.found}")
    print(table(outcomes))
    if arguments.report is not None:
        arguments.report.write_text(f"{HEAD}{table(outcomes)}\n")
    return 1 if any(outcome.found for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
