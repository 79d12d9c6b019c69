"""The machine's clock keeps the contract of clocks, in real time."""

import pytest

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.testing.contracts import ClockContract


class TestSystemClock(ClockContract):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()
