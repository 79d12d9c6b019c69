"""Fixtures for tests of the command line."""

from pathlib import Path

import pytest

from tests.integration.cli.machine import Machine


@pytest.fixture
def machine(short_path: Path) -> Machine:
    """Plugin directories with nothing in them, and the command to run there."""
    return Machine(short_path)
