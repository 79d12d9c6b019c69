"""A contract suite fails what breaks a port's promise, and shows the difference."""

import pytest

from moby_plugins import Request, Response
from moby_plugins.ports import Discovery
from moby_plugins.testing import FakeClock, MemoryDiscovery, MemoryTransport
from moby_plugins.testing.contracts import (
    BEHAVIOURS,
    ClockContract,
    DiscoveryContract,
    TransportContract,
)


class Backwards(FakeClock):
    """A clock that runs the wrong way."""

    def now(self) -> float:
        self.advance(1.0)
        return -super().now()


class Unsorted:
    """A place whose discovery lists the last name first."""

    def __init__(self) -> None:
        memory = MemoryDiscovery()
        self.add, self.remove = memory.add, memory.remove
        self.discovery: Discovery = self
        self.lookup = memory.lookup
        self._memory = memory

    def scan(self) -> list[str]:
        return self._memory.scan()[::-1]


class Generous(MemoryTransport):
    """A transport that takes every status for success."""

    def send(self, request: Request, timeout: float | None) -> Response:
        return Response(200, super().send(request, timeout).body)


def test_the_clock_contract_fails_a_clock_that_runs_backwards() -> None:
    """The failed assertion shows the times that were compared."""
    with pytest.raises(AssertionError, match=r"assert \[-1.0, -2.0, .*\] == \[-100.0, "):
        ClockContract().test_now_never_runs_backwards(Backwards())


def test_the_discovery_contract_fails_a_scan_that_is_not_sorted() -> None:
    """The failed assertion shows the names that were compared."""
    with pytest.raises(AssertionError, match=r"assert \['ü', .*\] == \['10', "):
        DiscoveryContract().test_a_scan_is_sorted(Unsorted())


def test_the_transport_contract_fails_a_transport_that_hides_an_error_status() -> None:
    """The failed assertion shows the status of the response and the expected one."""
    with pytest.raises(AssertionError, match="assert 200 == 500"):
        TransportContract().test_any_status_is_an_answer(
            lambda behaviour: Generous(BEHAVIOURS[behaviour])
        )
