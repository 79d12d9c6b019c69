"""Engines and plugins for the tests that bring them together."""

import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.engine.dockerd import Engine, running
from tests.integration.engine.plugin_process import EXAMPLES, SOCKETS, PluginProcess, StartPlugin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the engine's log with a failure."""
    report: pytest.TestReport = yield
    if report.failed:
        engines = (value for value in item.funcargs.values() if isinstance(value, Engine))
        report.sections += [("dockerd", engine.log()) for engine in engines]
    return report


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A running engine that all tests share; it has the image ``IMAGE``."""
    with running(Engine()) as engine:
        yield engine


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """What the plugins write goes here."""
    with tempfile.TemporaryDirectory(prefix="mp-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def start_plugin(directory: Path) -> Iterator[StartPlugin]:
    """Start ``script`` as a plugin ``mp-test-KIND-…``, with its socket and ``arguments``."""
    SOCKETS.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:

        def start(kind: str, script: Path, *arguments: Path) -> PluginProcess:
            # The directory is the whole machine's, so the name is not one that others use.
            name = f"mp-test-{kind}-{os.getpid()}"
            plugin = PluginProcess(name, script, *arguments, log=directory / f"{kind}.out")
            plugin.start()
            stack.callback(plugin.stop)
            return plugin

        yield start


@pytest.fixture(scope="session")
def shelves(directory: Path) -> Path:
    """Where the volumes of ``volumes`` are."""
    path = directory / "volumes"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def volumes(start_plugin: StartPlugin, shelves: Path) -> PluginProcess:
    """The example volume driver."""
    return start_plugin("volumes", EXAMPLES / "volume_plugin.py", shelves)
