"""Every check finds what it is for: a good plugin passes it, a broken one does not."""

import json
from types import ModuleType

import pytest
from attrs import evolve

from moby_plugins import Request, Response
from moby_plugins.checks import (
    Check,
    Finding,
    Subject,
    Verdict,
    built_in_checks,
    checks_in,
    log_reading,
    run_checks,
    secret,
)
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import App
from moby_plugins.testing import FakeClock, MemoryTransport
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
from tests.unit.checks.broken import SETUP, Broken, body_of, does, edits, refuses
from tests.unit.checks.broken_logs import HASTY
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


def finding(item: Check, app: App, broken: Broken) -> Finding:
    """What one check finds, without a socket, on a clock of its own."""
    clock = FakeClock()

    def slow(request: Request) -> Response:
        clock.sleep(broken.delay)
        return app(request)

    plugin = MemoryTransport(slow if broken.delay else app, clock=clock)
    address = Address(broken.addr)
    process = broken.process.of(clock, plugin) if broken.process else None
    subject = Subject(
        plugin,
        address,
        clock=clock,
        tls=broken.tls,
        setup=broken.setup,
        find_process=lambda: process,
    )
    (found,) = run_checks([item], subject)
    return found


def managed(told: dict[str, list[str]]) -> dict[str, list[str]]:
    """The handshake without what only a managed plugin may implement."""
    return {"Implements": [name for name in told["Implements"] if name != "MetricsCollector"]}


def cannot_read(request: Request, _: App) -> Response:
    """Neither a capability nor the method."""
    status = 200 if request.method == "LogDriver.Capabilities" else 404
    return Response(status, b'{"Cap": {"ReadLogs": false}}')


GOOD = Broken(edits("Plugin.Activate", managed), Verdict.PASSED, SETUP)


@pytest.mark.parametrize("subsystem", sorted({item.subsystem for item in CHECKS.values()}))
def test_a_good_plugin_passes(subsystem: str) -> None:
    """Each check, alone, passes on a plugin that keeps to the protocol."""
    for name in (name for name, item in CHECKS.items() if item.subsystem == subsystem):
        found = finding(CHECKS[name], GOOD.breaks(good_plugin()), GOOD)

        wanted = Verdict.SKIPPED if name in SKIPPED else Verdict.PASSED
        assert found.verdict == wanted, f"{name}: {found.came_back}"


def test_a_managed_plugin_is_no_finding() -> None:
    """It has no handshake, and may implement MetricsCollector."""
    name = "MetricsCollector: managed plugin"
    without = refuses("Plugin.Activate", status=404)

    assert finding(CHECKS[name], without(good_plugin()), GOOD).verdict is Verdict.PASSED


def test_a_driver_that_does_not_read_is_no_finding() -> None:
    """ReadLogs is a capability that a log driver may lack."""
    deaf = does(cannot_read, "LogDriver.Capabilities", "LogDriver.ReadLogs")

    for item in checks_in(log_reading):
        found = finding(item, deaf(good_plugin()), GOOD)

        assert found.verdict is Verdict.SKIPPED, item.id
        assert found.came_back == "ReadLogs is not among its capabilities", item.id


@pytest.mark.parametrize("item", checks_in(secret), ids=lambda item: item.id)
def test_a_provider_whose_secrets_nobody_names_is_no_finding(item: Check) -> None:
    """All that can be asked for then is a secret that there is not."""
    found = finding(item, good_plugin(), Broken(GOOD.breaks, setup=evolve(SETUP, secret="")))

    assert found.verdict is (Verdict.PASSED if item.name == "unknown secret" else Verdict.SKIPPED)


def test_no_check_lacks_a_broken_plugin() -> None:
    """A check that nothing fails would be none."""
    assert sorted(BROKEN) == sorted(CHECKS)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_broken_plugin_is_found_out(module: ModuleType) -> None:
    """The check says that something came back which it does not expect."""
    for name, broken in [*module.BROKEN.items(), *module.MORE]:
        found = finding(CHECKS[name], broken.breaks(good_plugin()), broken)

        assert found.verdict == broken.verdict, f"{name}: {found.came_back}"
        assert found.came_back, name
        assert "the check broke" not in found.came_back, name


@pytest.mark.parametrize("body", [b"404 page not found", b'[{"x": [7]}]', b""])
def test_no_answer_breaks_a_check(body: bytes) -> None:
    """A check judges whatever comes back, from every method; it makes no mistake of its own."""
    odd = Broken(does(lambda *_: body), setup=HASTY)
    app = odd.breaks(good_plugin())

    for item in CHECKS.values():
        found = finding(item, app, odd)

        assert "the check broke" not in found.came_back, item.id


@pytest.mark.parametrize("value", [7, {"x": 7}])
def test_no_value_breaks_a_check(value: object) -> None:
    """The same for an answer whose keys are right, and whose values are of another kind."""

    def odd(request: Request, good: App) -> object:
        if request.method.startswith(("LogDriver.ReadLogs", "GraphDriver.Diff")):
            return good(request)
        told = json.loads(body_of(good(request)) or b"{}")
        return dict.fromkeys(told, value)

    broken = Broken(does(odd), setup=HASTY)
    app = broken.breaks(good_plugin())
    for item in CHECKS.values():
        found = finding(item, app, broken)

        assert "the check broke" not in found.came_back, item.id


def test_no_check_is_stricter_than_engines() -> None:
    """What a plugin may do is no finding; where there is nothing to check, that is said."""
    for number, (name, legal) in enumerate(LEGAL):
        found = finding(CHECKS[name], legal.breaks(good_plugin()), legal)

        assert found.verdict == legal.verdict, f"{number}, {name}: {found.came_back}"
