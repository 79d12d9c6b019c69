"""What is wrong with a managed plugin's directory, by what was seen of it."""

import json
from typing import Any

import pytest

from moby_plugins.domain.findings import PROBLEM, WARNING, Finding
from moby_plugins.domain.packaging import FileObservations, Program, judged
from moby_plugins.domain.plugin_config import read_config
from tests.cases import every

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


@every(
    ("change", "what"),
    [
        ({"interface": {"socket": "a.sock"}}, "there is none"),
        ({"interface": {"types": [], "socket": "a.sock"}}, "there is none"),
        (
            {"interface": {"types": ["docker.VolumeDriver/1.0"], "socket": "a.sock"}},
            "has capital letters",
        ),
        ({"interface": {"types": ["volumedriver"], "socket": "a.sock"}}, "not of the form"),
        ({"interface": {"types": ["docker.volumedriver/2"], "socket": "a.sock"}}, "not of the"),
        ({"interface": {"types": ["docker.shelf/1.0"], "socket": "a.sock"}}, "no engine asks for"),
        ({"interface": {"types": ["docker.authz/1.0"], "socket": "a" * 23}}, "has 23 bytes"),
        ({"interface": {"types": ["docker.authz/1.0"]}}, "is missing"),
        ({"entrypoint": []}, "it is missing"),
        ({"entrypoint": [""]}, "it is missing"),
        ({"workdir": "app"}, "is not an absolute path"),
        ({"mounts": [{"name": "m", "destination": "/m"}]}, "'m' has no source"),
        ({"mounts": [{"name": "m", "source": "/m", "destination": "/"}]}, "no destination"),
        ({"linux": {"devices": [{"name": "d"}]}}, "'d' has no path"),
    ],
)
def test_what_an_engine_fails_on_or_never_matches_is_a_problem(
    change: dict[str, Any], what: str
) -> None:
    """One finding for each, with what to do."""
    finding = only(SOUND | change)

    assert (finding.severity, what in finding.what) == (PROBLEM, True)


@every(
    ("change", "what"),
    [
        ({"propagatedMount": ""}, "there is none"),
        ({"propagatedMount": "var"}, "not an absolute path"),
        ({"Extra": 1}, "is not a key"),
        ({"network": {"type": "none"}}, "'none'"),
        ({"network": {"type": "bridge"}}, "'bridge'"),
        ({"user": {"uid": 1000}}, "a user is named"),
        ({"linux": {"capabilities": ["sys_admin"]}}, "is not a capability"),
        ({"env": [{"name": "A", "settable": ["path"]}]}, "'A' has 'path' settable"),
        ({"env": [{"value": "1", "settable": ["value"]}]}, "has no name"),
        ({"interface": {**SOUND["interface"], "protocolScheme": "x"}}, "is not the protocol"),
    ],
)
def test_what_runs_and_is_silently_wrong_is_a_warning(change: dict[str, Any], what: str) -> None:
    """One finding for each, with what to do."""
    finding = only(SOUND | change)

    assert (finding.severity, what in finding.what) == (WARNING, True)


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


def test_a_meant_type_is_offered() -> None:
    """In the right form, as an engine compares it."""
    interface = {"types": ["docker.VolumeDriver/1.0"], "socket": "a.sock"}

    assert "'docker.volumedriver/1.0'" in only(SOUND | {"interface": interface}).remedy


def test_a_program_that_cannot_be_run_is_a_problem() -> None:
    """It says why, as it was seen."""
    seen = FileObservations(
        rootfs=True, program=Program("/x", "is not in rootfs"), machine="x86_64"
    )

    finding = only(SOUND, seen)

    assert (finding.severity, finding.what) == (PROBLEM, "/x is not in rootfs")


def test_a_program_for_another_machine_is_a_warning() -> None:
    """The engine may run on one like that."""
    seen = FileObservations(rootfs=True, program=RUNS, machine="aarch64")

    finding = only(SOUND, seen)

    assert (finding.severity, "x86_64" in finding.what) == (WARNING, True)


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


def test_a_source_that_is_not_here_is_a_warning() -> None:
    """It may be there where the plugin is enabled."""
    mounts = [{"name": "m", "source": "/m", "destination": "/m", "type": "bind"}]
    seen = FileObservations(rootfs=True, program=RUNS, machine="x86_64", absent=("/m",))

    assert "is not on this machine" in only(SOUND | {"mounts": mounts}, seen).what


def test_problems_come_first() -> None:
    """Whatever they are about."""
    found = judge(SOUND | {"Extra": 1, "workdir": "x", "user": {"uid": 1}})

    assert [each.severity for each in found] == [PROBLEM, WARNING, WARNING]


def test_warnings_about_keys_do_not_hide_problems() -> None:
    """A configuration with nothing but unknown keys lacks everything else too."""
    severities = {each.severity for each in judge({"foo": 1})}

    assert severities == {PROBLEM, WARNING}
