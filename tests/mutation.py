"""How many mutants of the rules and the loops the unit tests kill: what ``make mutants`` runs.

mutmut changes one thing at a time in the modules that ``[tool.mutmut]`` names, and runs the
tests that reach it, in the fork of a process in which all tests have passed. What such a process
has made once, at import or for a cache, is not made again: so each mutant that lives there is tried
once more, in a process of its own. It works in a copy of the tree; what it finds is told in
``docs/mutants.md``.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TREE = Path(__file__).parents[1]
COPY = TREE / "build" / "mutants"
REPORT = TREE / "docs" / "mutants.md"

# The largest share of mutants, those included that change nothing, that may live.
MOST_ALIVE = 0.04
# Seconds for one in a process of its own; what takes longer has stopped.
PATIENCE = 300

HEAD = """\
# Mutants that live

Written by `make mutants`; `decisions/0012-mutants.md` says why each kind lives.

"""


def mutmut(*arguments: str) -> str:
    """What a command of mutmut prints; the run itself is shown as it goes."""
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    output = None if arguments[0] == "run" else subprocess.PIPE
    return subprocess.run(command, cwd=COPY, check=True, stdout=output, text=True).stdout or ""


def copy_tree() -> None:
    """Copy the sources and tests to a place where mutants disturb nothing else."""
    shutil.rmtree(COPY, ignore_errors=True)
    for directory in ("src", "tests"):
        shutil.copytree(
            TREE / directory, COPY / directory, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(TREE / "pyproject.toml", COPY)


def figures() -> dict[str, int]:
    """How many mutants there are, and how many of them the forks killed."""
    mutmut("export-cicd-stats")
    counted = json.loads((COPY / "mutants" / "mutmut-cicd-stats.json").read_text("utf-8"))
    return {"mutants": counted["total"], "killed": counted["killed"] + counted["timeout"]}


def alive_in_forks() -> list[str]:
    """Their names."""
    return re.findall(r"(\S+): (?!timeout)", mutmut("results"))


def lives(name: str) -> bool:
    """Whether the mutant lives in a process of its own, too."""
    room, module = name.split(".")[1:3]
    settings = tomllib.loads((COPY / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
    options = settings["pytest_add_cli_args"]
    # The tests of its module are first, as they are the ones that are most likely to kill it.
    tests = COPY / "mutants" / "tests" / "unit" / room
    near = [str(each) for each in tests.glob(f"test_{module}*.py")]
    for chosen in filter(None, (near, settings["pytest_add_cli_args_test_selection"])):
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--rootdir=.", *options, *chosen]
        environment = {**os.environ, "MUTANT_UNDER_TEST": name, "PYTHONPATH": "src"}
        try:
            done = subprocess.run(
                command,
                cwd=COPY / "mutants",
                env=environment,
                check=False,
                stdout=subprocess.DEVNULL,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode:
            return False
    return True


def survivors(names: list[str]) -> list[str]:
    """The change that each of these mutants makes, under its name."""
    return [f"`{name}`\n\n```diff\n{changed_lines(mutmut('show', name))}\n```" for name in names]


def changed_lines(diff: str) -> str:
    """The lines that go and those that come."""
    return "\n".join(re.findall(r"^[-+](?![-+]{2} ).*$", diff, re.MULTILINE))


def main() -> int:
    """Run all mutants, write the report; 1 where too many live."""
    copy_tree()
    mutmut("run", *sys.argv[1:])
    found = figures()
    names = alive_in_forks()
    if not lives("moby_plugins.domain.no_mutant"):
        raise RuntimeError("the tests fail without a mutant, in a process of its own")
    with ThreadPoolExecutor(os.cpu_count()) as processes:
        alive = [
            name
            for name, is_alive in zip(names, processes.map(lives, names), strict=True)
            if is_alive
        ]
    told = (
        f"{found['mutants']} mutants, {found['killed']} killed in forks,"
        f" {len(names) - len(alive)} in processes of their own, {len(alive)} alive"
    )
    REPORT.write_text(HEAD + "\n\n".join([f"{told}.", *survivors(alive)]) + "\n", encoding="utf-8")
    print(f"{told} ({len(alive) / found['mutants']:.1%})")
    return int(len(alive) > MOST_ALIVE * found["mutants"])


if __name__ == "__main__":
    sys.exit(main())
