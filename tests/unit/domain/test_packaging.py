"""What is wrong with a managed plugin's directory, by what was seen of it."""

import json
from typing import Any

import pytest

from moby_plugins.domain.findings import PROBLEM, WARNING, Finding
from moby_plugins.domain.packaging import FileObservations, Program, judged
from moby_plugins.domain.plugin_config import read_config

SOUND: dict[str, Any] = {
    "description": "Volumes on a shelf.",
    "entrypoint": ["/usr/bin/python3", "/app"],
    "interface": {"types": ["docker.volumedriver/1.0"], "socket": "shelf.sock"},
    "network": {"type": ""},
    "propagatedMount": "/var/lib/shelf",
}
RUNS = Program("/usr/bin/python3", machine="x86_64")
SEEN = FileObservations(rootfs=True, program=RUNS, machine="x86_64")


def judge(config: Any = SOUND, seen: FileObservations = SEEN) -> list[Finding]:
    """All findings of a configuration."""
    return [*judged(read_config(json.dumps(config).encode()), seen)]


def only(config: Any = SOUND, seen: FileObservations = SEEN) -> Finding:
    """The one finding, which says what to do."""
    (finding,) = judge(config, seen)
    assert finding.remedy
    assert finding.why
    return finding


def test_nothing_is_wrong_with_a_sound_one() -> None:
    """Neither a problem nor a warning."""
    assert judge() == []


@pytest.mark.parametrize("network", ["", "host", "null"])
def test_networks_that_are_as_they_say(network: str) -> None:
    """None, and that of the host."""
    assert judge(SOUND | {"network": {"type": network}}) == []


def test_only_what_mounts_needs_propagation() -> None:
    """An authorization plugin has nothing that an engine should see."""
    interface = {"types": ["docker.authz/1.0"], "socket": "a.sock"}

    assert judge(SOUND | {"interface": interface, "propagatedMount": ""}) == []


@pytest.mark.parametrize("destination", ["/run", "/run/docker", "/run/docker/logging/"])
def test_a_mount_over_the_fifos_of_a_log_driver_is_a_problem(destination: str) -> None:
    """For a log driver alone: an engine makes them in the root file system."""
    mount = {"name": "m", "source": "/m", "destination": destination}
    interface = {"types": ["docker.logdriver/1.0"], "socket": "a.sock"}

    assert (
        "hides /run/docker/logging"
        in only(SOUND | {"mounts": [mount], "interface": interface}).what
    )
    assert judge(SOUND | {"mounts": [mount]}) == []


def test_without_a_root_file_system_nothing_else_of_it_is_said() -> None:
    """One problem, and not also a program that is missing."""
    assert only(SOUND, FileObservations(rootfs=False)).what == "there is no such directory"


def test_odd_files_and_what_was_not_looked_at_are_warnings() -> None:
    """A few are named, and how many there are."""
    odd = tuple(f"dev/{n}" for n in range(5))
    seen = FileObservations(
        rootfs=True, program=RUNS, machine="x86_64", odd=odd, looked_at=200_000, cut=True
    )

    first, second = judge(SOUND, seen)

    assert "dev/0, dev/1, dev/2 and 2 more" in first.what
    assert "more than 200,000 entries" in second.what
    assert {first.severity, second.severity} == {WARNING}


def test_problems_come_first() -> None:
    """Whatever they are about."""
    found = judge(SOUND | {"Extra": 1, "workdir": "x", "user": {"uid": 1}})

    assert [each.severity for each in found] == [PROBLEM, WARNING, WARNING]


def test_warnings_about_keys_do_not_hide_problems() -> None:
    """A configuration with nothing but unknown keys lacks everything else too."""
    severities = {each.severity for each in judge({"foo": 1})}

    assert severities == {PROBLEM, WARNING}
