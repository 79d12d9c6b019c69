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
def test_a_good_plugin_passes_every_check(subsystem: str) -> None:
    """Each check, run alone, passes on a plugin that keeps to the protocol."""
    for name in (name for name, item in CHECKS.items() if item.subsystem == subsystem):
        found = result(CHECKS[name], GOOD.breaks(good_plugin()), GOOD)

        wanted = CheckOutcome.SKIPPED if name in SKIPPED else CheckOutcome.PASSED
        assert found.outcome == wanted, f"{name}: {found.came_back}"


def test_a_check_accepts_a_time_out_longer_than_the_system_can_wait() -> None:
    """The check that writes to a full FIFO works with a time-out of 1e300 seconds."""
    patient = Broken(GOOD.breaks, options=evolve(OPTIONS, timeout=1e300))

    found = result(CHECKS["LogDriver: FIFO is read"], good_plugin(), patient)

    assert found.outcome is CheckOutcome.PASSED, found.came_back


def test_a_managed_plugin_without_a_handshake_passes() -> None:
    """Only a managed plugin may implement MetricsCollector, and it has no handshake."""
    name = "MetricsCollector: managed plugin"
    without = refuses("Plugin.Activate", status=404)

    assert result(CHECKS[name], without(good_plugin()), GOOD).outcome is CheckOutcome.PASSED


def test_checks_of_read_logs_are_skipped_for_a_driver_that_cannot_read_logs() -> None:
    """ReadLogs is an optional capability of a log driver."""
    deaf = does(cannot_read, "LogDriver.Capabilities", "LogDriver.ReadLogs")

    for item in checks_in(log_reading):
        found = result(item, deaf(good_plugin()), GOOD)

        assert found.outcome is CheckOutcome.SKIPPED, item.id
        assert found.came_back == "ReadLogs is not among its capabilities", item.id


@pytest.mark.parametrize("item", checks_in(secret), ids=lambda item: item.id)
def test_checks_that_need_the_name_of_a_secret_are_skipped_without_one(item: Check) -> None:
    """Without the option, only the check that asks for an unknown secret is run."""
    found = result(item, good_plugin(), Broken(GOOD.breaks, options=evolve(OPTIONS, secret="")))

    assert found.outcome is (
        CheckOutcome.PASSED if item.name == "unknown secret" else CheckOutcome.SKIPPED
    )


def test_every_check_has_a_broken_plugin_that_fails_it() -> None:
    """A check that no plugin can fail would be useless."""
    assert sorted(BROKEN) == sorted(CHECKS)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_broken_plugin_is_detected_by_its_check(module: ModuleType) -> None:
    """The check has the expected outcome, and says what came back from the plugin."""
    for name, broken in [*module.BROKEN.items(), *module.MORE]:
        found = result(CHECKS[name], broken.breaks(good_plugin()), broken)

        assert found.outcome == broken.outcome, f"{name}: {found.came_back}"
        assert found.came_back, name
        assert "the check itself failed" not in found.came_back, name


def test_no_check_is_stricter_than_engines() -> None:
    """A plugin that differs as engines allow passes, or is skipped if there is nothing to check."""
    for number, (name, legal) in enumerate(LEGAL):
        found = result(CHECKS[name], legal.breaks(good_plugin()), legal)

        assert found.outcome == legal.outcome, f"{number}, {name}: {found.came_back}"
