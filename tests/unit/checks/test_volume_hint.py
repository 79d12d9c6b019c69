"""Checks suggest ``--volume-opt`` for a volume driver that needs options."""

from typing import Any

import pytest

from moby_plugins.checks import (
    CheckOutcome,
    CheckResult,
    Options,
    Target,
    built_in_checks,
    run_checks,
)
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport
from tests.unit.checks.broken import OPTIONS, does, never
from tests.unit.checks.broken_volumes import CREATE, refuses_if
from tests.unit.checks.good_plugin import good_plugin

HINT = "--volume-opt"
CREATING = ("create", "create without options", "creates of one name", "mount", "create for Podman")


def found(plugin: Any, name: str, options: Options = OPTIONS) -> CheckResult:
    """What a check of that name finds."""
    clock = FakeClock()
    target = Target(
        MemoryTransport(plugin, clock=clock),
        Address("unix:///x.sock"),
        clock=clock,
        options=options,
    )
    item = next(it for it in built_in_checks() if it.id == f"VolumeDriver: {name}")
    (result,) = run_checks([item], target)
    return result


@pytest.mark.parametrize("name", CREATING)
def test_a_failed_create_suggests_volume_options(name: str) -> None:
    """Every check that creates a volume suggests them, unless options were given."""
    needs = refuses_if(lambda args: not args.get("Opts"), CREATE)(good_plugin())
    refuses = refuses_if(args_of_any, CREATE)(good_plugin())
    given = Options(volume_opts={"size": "1M"})

    assert HINT in found(needs, name).came_back
    assert HINT not in found(refuses, name, given).came_back
    assert found(needs, name, given).outcome in (CheckOutcome.PASSED, CheckOutcome.SKIPPED)


def args_of_any(_: dict[str, Any]) -> bool:
    """Whatever the arguments are."""
    return True


def test_a_create_that_times_out_does_not_suggest_volume_options() -> None:
    """A time-out does not show that the driver needs options."""
    hanging = does(never, CREATE)(good_plugin())

    assert HINT not in found(hanging, "create").came_back
