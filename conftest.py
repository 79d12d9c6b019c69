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

PLUGIN = Path(__file__).with_name("examples") / "volume_plugin.py"


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    """The example plugin, running, where the environment says that sockets are."""
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
