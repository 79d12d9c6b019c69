"""Fixtures for tests of the command line."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.machine import Machine


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach the commands, even if the tests run in the background, which ignores it."""
    # What a process ignores, its children ignore from their start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def machine(short_path: Path) -> Machine:
    """Plugin directories with nothing in them, and the command to run there."""
    return Machine(short_path)
