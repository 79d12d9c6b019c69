"""Findings about managed plugins, derived from their engine's description of them."""

import errno

from moby_plugins.domain.diagnosis import Observations, diagnose
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding
from moby_plugins.domain.managed import found_plugin
from moby_plugins.domain.plugin import Candidate, IgnoredFile, ManagedPlugin, Plugin
from tests.cases import every

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


def test_a_managed_plugin_that_works_has_no_findings() -> None:
    """The engine says which subsystems the plugin implements, so no handshake is needed."""
    assert found(GOOD) == ()


def test_a_managed_plugin_and_a_plugin_on_disk_of_the_same_name_hide_each_other() -> None:
    """Hosts use the managed plugin and volume commands the other one: two warnings."""
    told = found(GOOD, SPEC)

    assert [(each.severity, each.where) for each in told] == [(WARNING, SPEC.path)] * 2
    assert {each.what for each in told} == {
        f"hidden by {WHERE}",
        "hides the managed plugin shelf:latest in volume commands",
    }


def test_a_disabled_managed_plugin_that_hides_a_plugin_on_disk_is_a_problem() -> None:
    """Hosts fail, and do not try the plugin on disk; without one, the finding is a note."""
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


def test_a_managed_plugin_whose_socket_name_has_22_bytes_has_no_findings() -> None:
    """With a longer name, the path would be longer than a UNIX socket's can be."""
    assert found(ManagedPlugin("a:latest", "a" * 64, True, (), "x" * 22)) == ()


def test_an_engine_that_cannot_list_its_plugins_is_a_problem() -> None:
    """Hosts then find no plugins at all, not even those on disk."""
    reason = "unix:///e.sock: no socket there; is the engine running? (tried once)"
    [problem] = diagnose(Observations("/s", (), engine_errors=(reason,)))

    assert (problem.severity, problem.where) == (PROBLEM, "unix:///e.sock")
    assert problem.what == reason


# What is found of a plugin on disk, and of a managed one with its name.
BOTH = (
    Finding(
        WARNING,
        SPEC.path,
        "hides the managed plugin shelf:latest in volume commands",
        "an engine that has listed its volumes takes the plugin on disk for docker volume, and the"
        " managed one for all else",
        "give one of the two another name, or remove it",
    ),
    Finding(
        WARNING,
        SPEC.path,
        "hidden by shelf:latest at unix:///e.sock",
        "hosts use the first that they find, and never see this one",
        "remove the one that is not meant",
    ),
)


@every(
    ("plugin", "hidden", "failure", "findings"),
    [
        (
            GOOD,
            (SPEC,),
            0,
            [*BOTH],
        ),
        (
            OFF,
            (SPEC,),
            0,
            [
                Finding(
                    PROBLEM,
                    WHERE,
                    "disabled, and hides /etc/docker/plugins/shelf.spec",
                    "hosts fail at once, and do not use the plugin on disk in its place",
                    (
                        "remove it, if the one on disk is meant; otherwise: docker plugin enable"
                        " shelf:latest"
                    ),
                ),
                *BOTH,
            ],
        ),
        (
            OFF,
            (),
            0,
            [
                Finding(
                    NOTE,
                    WHERE,
                    "disabled",
                    "hosts fail with that at once",
                    "docker plugin enable shelf:latest",
                )
            ],
        ),
        (
            ManagedPlugin("a:latest", "a" * 64, True, ("docker.VolumeDriver/1.0",), "s.sock"),
            (),
            0,
            [
                Finding(
                    PROBLEM,
                    WHERE,
                    "the type 'docker.VolumeDriver/1.0' is matched by no look-up",
                    "engines look for docker.volumedriver/1.0 and the like, to the letter",
                    "correct interface.types in its config.json, and create the plugin again",
                )
            ],
        ),
        (
            ManagedPlugin("a:latest", "a" * 64, True, (), "x" * 23),
            (),
            0,
            [
                Finding(
                    PROBLEM,
                    WHERE,
                    "the name of its socket has 23 bytes",
                    (
                        "its path is longer than a socket's can be: the engine gives up to enable"
                        " it after 13 s, and hosts cannot dial it"
                    ),
                    (
                        "shorten interface.socket to 22 bytes in its config.json, and create the"
                        " plugin again"
                    ),
                )
            ],
        ),
        (
            ManagedPlugin("a:latest", "a" * 64, False, (), "../x"),
            (),
            0,
            [
                Finding(
                    PROBLEM,
                    WHERE,
                    "its socket is called '../x', which is not a file's name",
                    "hosts do not dial it",
                    "correct interface.socket in its config.json, and create the plugin again",
                ),
                Finding(
                    NOTE,
                    WHERE,
                    "disabled",
                    "hosts fail with that at once",
                    "docker plugin enable a:latest",
                ),
            ],
        ),
        (
            ManagedPlugin("a:latest", "a" * 64, True, (), "s.sock", "grpc"),
            (),
            0,
            [
                Finding(
                    WARNING,
                    WHERE,
                    "it speaks 'grpc'",
                    "this library speaks moby.plugins.http/v1 only, and engines nearly so",
                    "nothing, if its hosts speak it",
                )
            ],
        ),
        (
            GOOD,
            (),
            errno.ENOENT,
            [
                Finding(
                    PROBLEM,
                    WHERE,
                    (
                        "enabled, and without a socket that can be reached:"
                        f" /run/docker/plugins/{GOOD.id}/s.sock"
                    ),
                    "hosts try for 15 seconds, and fail",
                    (
                        "where the engine is on another machine, or rootless, have hosts run"
                        " beside it; else look into the engine's log for why the plugin ends;"
                        " then: docker plugin inspect shelf:latest"
                    ),
                )
            ],
        ),
        (
            GOOD,
            (),
            errno.EPERM,
            [
                Finding(
                    PROBLEM,
                    WHERE,
                    (
                        "no permission to connect to its socket"
                        f" /run/docker/plugins/{GOOD.id}/s.sock"
                    ),
                    "the directories of managed plugins are root's alone",
                    "run this, and hosts, as root",
                )
            ],
        ),
    ],
)
def test_a_finding_about_a_managed_plugin_is_complete(
    plugin: ManagedPlugin, hidden: tuple[Candidate, ...], failure: int, findings: list[Finding]
) -> None:
    """The finding says what is wrong, why it matters and what to do; no manual is needed."""
    assert [*found(plugin, *hidden, failure=failure)] == findings
