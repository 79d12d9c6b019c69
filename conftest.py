"""The documents' examples, run as tests."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parent
PLUGIN = ROOT / "examples" / "volume_plugin.py"
# The tests that `make test` runs last and in one process, because they set the environment, measure
# time or memory closely, or open so many connections that other tests would have to wait. The tests
# of engines are listed too, since they share one engine: one process runs them beside the others.
ALONE = (
    "README.md",
    "docs/",
    "tests/integration/cli/test_check_process.py",
    "tests/integration/engine/",
    "tests/integration/process/test_bounds.py",
    "tests/integration/process/test_many_plugins.py",
    "tests/integration/process/test_minutes.py",
    "tests/integration/process/test_soak.py",
    "tests/integration/host/test_deadlines.py",
    "tests/integration/hostile/test_floods.py",
)
# What `make test` runs in another order each time.
IN_ANY_ORDER = "tests/unit/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is to be alone, and what keeps its order."""
    for item in items:
        place = item.path.relative_to(ROOT).as_posix()
        if place.startswith(ALONE):
            item.add_marker(pytest.mark.alone)
        if not place.startswith(IN_ANY_ORDER):
            item.add_marker(pytest.mark.random_order(disabled=True))


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    """Serve the example plugin in the directory that the environment names."""
    with tempfile.TemporaryDirectory(prefix="mp-") as directory:
        sockets, volumes = Path(directory, "s"), Path(directory, "v")
        sockets.mkdir()
        volumes.mkdir()
        command = [sys.executable, str(PLUGIN), str(sockets / "shelf.sock"), str(volumes)]
        process = subprocess.Popen(command)  # noqa: S603  our own file, no shell
        os.environ["MOBY_PLUGINS_SOCKETS_PATH"] = str(sockets)
        try:
            for _ in range(500):
                if (sockets / "shelf.sock").exists():
                    break
                time.sleep(0.01)
            yield sockets
        finally:
            del os.environ["MOBY_PLUGINS_SOCKETS_PATH"]
            process.terminate()
            process.wait()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["*.md"], fixtures=["shelf"]
).pytest()
