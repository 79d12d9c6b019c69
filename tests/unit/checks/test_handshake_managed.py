"""A managed plugin has no handshake, so its checks send none."""

import pytest

from moby_plugins.checks import CheckOutcome, Options, Target, all_checks, run_checks, select
from moby_plugins.checks.handshake import implemented_by
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport

NETWORK = {"NetworkDriver.GetCapabilities": {"Scope": "local"}}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("MetricsCollector", "managed plugin"), ("NetworkDriver", "capabilities at once")],
)
def test_checks_of_a_managed_plugin_send_no_handshake(kind: str, name: str) -> None:
    """The engine says what the plugin implements, so Plugin.Activate is never called."""
    plugin = MemoryTransport(NETWORK, clock=FakeClock())
    target = Target(
        plugin,
        Address("memory://plugin"),
        clock=FakeClock(),
        options=Options(managed_for=(kind,)),
    )

    assert implemented_by(target) == (kind,)
    [result] = run_checks(select(all_checks(), subsystems=[kind], names=name), target)

    assert result.outcome is CheckOutcome.PASSED, result.came_back
    assert "Plugin.Activate" not in plugin.calls.methods
