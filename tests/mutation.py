"""How many mutants of the rules and the loops the unit tests kill: what ``make mutants`` runs.

mutmut changes one thing at a time in the modules that ``[tool.mutmut]`` names, and runs the
tests that reach it, in the fork of a process in which all tests have passed. Those that live are
shown to mypy, which every change must pass, as it must pass the tests. What a process with forks
has made once, at import or for a cache, is not made again: so where many mutants of a function live
there, they are tried once more, in processes of their own. It works in a copy of the tree; what it
finds is told in ``docs/mutants.md``.

Run again where it ran before, it tries the mutants of functions that have changed since, and those
that lived: to see whether new tests kill them takes minutes.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TREE = Path(__file__).parents[1]
COPY = TREE / "build" / "mutants"
REPORT = TREE / "docs" / "mutants.md"

# The largest share of mutants, those included that change nothing, that may live.
MOST_ALIVE = 0.04
# The share of a function's mutants, living in forks, from which it may have run before they forked.
MADE_ONCE = 0.3
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
    """Copy the sources and tests to a place where mutants disturb nothing else.

    Results of an earlier run stay there: mutmut keeps those of functions that are as they were.
    Which tests reach a function is found out again, as tests may have changed.
    """
    (COPY / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for stale in ("src", "tests", "mutants/tests"):
        shutil.rmtree(COPY / stale, ignore_errors=True)
    for source in (COPY / "mutants" / "src").rglob("*.py"):
        if not source.with_name(f"{source.name}.meta").exists():  # mutmut changes none of these
            source.unlink()
    for directory in ("src", "tests"):
        shutil.copytree(
            TREE / directory, COPY / directory, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy2(TREE / "pyproject.toml", COPY)


def figures() -> dict[str, int]:
    """How many mutants there are, and how many of them the forks killed."""
    mutmut("export-cicd-stats")
    counted = json.loads((COPY / "mutants" / "mutmut-cicd-stats.json").read_text("utf-8"))
    return {"mutants": counted["total"], "killed": counted["killed"] + counted["timeout"]}


def alive_in_forks() -> list[str]:
    """Their names; none before the first run."""
    if not (COPY / "mutants").is_dir():
        return []
    return re.findall(r"(\S+): (?!timeout|not checked)", mutmut("results"))


def mutants() -> list[str]:
    """The names of all."""
    sources = (COPY / "mutants" / "src").rglob("*.py.meta")
    return [
        name
        for source in sources
        for name in json.loads(source.read_text("utf-8"))["exit_code_by_key"]
    ]


def function_of(name: str) -> str:
    """The function, by mutmut's name for it, that a mutant changes."""
    return re.sub(r"__mutmut_\d+$", "", name)


def rejected() -> set[str]:
    """The mutants in which mypy finds an error that it does not find in their function.

    It reads the sources of mutmut, with all mutants side by side. The project's settings are left
    out: there, mypy would also look for conditions that are always true, as mutmut writes them.
    """
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--output=json"]
    done = subprocess.run(
        # Mutants of one method define the same attributes.
        [*command, "--disable-error-code=no-redef", "src"],
        cwd=COPY / "mutants",
        check=False,  # it ends with 1: there are errors
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, list[tuple[int, str]]] = {}
    for error in map(json.loads, done.stdout.splitlines()):
        found.setdefault(error["file"], []).append((error["line"], error["message"]))
    names: set[str] = set()
    for file, errors in found.items():
        source = (COPY / "mutants" / file).read_text("utf-8")
        module = ".".join(Path(file).with_suffix("").parts[1:])
        messages = {
            node.name: {said for line, said in errors if node.lineno <= line <= node.end_lineno}
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
        }
        names |= {
            f"{module}.{name}"
            for name, said in messages.items()
            if said - messages.get(f"{function_of(name)}__mutmut_orig", said)
        }
    if not names:
        raise RuntimeError(f"mypy rejects no mutant: {done.stdout[:500]}")
    return names


def settings() -> dict[str, Any]:
    """What mutmut is told."""
    tool = tomllib.loads((COPY / "pyproject.toml").read_text("utf-8"))["tool"]
    mutmut_settings: dict[str, Any] = tool["mutmut"]
    return mutmut_settings


def reaching() -> dict[str, list[str]]:
    """The tests that reach each function, by the name that mutmut gives it."""
    stats = json.loads((COPY / "mutants" / "mutmut-stats.json").read_text("utf-8"))
    reached: dict[str, list[str]] = stats["tests_by_mangled_function_name"]
    return reached


def lives(name: str, reached: Collection[str] = ()) -> bool:
    """Whether the mutant lives in a process of its own, too.

    It is given the tests of its module, and ``reached``: those that reach it.
    """
    room, module = name.split(".")[1:3]
    tests = COPY / "mutants" / "tests" / "unit" / room
    near = [str(each) for each in tests.glob(f"test_{module}*.py")]
    if not (near or reached):
        return True  # without a name, pytest would run all tests
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--rootdir=."]
    try:
        done = subprocess.run(
            [*command, *settings()["pytest_add_cli_args"], *near, *reached],
            cwd=COPY / "mutants",
            env={**os.environ, "MUTANT_UNDER_TEST": name, "PYTHONPATH": "src"},
            check=False,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def survivors(names: list[str]) -> list[str]:
    """The change that each of these mutants makes, under its name."""
    return [f"`{name}`\n\n```diff\n{changed_lines(mutmut('show', name))}\n```" for name in names]


def changed_lines(diff: str) -> str:
    """The lines that go and those that come."""
    return "\n".join(re.findall(r"^[-+](?![-+]{2} ).*$", diff, re.MULTILINE))


def main() -> int:
    """Run the mutants, write the report; 1 where too many live."""
    copy_tree()
    earlier = alive_in_forks()
    mutmut("run", *sys.argv[1:])
    if again := sorted({*earlier} & {*alive_in_forks()}):
        mutmut("run", *sys.argv[1:], *again)
    found = figures()
    in_forks = alive_in_forks()
    wrong = rejected()
    names = [name for name in in_forks if name not in wrong]
    reached = reaching()
    every = settings()["pytest_add_cli_args_test_selection"]
    if not lives("moby_plugins.domain.no_mutant", every):
        raise RuntimeError("the tests fail without a mutant, in a process of its own")

    every_mutant = Counter(map(function_of, mutants()))
    alive_here = Counter(map(function_of, in_forks))

    def lives_alone(name: str) -> bool:
        function = function_of(name)
        if alive_here[function] < MADE_ONCE * every_mutant[function]:
            return True
        return lives(name, reached.get(function, ()))

    with ThreadPoolExecutor(os.cpu_count()) as processes:
        verdicts = processes.map(lives_alone, names)
        alive = [name for name, is_alive in zip(names, verdicts, strict=True) if is_alive]
    told = (
        f"{found['mutants']} mutants, {found['killed']} killed in forks,"
        f" {len(in_forks) - len(names)} by mypy,"
        f" {len(names) - len(alive)} in processes of their own, {len(alive)} alive:"
        f" {len(alive) / found['mutants']:.1%}, and without mypy at most"
        f" {(len(alive) + len(in_forks) - len(names)) / found['mutants']:.1%}"
    )
    REPORT.write_text(HEAD + "\n\n".join([f"{told}.", *survivors(alive)]) + "\n", encoding="utf-8")
    print(told)
    return int(len(alive) > MOST_ALIVE * found["mutants"])


if __name__ == "__main__":
    sys.exit(main())
