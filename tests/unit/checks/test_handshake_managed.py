"""A managed plugin has no handshake, and its checks ask for none."""

import pytest

from moby_plugins.checks import Setup, Subject, Verdict, all_checks, chosen, run_checks
from moby_plugins.checks.handshake import implemented_by
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport

NETWORK = {"NetworkDriver.GetCapabilities": {"Scope": "local"}}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("MetricsCollector", "managed plugin"), ("NetworkDriver", "capabilities at once")],
)
def test_what_its_engine_says_stands_for_the_handshake(kind: str, name: str) -> None:
    """It is not sent, also where a check would begin with it."""
    plugin = MemoryTransport(NETWORK, clock=FakeClock())
    subject = Subject(
        plugin,
        Address("memory://plugin"),
        clock=FakeClock(),
        setup=Setup(managed_for=(kind,)),
    )

    assert implemented_by(subject) == (kind,)
    [finding] = run_checks(chosen(all_checks(), subsystems=[kind], names=name), subject)

    assert finding.verdict is Verdict.PASSED, finding.came_back
    assert "Plugin.Activate" not in plugin.calls.methods
