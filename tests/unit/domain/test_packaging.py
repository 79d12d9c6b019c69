"""Findings about a managed plugin's directory, derived from observations."""

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


def test_a_sound_plugin_directory_has_no_findings() -> None:
    """A valid configuration with all its files gives neither a problem nor a warning."""
    assert judge() == []


@pytest.mark.parametrize("network", ["", "host", "null"])
def test_the_network_types_host_null_and_empty_are_no_finding(network: str) -> None:
    """Engines give such a plugin the network of the host, or none, as the type says."""
    assert judge(SOUND | {"network": {"type": network}}) == []


def test_only_plugins_that_mount_need_a_propagated_mount() -> None:
    """An authorization plugin mounts nothing that an engine has to see."""
    interface = {"types": ["docker.authz/1.0"], "socket": "a.sock"}

    assert judge(SOUND | {"interface": interface, "propagatedMount": ""}) == []


@pytest.mark.parametrize("destination", ["/run", "/run/docker", "/run/docker/logging/"])
def test_a_mount_over_the_fifos_of_a_log_driver_is_a_problem(destination: str) -> None:
    """An engine makes a log driver's FIFOs in its root file system; other plugins have none."""
    mount = {"name": "m", "source": "/m", "destination": destination}
    interface = {"types": ["docker.logdriver/1.0"], "socket": "a.sock"}

    assert (
        "hides /run/docker/logging"
        in only(SOUND | {"mounts": [mount], "interface": interface}).what
    )
    assert judge(SOUND | {"mounts": [mount]}) == []


def test_a_missing_root_file_system_is_a_single_problem() -> None:
    """The program, which is missing as well, is not reported separately."""
    assert only(SOUND, FileObservations(rootfs=False)).what == "there is no such directory"


def test_special_files_and_entries_that_were_not_searched_are_warnings() -> None:
    """The warning names three sockets or devices, and says how many more there are."""
    odd = tuple(f"dev/{n}" for n in range(5))
    seen = FileObservations(
        rootfs=True, program=RUNS, machine="x86_64", odd=odd, looked_at=200_000, cut=True
    )

    first, second = judge(SOUND, seen)

    assert "dev/0, dev/1, dev/2 and 2 more" in first.what
    assert "more than 200,000 entries" in second.what
    assert {first.severity, second.severity} == {WARNING}


def test_problems_are_listed_before_warnings() -> None:
    """Findings are sorted by severity, whatever part of the configuration has them."""
    found = judge(SOUND | {"Extra": 1, "workdir": "x", "user": {"uid": 1}})

    assert [each.severity for each in found] == [PROBLEM, WARNING, WARNING]


def test_a_configuration_of_unknown_keys_alone_has_problems_too() -> None:
    """Unknown keys are warnings; the keys that are missing besides are problems."""
    severities = {each.severity for each in judge({"foo": 1})}

    assert severities == {PROBLEM, WARNING}
