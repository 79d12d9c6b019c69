"""No name, spec or answer leads the library to a path that was not configured."""

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.hostile.bounds import ROUNDS

ROOT = Path(__file__).parents[3]


def test_nothing_is_opened_but_what_the_administrator_named(short_path: Path) -> None:
    """Of all that is opened, each path lies in a configured directory, or its spec names it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.hostile.path_witness", str(short_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120 * ROUNDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    # The one that shows that the witness was awake.
    assert json.loads(done.stdout) == [["open", f"{short_path}/secret/awake"]]
