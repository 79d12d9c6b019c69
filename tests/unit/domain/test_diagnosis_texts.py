"""The text of each finding about a machine's plugins: what is wrong, why, and what to do."""

import errno
from typing import Any

import pytest

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.diagnosis import Observations, diagnose
from moby_plugins.domain.errors import SpecError, TransportError, TransportTimeoutError
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding
from moby_plugins.domain.handshake import HandshakeOutcome
from moby_plugins.domain.plugin import Candidate, IgnoredFile, Plugin
from tests.cases import every

SOCKET, SPEC = "/run/p/db.sock", "/etc/p/db.json"
NESTED = f"/run/docker/plugins/{'a' * 64}/db.sock"
BY_TLS = Candidate(SPEC, Plugin("db", "https://h:1", TLSOptions(ca_file="/ca")))
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
    """The finding says what is wrong, why it matters and what to do; no manual is needed."""
    assert diagnose(machine) == (finding,)


@every(
    ("machine", "findings"),
    [
        (
            seen(kinds={"/etc/p": "file"}),
            [
                Finding(
                    PROBLEM,
                    "/etc/p",
                    "this is a file, and no directory",
                    "hosts look there for plugins, and find none",
                    "move it, and create a directory in its place",
                )
            ],
        ),
        (
            seen(engine_errors=("unix:///e.sock: it closed: the engine",)),
            [
                Finding(
                    PROBLEM,
                    "unix:///e.sock",
                    "unix:///e.sock: it closed: the engine",
                    (
                        "a host finds no plugins, not even those on disk, while its engine cannot"
                        " list its own"
                    ),
                    "start the engine, correct its address in the settings, or name none",
                )
            ],
        ),
        (
            seen(spec("tcp://user:pw@h:1")),
            [
                Finding(
                    WARNING,
                    "/etc/p/db.json",
                    "the user name and password in the address are left out: they are never sent",
                    "all who can read the file can read them, and the plugin never receives them",
                    "remove the part before the @ from the address",
                )
            ],
        ),
        (
            seen(BY_SOCKET, kinds={SOCKET: "file"}),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "/run/p/db.sock is not a socket: it is a file",
                    "hosts try for 15 seconds, and fail",
                    "correct the address in the spec, or have the plugin listen where it leads",
                )
            ],
        ),
        (
            seen(BY_SOCKET, kinds={SOCKET: "unknown file"}, failures={SOCKET: errno.ECONNREFUSED}),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "/run/p/db.sock is not a socket: it is an unknown file",
                    "hosts try for 15 seconds, and fail",
                    "correct the address in the spec, or have the plugin listen where it leads",
                )
            ],
        ),
        (
            seen(spec("unix://run/db.sock")),
            [
                Finding(
                    PROBLEM,
                    "/etc/p/db.json",
                    "unix://run/db.sock names the relative path run/db.sock",
                    "it leads elsewhere for each host, by the directory that this was started in",
                    "write three slashes: unix:///run/db.sock",
                )
            ],
        ),
        (
            seen(spec("unix:///nowhere"), failures={"/nowhere": errno.ENOENT}),
            [
                Finding(
                    PROBLEM,
                    "/etc/p/db.json",
                    "no socket there; is the plugin running?",
                    "hosts try for 15 seconds, and fail",
                    "start the plugin",
                )
            ],
        ),
        (
            seen(
                BY_SOCKET,
                ways={SOCKET: ("/", "/run", "/real.sock")},
                kinds={"/real.sock": "socket"},
                failures={SOCKET: errno.ECONNREFUSED},
            ),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "stale socket: it exists, but no process listens on it",
                    "hosts try for 15 seconds, and fail",
                    "start the plugin; or, if it is gone for good, rm /real.sock",
                )
            ],
        ),
        (
            seen(BY_SOCKET, failures={SOCKET: errno.EACCES}),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "no permission to connect to the socket",
                    "hosts try for 15 seconds, and fail",
                    "run this as the host's user; or let that user write to /run/p/db.sock",
                )
            ],
        ),
        (
            seen(
                BY_SOCKET,
                ways={SOCKET: ("/", "/run")},
                kinds={"/": "directory", "/run": "link"},
                failures={SOCKET: errno.ELOOP},
            ),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "the links on the way to the socket lead in a circle",
                    "hosts try for 15 seconds, and fail",
                    "correct the address in the spec",
                )
            ],
        ),
        (
            seen(
                BY_SOCKET,
                ways={SOCKET: ("/", "/run")},
                kinds={"/": "directory"},
                failures={SOCKET: errno.EACCES},
            ),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "a directory on the way to the socket may not be entered",
                    "hosts try for 15 seconds, and fail",
                    "run this as the host's user, or let that user enter the directory",
                )
            ],
        ),
        (
            seen(BY_SOCKET, handshakes={"db": HandshakeOutcome(3)}),
            [
                Finding(
                    WARNING,
                    "/run/p/db.sock",
                    "the plugin responds, and implements nothing",
                    "no host uses it",
                    "have it name its subsystems in the response to Plugin.Activate",
                )
            ],
        ),
        (
            seen(BY_SOCKET, ignored_files=(IgnoredFile("/etc/p/db.json~", "its name", "db"),)),
            [
                Finding(
                    WARNING,
                    "/etc/p/db.json~",
                    "its name",
                    "no host finds a plugin by this file; db is found by /run/p/db.sock",
                    "keep copies elsewhere, or remove it",
                )
            ],
        ),
        (
            seen(Candidate(SPEC, Plugin("db", "tcp://h:1", TLSOptions(ca_file="/ca")))),
            [
                Finding(
                    PROBLEM,
                    "/etc/p/db.json",
                    "TLS options are given, but only https:// is encrypted: this is plain text",
                    (
                        "calls and their secrets can be read on the way, although the spec asks"
                        " for TLS"
                    ),
                    "write https:// in place of tcp:// or http://",
                )
            ],
        ),
        (
            seen(ignored_files=(IgnoredFile(NESTED, "nested"),)),
            [
                Finding(
                    NOTE,
                    (
                        "/run/docker/plugins/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/db.soc"
                        "k"
                    ),
                    "the socket of a managed plugin, which an engine runs",
                    "hosts do not find it by this file; its engine does, by the plugin's name",
                    (
                        "nothing; to ask the plugin: moby-plugins inspect"
                        " unix:///run/docker/plugins/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/db.sock"
                    ),
                )
            ],
        ),
        (
            seen(
                BY_SOCKET,
                handshakes={"db": HandshakeOutcome(3, error=TransportTimeoutError("slow"))},
            ),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "the plugin did not respond within 3 s",
                    "hosts wait until their time-out, and fail",
                    (
                        "look into its log, and start it again; where it is only slow, see how"
                        " slow: moby-plugins inspect --timeout 30 db"
                    ),
                )
            ],
        ),
        (
            seen(BY_SOCKET, handshakes={"db": HandshakeOutcome(3, error=TransportError("reset"))}),
            [
                Finding(
                    PROBLEM,
                    "/run/p/db.sock",
                    "reset",
                    "hosts try for 15 seconds, and fail",
                    (
                        "see that the plugin, and no other program, listens there; then:"
                        " moby-plugins inspect db"
                    ),
                )
            ],
        ),
        (
            seen(
                Candidate(SPEC, Plugin("db", "https://h:1", TLSOptions(insecure_skip_verify=True)))
            ),
            [
                Finding(
                    PROBLEM,
                    "/etc/p/db.json",
                    "TLS without verification of the plugin",
                    "anyone between host and plugin can read and change every call",
                    "give TLSConfig.CAFile in a .json spec; without it, nothing is verified",
                )
            ],
        ),
        (
            seen(
                Candidate(
                    SPEC, Plugin("db", "https://h:1", TLSOptions(cert_file="/c", key_file="/k"))
                ),
                modes={"/k": 0o644},
            ),
            [
                Finding(
                    PROBLEM,
                    "/k",
                    "every user can read this private key",
                    "any of them can pose as the host",
                    "chmod 600 /k",
                )
            ],
        ),
    ],
)
def test_a_finding_about_a_plugin_is_complete(
    machine: Observations, findings: list[Finding]
) -> None:
    """The finding says what is wrong, why it matters and what to do; no manual is needed."""
    assert [*diagnose(machine)] == findings


@every(
    ("observed", "what", "remedy"),
    [
        (
            {"failures": {"/ca": errno.ENOENT}},
            "is missing",
            "put the file there, or correct the spec",
        ),
        (
            {"failures": {"/ca": errno.EACCES}},
            "cannot be read",
            "run this as the host's user, or let that user read the file",
        ),
        (
            {"kinds": {"/ca": "directory"}},
            "is a directory",
            "put the file there, or correct the spec",
        ),
    ],
)
def test_a_tls_file_that_cannot_be_used_is_a_problem(
    observed: dict[str, Any], what: str, remedy: str
) -> None:
    """A missing file, an unreadable one and a directory differ in text, and some in remedy."""
    assert diagnose(seen(BY_TLS, **observed)) == (
        Finding(
            PROBLEM, SPEC, f"CAFile /ca {what}", "hosts cannot speak TLS with the plugin", remedy
        ),
    )
