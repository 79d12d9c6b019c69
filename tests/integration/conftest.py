"""Fixtures for tests over real sockets."""

import threading
import time
from collections.abc import Iterator

import pytest
from attrs import evolve

from moby_plugins import RetryPolicy, Settings
from moby_plugins.app.settings import BUILT_IN

# Seconds until a thread that ends by itself has ended: idle workers take one.
ENDED = 5.0


@pytest.fixture(scope="module", autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail the module that leaves threads: they would be counted against the next ones."""
    before = set(threading.enumerate())
    yield
    ends = time.monotonic() + ENDED
    while (left := set(threading.enumerate()) - before) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not left, f"{len(left)} threads are left"


@pytest.fixture(params=sorted(BUILT_IN))
def settings(request: pytest.FixtureRequest) -> Settings:
    """All defaults, but each built-in transport in turn for every scheme."""
    return Settings(transports=dict.fromkeys(Settings().transports, request.param))


@pytest.fixture
def once(settings: Settings) -> Settings:
    """The same, without a second attempt."""
    return evolve(settings, retry=RetryPolicy.never())
