"""How many mutants of the rules and the loops the unit tests kill: what ``make mutants`` runs.

mutmut changes one thing at a time in the modules that ``[tool.mutmut]`` names, and runs the
tests that reach it. It works in a copy of the tree; what it finds is told in ``docs/mutants.md``.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).parents[1]
COPY = TREE / "build" / "mutants"
REPORT = TREE / "docs" / "mutants.md"

# The largest share of mutants, those included that change nothing, that may live.
MOST_ALIVE = 0.05

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
    """How many mutants there are, and what became of them."""
    mutmut("export-cicd-stats")
    counted = json.loads((COPY / "mutants" / "mutmut-cicd-stats.json").read_text("utf-8"))
    dead = counted["killed"] + counted["timeout"]
    return {
        "mutants": counted["total"],
        "killed": counted["killed"],
        "timed out": counted["timeout"],
        "alive": counted["total"] - dead,
    }


def survivors() -> list[str]:
    """The change that each mutant alive makes, under its name."""
    listed = re.findall(r"(\S+): (?!timeout)", mutmut("results"))
    return [f"`{name}`\n\n```diff\n{changed_lines(mutmut('show', name))}\n```" for name in listed]


def changed_lines(diff: str) -> str:
    """The lines that go and those that come."""
    return "\n".join(re.findall(r"^[-+](?![-+]{2} ).*$", diff, re.MULTILINE))


def main() -> int:
    """Run all mutants, write the report; 1 where too many live."""
    copy_tree()
    mutmut("run", *sys.argv[1:])
    found = figures()
    told = ", ".join(f"{number} {name}" for name, number in found.items())
    REPORT.write_text(HEAD + "\n\n".join([f"{told}.", *survivors()]) + "\n", encoding="utf-8")
    print(f"{told} ({found['alive'] / found['mutants']:.1%})")
    return int(found["alive"] > MOST_ALIVE * found["mutants"])


if __name__ == "__main__":
    sys.exit(main())
