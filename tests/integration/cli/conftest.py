"""Fixtures for tests of the command line."""

from pathlib import Path

import pytest

from tests.integration.cli.machine import Machine, unmeasured

# In these, commands do again what they do in the others, with other outputs and other texts.
REPEATING = ("test_foreign_text.py", "test_output.py")


@pytest.fixture
def machine(request: pytest.FixtureRequest, short_path: Path) -> Machine:
    """Plugin directories with nothing in them, and the command to run there."""
    made = Machine(short_path)
    if request.path.name in REPEATING:
        made.environment = unmeasured(made.environment)
    return made
