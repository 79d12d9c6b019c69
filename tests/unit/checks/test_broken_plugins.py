"""Every check finds what it is for: a good plugin passes it, a broken one does not."""

from types import ModuleType

import pytest
from attrs import evolve

from moby_plugins import Request, Response
from moby_plugins.checks import (
    Check,
    CheckOutcome,
    built_in_checks,
    checks_in,
    log_reading,
    secret,
)
from moby_plugins.domain.http import App
from tests.unit.checks import (
    broken_addresses,
    broken_authz,
    broken_families,
    broken_graph,
    broken_handshake,
    broken_logs,
    broken_networks,
    broken_others,
    broken_podman,
    broken_resources,
    broken_volumes,
)
from tests.unit.checks.broken import OPTIONS, Broken, does, edits, refuses, result
from tests.unit.checks.good_plugin import good_plugin
from tests.unit.checks.legal import LEGAL

MODULES = (
    broken_handshake,
    broken_families,
    broken_volumes,
    broken_networks,
    broken_addresses,
    broken_authz,
    broken_logs,
    broken_graph,
    broken_others,
    broken_podman,
    broken_resources,
)
BROKEN: dict[str, Broken] = {}
for module in MODULES:
    BROKEN |= module.BROKEN
CHECKS = {item.id: item for item in built_in_checks()}
# The good plugin does read.
SKIPPED = {"LogDriver: no reading without the capability"}


def managed(told: dict[str, list[str]]) -> dict[str, list[str]]:
    """The handshake without what only a managed plugin may implement."""
    return {"Implements": [name for name in told["Implements"] if name != "MetricsCollector"]}


def cannot_read(request: Request, _: App) -> Response:
    """Neither a capability nor the method."""
    status = 200 if request.method == "LogDriver.Capabilities" else 404
    return Response(status, b'{"Cap": {"ReadLogs": false}}')


GOOD = Broken(edits("Plugin.Activate", managed), CheckOutcome.PASSED, OPTIONS)


@pytest.mark.parametrize("subsystem", sorted({item.subsystem for item in CHECKS.values()}))
def test_a_good_plugin_passes(subsystem: str) -> None:
    """Each check, alone, passes on a plugin that keeps to the protocol."""
    for name in (name for name, item in CHECKS.items() if item.subsystem == subsystem):
        found = result(CHECKS[name], GOOD.breaks(good_plugin()), GOOD)

        wanted = CheckOutcome.SKIPPED if name in SKIPPED else CheckOutcome.PASSED
        assert found.outcome == wanted, f"{name}: {found.came_back}"


def test_a_time_out_may_be_longer_than_the_system_can_wait() -> None:
    """A FIFO is written to whatever number of seconds it may be full."""
    patient = Broken(GOOD.breaks, options=evolve(OPTIONS, timeout=1e300))

    found = result(CHECKS["LogDriver: FIFO is read"], good_plugin(), patient)

    assert found.outcome is CheckOutcome.PASSED, found.came_back


def test_a_managed_plugin_is_no_finding() -> None:
    """It has no handshake, and may implement MetricsCollector."""
    name = "MetricsCollector: managed plugin"
    without = refuses("Plugin.Activate", status=404)

    assert result(CHECKS[name], without(good_plugin()), GOOD).outcome is CheckOutcome.PASSED


def test_a_driver_that_does_not_read_is_no_finding() -> None:
    """ReadLogs is a capability that a log driver may lack."""
    deaf = does(cannot_read, "LogDriver.Capabilities", "LogDriver.ReadLogs")

    for item in checks_in(log_reading):
        found = result(item, deaf(good_plugin()), GOOD)

        assert found.outcome is CheckOutcome.SKIPPED, item.id
        assert found.came_back == "ReadLogs is not among its capabilities", item.id


@pytest.mark.parametrize("item", checks_in(secret), ids=lambda item: item.id)
def test_a_provider_whose_secrets_nobody_names_is_no_finding(item: Check) -> None:
    """All that can be asked for then is a secret that there is not."""
    found = result(item, good_plugin(), Broken(GOOD.breaks, options=evolve(OPTIONS, secret="")))

    assert found.outcome is (
        CheckOutcome.PASSED if item.name == "unknown secret" else CheckOutcome.SKIPPED
    )


def test_no_check_lacks_a_broken_plugin() -> None:
    """A check that nothing fails would be none."""
    assert sorted(BROKEN) == sorted(CHECKS)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_broken_plugin_is_found_out(module: ModuleType) -> None:
    """The check says that something came back which it does not expect."""
    for name, broken in [*module.BROKEN.items(), *module.MORE]:
        found = result(CHECKS[name], broken.breaks(good_plugin()), broken)

        assert found.outcome == broken.outcome, f"{name}: {found.came_back}"
        assert found.came_back, name
        assert "the check itself failed" not in found.came_back, name


def test_no_check_is_stricter_than_engines() -> None:
    """What a plugin may do is no finding; where there is nothing to check, that is said."""
    for number, (name, legal) in enumerate(LEGAL):
        found = result(CHECKS[name], legal.breaks(good_plugin()), legal)

        assert found.outcome == legal.outcome, f"{number}, {name}: {found.came_back}"
