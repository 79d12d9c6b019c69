"""The library under ``python -OO``, which removes docstrings and ``assert``."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def checked(*options: str) -> list[list[str]]:
    """Id, verdict and expectation of each check, in an interpreter with these options."""
    command = [
        sys.executable,
        *options,
        "-m",
        "tests.integration.process.checks_without_docstrings",
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_plugin_checks_are_the_same_without_docstrings() -> None:
    """Ids and verdicts stay the same under ``-OO``; a name replaces each missing docstring."""
    usual, optimized = checked(), checked("-OO")

    assert [row[:2] for row in optimized] == [row[:2] for row in usual]
    named = [row for row in optimized if row[0].endswith(f": {row[2]}")]
    assert len(named) > 100
    assert all(row[2] for row in optimized)
