"""pytest as its users run it: a process of its own, in a directory of its own."""

import subprocess
import sys
from pathlib import Path


def run_python(directory: Path, *arguments: str) -> str:
    """What the interpreter prints; it has to end well within half a minute."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def run_pytest(directory: Path, *arguments: str, beside: tuple[str, ...] = ()) -> str:
    """What pytest prints, in a fixed order of tests and with warnings as errors.

    Of the plugins for asynchronous tests, it has those that are named by ``beside``.
    """
    blocked = {"cacheprovider", "randomly", "asyncio", "anyio"} - {*beside}
    fixed = ("-W", "error", *(f"-pno:{name}" for name in sorted(blocked)))
    return run_python(directory, "-m", "pytest", *fixed, *arguments)
