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


def test_the_checks_for_podman_call_only_methods_that_podman_calls() -> None:
    """Podman never calls Capabilities and Path of a volume driver, so these checks do not."""
    plugin, _ = checked(good_plugin())

    assert {call.method for call in plugin.calls} == {
        "Plugin.Activate",
        *(f"VolumeDriver.{name}" for name in ("Create", "Get", "List", "Mount", "Remove")),
        "VolumeDriver.Unmount",
    }


def test_the_checks_for_podman_send_the_bodies_that_podman_sends() -> None:
    """List has no body, Create has no Opts if there are none, and every Mount has the same ID."""
    plugin, _ = checked(good_plugin())

    assert set(map(repr, plugin.calls.of("VolumeDriver.List").arguments)) == {"None"}
    assert all(args.keys() == {"Name"} for args in plugin.calls.of("VolumeDriver.Create").arguments)
    ids = {args["ID"] for args in plugin.calls.of("VolumeDriver.Mount").arguments}
    assert ids == {"2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2"}


def test_the_checks_for_podman_send_the_users_volume_options() -> None:
    """Each Create has the options that the user gave as Opts."""
    plugin, _ = checked(good_plugin(), Options(volume_opts={"size": "1M"}))

    created = plugin.calls.of("VolumeDriver.Create").arguments
    assert all(args["Opts"] == {"size": "1M"} for args in created)


@pytest.mark.parametrize("options", [OPTIONS, Options(volume_opts={"size": "1M"})])
def test_the_checks_for_podman_leave_no_volume_behind(options: Options) -> None:
    """Each check removes the volumes that it created."""
    plugin, found = checked(good_plugin(), options)

    assert {CheckOutcome.FAILED, CheckOutcome.WARNED} & {*found.values()} == set()
    created = [args["Name"] for args in plugin.calls.of("VolumeDriver.Create").arguments]
    removed = [args["Name"] for args in plugin.calls.of("VolumeDriver.Remove").arguments]
    assert set(created) <= set(removed)
