"""Fixtures for tests over real sockets."""

import pytest
from attrs import evolve

from moby_plugins import RetryPolicy, Settings
from moby_plugins.app.settings import BUILT_IN


@pytest.fixture(params=sorted(BUILT_IN))
def settings(request: pytest.FixtureRequest) -> Settings:
    """All defaults, but each built-in transport in turn for every scheme."""
    return Settings(transports=dict.fromkeys(Settings().transports, request.param))


@pytest.fixture
def once(settings: Settings) -> Settings:
    """The same, without a second attempt."""
    return evolve(settings, retry=RetryPolicy.never())
