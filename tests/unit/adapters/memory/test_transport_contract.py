"""The transport in memory keeps the contract of all transports, on a clock of the test's own."""

import pytest

from moby_plugins.testing import FakeClock, MemoryTransport
from moby_plugins.testing.contracts import BEHAVIOURS, Behaviour, PluginThat, TransportContract


class TestMemoryTransport(TransportContract):
    SLACK = 0.0
    REFUSED = "stale socket: it exists, but no process listens on it"

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Time in memory is the clock's."""
        return FakeClock()

    @pytest.fixture
    def plugin_that(self, clock: FakeClock) -> PluginThat:
        """A plugin in memory, whatever its method."""

        def connect(behaviour: Behaviour) -> MemoryTransport:
            return MemoryTransport(BEHAVIOURS[behaviour], clock=clock)

        return connect
