"""The example of the guide "Observe": a host and a plugin in one trace."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_observed_example_prints_the_trace_that_its_guide_shows() -> None:
    """The output of ``examples/observed.py`` is the block of text in ``docs/observing.md``."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/observed.py"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    [shown] = re.findall(
        r"^```text\n(.*?)^```$",
        (ROOT / "docs/observing.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )

    assert done.stdout == shown
    assert done.stderr == ""
