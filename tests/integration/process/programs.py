"""Programs in processes of their own, bounded in time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
SECONDS = 30.0


def environment() -> dict[str, str]:
    """That of this process, in which our tests are found too."""
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def python(*arguments: str, under: tuple[str, ...] = (), seconds: float = SECONDS) -> list[str]:
    """What Python prints, given these arguments, line by line; a failure is part of it.

    ``under`` is a command that starts it; it may take ``seconds``.
    """
    done = subprocess.run(
        [*under, sys.executable, "-W", "error", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.stdout.splitlines()


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Python with these arguments; killed in the end, where it still runs."""
    command = [sys.executable, "-W", "error", *arguments]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()
