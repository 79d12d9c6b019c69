"""Fixtures of the hostile tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.descriptors import nothing_left
from tests.integration.hostile.hosts import KINDS, Served, serve
from tests.integration.hostile.plugins import ONE_EACH, WAYS, Against, against


@pytest.fixture(params=ONE_EACH, ids=str, name="against")
def _against(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Against]:
    """Makes a client of a plugin with a given behaviour, for each transport."""
    with against(request.param, short_path) as connect:
        yield connect


@pytest.fixture(params=WAYS, ids=str)
def against_everywhere(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Against]:
    """The same, for each transport over each kind of socket."""
    with against(request.param, short_path) as connect:
        yield connect


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Served]:
    """A plugin that is being served, on each kind of socket."""
    with nothing_left(), serve(request.param, short_path) as plugin:
        yield plugin
