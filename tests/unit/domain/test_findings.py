"""Findings about managed plugins, from what their engine says of them."""

import errno

import pytest

from moby_plugins.domain.diagnosis import Observations, diagnose
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding
from moby_plugins.domain.managed import found_plugin
from moby_plugins.domain.plugin import Candidate, IgnoredFile, ManagedPlugin, Plugin

WHERE = "shelf:latest at unix:///e.sock"
SPEC = Candidate("/etc/docker/plugins/shelf.spec", Plugin.local("shelf", "tcp://h:1"))
GOOD = ManagedPlugin("shelf:latest", "a" * 64, True, ("docker.volumedriver/1.0",), "s.sock")
OFF = ManagedPlugin("shelf:latest", "a" * 64, False, ("docker.volumedriver/1.0",), "s.sock")


def found(plugin: ManagedPlugin, *hidden: Candidate, failure: int = 0) -> tuple[Finding, ...]:
    """What is found of a plugin, and of those that are called like it."""
    there = found_plugin(plugin, "/d") if plugin.enabled else None
    candidates = (Candidate(WHERE, there, managed=plugin), *hidden)
    failures = {there.address.path: failure} if there is not None and failure else {}
    plugins = {"shelf": candidates}
    if plugin.enabled:
        plugins["shelf:latest"] = candidates[:1]
    return diagnose(Observations("/s", (), plugins=plugins, failures=failures))


def test_one_that_works_is_no_finding() -> None:
    """Whether it implements anything is its engine's word, and it is not asked."""
    assert found(GOOD) == ()


def test_what_hides_what_is_told_both_ways() -> None:
    """The managed one is first for hosts, and that on disk for volume commands."""
    told = found(GOOD, SPEC)

    assert [(each.severity, each.where) for each in told] == [(WARNING, SPEC.path)] * 2
    assert {each.what for each in told} == {
        f"hidden by {WHERE}",
        "hides the managed plugin shelf:latest in volume commands",
    }


def test_a_disabled_one_that_hides_another_is_a_problem() -> None:
    """Hosts fail, though there is one on disk; by itself it is a note, told once."""
    [problem, *warnings] = found(OFF, SPEC)
    file = IgnoredFile(WHERE, "disabled", "shelf:latest", OFF)

    assert (problem.severity, problem.where) == (PROBLEM, WHERE)
    assert problem.what == f"disabled, and hides {SPEC.path}"
    assert problem.remedy.endswith(": docker plugin enable shelf:latest")
    assert {each.severity for each in warnings} == {WARNING}
    [note] = diagnose(Observations("/s", (), ignored_files=(file,)))
    assert (note.severity, note.what) == (NOTE, "disabled")
    assert note.remedy == "docker plugin enable shelf:latest"
    hidden = {"shelf": (Candidate(WHERE, managed=OFF), SPEC)}
    assert (
        len(diagnose(Observations("/s", (), plugins=hidden, ignored_files=(file,))))
        == len(warnings) + 1
    )


@pytest.mark.parametrize(
    ("plugin", "what"),
    [
        (
            ManagedPlugin("a:latest", "a" * 64, True, ("docker.VolumeDriver/1.0",), "s.sock"),
            "the type 'docker.VolumeDriver/1.0' is matched by no look-up",
        ),
        (
            ManagedPlugin("a:latest", "a" * 64, True, (), "x" * 23),
            "the name of its socket has 23 bytes",
        ),
        (
            ManagedPlugin("a:latest", "a" * 64, False, (), "../x"),
            "its socket is called '../x', which is not a file's name",
        ),
    ],
)
def test_what_no_engine_checks_is_a_problem(plugin: ManagedPlugin, what: str) -> None:
    """Types, and the name of the socket; also of one that is disabled."""
    problems = [each for each in found(plugin) if each.severity == PROBLEM]

    assert [each.what for each in problems] == [what]


def test_a_socket_of_22_bytes_can_be_dialled() -> None:
    """And is no finding."""
    assert found(ManagedPlugin("a:latest", "a" * 64, True, (), "x" * 22)) == ()


def test_one_that_speaks_something_else_is_a_warning() -> None:
    """Its hosts may know it."""
    [warning] = found(ManagedPlugin("a:latest", "a" * 64, True, (), "s.sock", "grpc"))

    assert (warning.severity, warning.what) == (WARNING, "it speaks 'grpc'")


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOENT, "enabled, and without a socket that can be reached: /run/docker/plugins/"),
        (errno.ECONNREFUSED, "enabled, and without a socket that can be reached"),
        (errno.EACCES, "no permission to connect to its socket /run/docker/plugins/"),
    ],
)
def test_an_enabled_one_without_a_socket_is_a_problem(number: int, what: str) -> None:
    """It has crashed, or its engine is elsewhere, or this is not root."""
    [problem] = found(GOOD, failure=number)

    assert problem.severity == PROBLEM
    assert problem.what.startswith(what)


def test_an_engine_that_does_not_tell_is_a_problem() -> None:
    """No plugin is found then, on disk neither."""
    reason = "unix:///e.sock: no socket there; is the engine running? (tried once)"
    [problem] = diagnose(Observations("/s", (), engine_errors=(reason,)))

    assert (problem.severity, problem.where) == (PROBLEM, "unix:///e.sock")
    assert problem.what == reason
