"""What each finding about a machine's plugins tells a person: what, why, and what to do."""

import errno

import pytest

from moby_plugins.domain.diagnosis import Observations, diagnose
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding
from moby_plugins.domain.plugin import Candidate, IgnoredFile, Plugin

SOCKET, SPEC = "/run/p/db.sock", "/etc/p/db.json"
BY_SOCKET = Candidate(SOCKET, Plugin.local("db", f"unix://{SOCKET}"))


def seen(*candidates: Candidate, **more: object) -> Observations:
    """A machine with one directory of sockets, one of specs, and these ways to one plugin."""
    plugins = {"db": candidates} if candidates else {}
    return Observations("/run/p", ("/etc/p",), plugins, **more)  # type: ignore[arg-type]  # its fields


def spec(addr: str) -> Candidate:
    """A plugin found by its spec."""
    return Candidate(SPEC, Plugin("db", addr))


@pytest.mark.parametrize(
    ("machine", "finding"),
    [
        (
            seen(failures={"/etc/p": errno.ENOENT}),
            Finding(
                NOTE,
                "/etc/p",
                "the directory is missing",
                "hosts look there for plugins, and go on without it",
                "nothing, unless a plugin should be there",
            ),
        ),
        (
            seen(modes={"/run/p": 0o777}),
            Finding(
                PROBLEM,
                "/run/p",
                "every user can write to the directory",
                "any of them can put a plugin in the place of another, and hosts trust it",
                "chmod o-w /run/p",
            ),
        ),
        (
            seen(unreadable=("/etc/p: cannot be read: 13: Permission denied",)),
            Finding(
                PROBLEM,
                "/etc/p",
                "/etc/p: cannot be read: 13: Permission denied",
                "a host that cannot read one directory finds no plugins at all",
                "run this as the host's user, or let that user read the directory",
            ),
        ),
        (
            seen(abandoned_sockets=(SOCKET,)),
            Finding(
                PROBLEM,
                SOCKET,
                "a trace of this plugin was killed before it moved the plugin's socket back",
                "the plugin cannot be reached, although it may be running",
                "start another trace, which puts the socket back when Ctrl-C ends it:"
                " moby-plugins trace db",
            ),
        ),
        (
            seen(Candidate(SPEC, error=SpecError("no address", SPEC))),
            Finding(
                PROBLEM,
                SPEC,
                "no address",
                "hosts cannot use this file, and look no further for the plugin",
                "correct the file, or remove it",
            ),
        ),
        (
            seen(BY_SOCKET, spec("tcp://h:1")),
            Finding(
                WARNING,
                SPEC,
                f"hidden by {SOCKET}",
                "hosts use the first that they find, and never see this one",
                "remove the one that is not meant",
            ),
        ),
        (
            seen(BY_SOCKET, spec(f"unix://{SOCKET}")),
            Finding(
                NOTE,
                SPEC,
                f"hidden by {SOCKET}",
                "hosts use the first that they find, which leads to the same address",
                "remove the one that is not meant",
            ),
        ),
        (
            seen(BY_SOCKET, modes={SOCKET: 0o666}),
            Finding(
                PROBLEM,
                SOCKET,
                "every user can write to the socket",
                "any of them can call the plugin, as the host does",
                f"chmod o-w {SOCKET}",
            ),
        ),
        (
            seen(spec("tcp://h:1"), modes={SPEC: 0o666}),
            Finding(
                PROBLEM,
                SPEC,
                "every user can write to the spec",
                "any of them can send hosts elsewhere",
                f"chmod o-w {SPEC}",
            ),
        ),
        (
            seen(ignored_files=(IgnoredFile("/run/p/a.socket", "its name"),)),
            Finding(
                PROBLEM,
                "/run/p/a.socket",
                "its name",
                "no host finds a plugin by this file",
                "rename it, move it, or remove it",
            ),
        ),
    ],
)
def test_a_finding_about_files_is_complete(machine: Observations, finding: Finding) -> None:
    """It says why it matters and what to do, so that no manual is needed."""
    assert diagnose(machine) == (finding,)
