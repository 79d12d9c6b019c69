"""Hosts in memory, for tests that hold for threads and for tasks."""

from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.testing import FakeClock
from tests.unit.app.hosts import AnyClock, AsyncMemoryHost, NewHost, NotingLoop, ThreadsHost


@pytest.fixture(params=["threads", "tasks"])
def clock(request: pytest.FixtureRequest) -> Iterator[AnyClock]:
    """The time of a test: of threads, or a loop on which ``client_of`` makes clients of tasks."""
    if request.param == "threads":
        yield FakeClock()
        return
    loop = NotingLoop()
    yield loop
    loop.advance(1)  # what closes the bodies of streams, in tasks of its own
    loop.close()


@pytest.fixture(params=["threads", "tasks"])
def new_host(request: pytest.FixtureRequest) -> Iterator[NewHost]:
    """Make a host as ``MemoryHost`` is made, whose registry is that of threads, or of tasks."""
    made: list[AsyncMemoryHost] = []

    def make(*args: Any, **settings: Any) -> ThreadsHost | AsyncMemoryHost:
        if request.param == "threads":
            return ThreadsHost(*args, **settings)
        made.append(AsyncMemoryHost(*args, **settings))
        return made[-1]

    yield make
    for host in made:
        host.clock.run(host.tasks_registry.aclose())
        host.clock.close()
