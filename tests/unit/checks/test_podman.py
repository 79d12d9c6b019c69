"""What the checks for Podman send, and what they find in plugins that suit Docker alone."""

from typing import Any

import pytest

from moby_plugins.checks import CheckOutcome, Options, Target, built_in_checks, run_checks, select
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport
from tests.unit.checks.broken import OPTIONS
from tests.unit.checks.good_plugin import good_plugin

CHECKS = select(built_in_checks(), subsystems=("Plugin", "VolumeDriver"), host="podman")


def checked(
    plugin: Any, options: Options = OPTIONS
) -> tuple[MemoryTransport, dict[str, CheckOutcome]]:
    """What was called, and what was found."""
    clock = FakeClock()
    transport = MemoryTransport(plugin, clock=clock)
    target = Target(transport, Address("unix:///x.sock"), clock=clock, options=options)
    return transport, {each.check.name: each.outcome for each in run_checks(CHECKS, target)}


def test_podman_never_calls_capabilities_or_path() -> None:
    """And nothing but what it does call."""
    plugin, _ = checked(good_plugin())

    assert {call.method for call in plugin.calls} == {
        "Plugin.Activate",
        *(f"VolumeDriver.{name}" for name in ("Create", "Get", "List", "Mount", "Remove")),
        "VolumeDriver.Unmount",
    }


def test_bodies_are_those_of_podman() -> None:
    """List has none, Create no Opts where there are none, and all containers have one ID."""
    plugin, _ = checked(good_plugin())

    assert set(map(repr, plugin.calls.of("VolumeDriver.List").arguments)) == {"None"}
    assert all(args.keys() == {"Name"} for args in plugin.calls.of("VolumeDriver.Create").arguments)
    ids = {args["ID"] for args in plugin.calls.of("VolumeDriver.Mount").arguments}
    assert ids == {"2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2"}


def test_options_are_sent_where_there_are_some() -> None:
    """As the user gave them."""
    plugin, _ = checked(good_plugin(), Options(volume_opts={"size": "1M"}))

    created = plugin.calls.of("VolumeDriver.Create").arguments
    assert all(args["Opts"] == {"size": "1M"} for args in created)


@pytest.mark.parametrize("options", [OPTIONS, Options(volume_opts={"size": "1M"})])
def test_nothing_is_left(options: Options) -> None:
    """Each check removes what it made."""
    plugin, found = checked(good_plugin(), options)

    assert {CheckOutcome.FAILED, CheckOutcome.WARNED} & {*found.values()} == set()
    created = [args["Name"] for args in plugin.calls.of("VolumeDriver.Create").arguments]
    removed = [args["Name"] for args in plugin.calls.of("VolumeDriver.Remove").arguments]
    assert set(created) <= set(removed)
