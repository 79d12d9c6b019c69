"""The asynchronous transport in memory keeps the contract of all, on a loop of the test's own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import pytest

from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.testing import AsyncMemoryTransport, FakeTimeLoop
from moby_plugins.testing.contracts import (
    BEHAVIOURS,
    AsyncAppContract,
    AsyncTransportContract,
    Behaviour,
    Run,
    Served,
)


class InFakeTime:
    @pytest.fixture
    def run(self) -> Iterator[Run]:
        """Each coroutine in fake time."""
        with closing(FakeTimeLoop()) as loop:
            yield loop.run


class TestAppInMemory(InFakeTime, AsyncAppContract):
    @pytest.fixture
    def served(self) -> Served:
        """The app as a plugin in memory."""

        @asynccontextmanager
        async def serve(app: AsyncApp) -> AsyncIterator[AsyncMemoryTransport]:
            yield AsyncMemoryTransport(app)

        return serve


class TestAsyncMemoryTransport(InFakeTime, AsyncTransportContract):
    SLACK = 0.0
    REFUSED = "stale socket: it exists, but no process listens on it"

    @pytest.fixture
    def plugin_that(self) -> object:
        """A plugin in memory, whatever its method."""

        def connect(behaviour: Behaviour) -> AsyncMemoryTransport:
            # As a client has it: a transport that is closed sends no more.
            return AsyncMemoryTransport(BEHAVIOURS[behaviour]).connect(Address("memory://plugin"))

        return connect
