"""Findings about the plugins of a machine, derived from observations of its files."""

import errno
from typing import Any

import pytest

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.diagnosis import Observations, diagnose
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding
from moby_plugins.domain.plugin import Candidate, IgnoredFile, Plugin

SOCKETS, ETC, LIB = "/run/p", "/etc/p", "/lib/p"


def findings(*candidates: Candidate, **seen: Any) -> tuple[Finding, ...]:
    """All findings about one plugin, and whatever else was seen."""
    plugins = {"shelf": candidates} if candidates else {}
    return diagnose(Observations(SOCKETS, (ETC, LIB), plugins, **seen))


def the(*candidates: Candidate, **seen: Any) -> Finding:
    """The one finding."""
    [finding] = findings(*candidates, **seen)
    return finding


def socket(path: str = f"{SOCKETS}/shelf.sock") -> Candidate:
    """A plugin found by its socket."""
    return Candidate(path, Plugin.local("shelf", f"unix://{path}"))


def spec(addr: str, tls: TLSOptions | None = None, file: str = "shelf.json") -> Candidate:
    """A plugin found by a spec."""
    return Candidate(f"{ETC}/{file}", Plugin("shelf", addr, tls))


def test_a_machine_that_is_well_has_no_findings() -> None:
    """A live socket, and specs with a TCP, a UNIX and a verified https address, cause none."""
    assert findings(socket(), modes={f"{SOCKETS}/shelf.sock": 0o660, SOCKETS: 0o755}) == ()
    assert findings(spec("tcp://host:1")) == ()
    assert findings(spec("https://host:1", TLSOptions(ca_file="/ca")), modes={"/ca": 0o644}) == ()
    assert findings(spec("unix:///x.sock")) == ()


@pytest.mark.parametrize(
    ("number", "what", "remedy"),
    [
        (errno.ECONNREFUSED, "stale socket: it exists, but no process listens on it", "rm "),
        (errno.EACCES, "no permission to connect to the socket", "run this as the host's user"),
        (errno.ENOENT, "no socket there; is the plugin running?", "start the plugin"),
        (errno.EPIPE, "EPIPE", "start the plugin"),
    ],
)
def test_a_socket_that_cannot_be_connected_to_is_a_problem(
    number: int, what: str, remedy: str
) -> None:
    """Each errno has its own text and remedy, also for a socket to which a spec leads."""
    path = f"{SOCKETS}/shelf.sock"
    finding = the(socket(), failures={path: number})

    assert (finding.severity, finding.where, finding.what) == (PROBLEM, path, what)
    assert remedy in finding.remedy
    assert the(spec("unix:///x.sock"), failures={"/x.sock": number}).what == what


def test_a_broken_spec_is_a_problem_even_if_another_file_hides_it() -> None:
    """The finding has the text of the error; that the spec is hidden is another finding."""
    broken = Candidate(f"{ETC}/shelf.spec", error=SpecError("no address", f"{ETC}/shelf.spec"))

    assert (the(broken).severity, the(broken).where) == (PROBLEM, f"{ETC}/shelf.spec")
    assert the(broken).what == "no address"
    assert [finding.what for finding in findings(socket(), broken)] == [
        "no address",
        f"hidden by {SOCKETS}/shelf.sock",
    ]


def test_a_hidden_spec_is_a_warning_unless_it_has_the_same_address() -> None:
    """Hosts never use a hidden spec; one with the same address as the first is only a note."""
    other = the(socket(), spec("tcp://host:1"))
    same = the(socket(), spec(f"unix://{SOCKETS}/shelf.sock"))

    assert (other.severity, other.where) == (WARNING, f"{ETC}/shelf.json")
    assert other.what == f"hidden by {SOCKETS}/shelf.sock"
    assert "never see this one" in other.why
    assert (same.severity, same.what) == (NOTE, other.what)
    assert "the same address" in same.why


def test_the_address_in_a_hidden_spec_has_no_findings() -> None:
    """What is wrong with an address that no host uses is not reported."""
    hidden = spec("unix://var/x.sock", TLSOptions(ca_file="/none"))

    assert the(socket(), hidden, failures={"/none": errno.ENOENT}).severity == WARNING


def test_a_user_name_in_an_address_is_a_warning() -> None:
    """A user name and password are never sent to the plugin, and no finding shows them."""
    finding = the(spec("tcp://me:secret@host:1"))

    assert (finding.severity, finding.where) == (WARNING, f"{ETC}/shelf.json")
    assert "user name and password" in finding.what
    assert "secret" not in str(finding)


def test_a_relative_path_in_an_address_is_a_problem() -> None:
    """With two slashes after ``unix:``, the path depends on the directory of each host."""
    finding = the(spec("unix://var/x.sock"))

    assert finding.what == "unix://var/x.sock names the relative path var/x.sock"
    assert finding.remedy == "write three slashes: unix:///var/x.sock"


@pytest.mark.parametrize(
    ("addr", "tls", "what"),
    [
        ("tcp://h:1", TLSOptions(ca_file="/ca"), "this is plain text"),
        ("http://h:1", TLSOptions(min_version=772), "this is plain text"),
        ("https://h:1", TLSOptions(insecure_skip_verify=True), "TLS without verification"),
    ],
)
def test_tls_that_does_not_protect_is_a_problem(addr: str, tls: TLSOptions, what: str) -> None:
    """TLS options do not protect a plain-text address, nor does https without verification."""
    finding = the(spec(addr, tls), failures={"/ca": errno.ENOENT})

    assert (finding.severity, finding.where) == (PROBLEM, f"{ETC}/shelf.json")
    assert what in finding.what


TLS = TLSOptions(ca_file="/ca", cert_file="/cert", key_file="/key")


@pytest.mark.parametrize("file", ["/ca", "/cert", "/key"])
def test_a_tls_file_that_cannot_be_opened_is_a_problem(file: str) -> None:
    """The finding says whether the file is missing or this user may not read it."""
    missing = the(spec("https://h:1", TLS), failures={file: errno.ENOENT})
    denied = the(spec("https://h:1", TLS), failures={file: errno.EACCES})

    assert missing.what.endswith(f"File {file} is missing")
    assert denied.what.endswith(f"File {file} cannot be read")
    assert missing.where == denied.where == f"{ETC}/shelf.json"


def test_a_private_key_that_all_can_read_is_a_problem() -> None:
    """A certificate may be read by all."""
    modes = {"/ca": 0o644, "/cert": 0o644, "/key": 0o644}
    finding = the(spec("https://h:1", TLS), modes=modes)

    assert (finding.where, finding.remedy) == ("/key", "chmod 600 /key")
    assert findings(spec("https://h:1", TLS), modes=modes | {"/key": 0o640}) == ()


@pytest.mark.parametrize("path", [SOCKETS, ETC, LIB])
def test_a_directory_that_all_can_write_to_is_a_problem(path: str) -> None:
    """Any user could put a plugin there."""
    finding = the(modes={path: 0o777})

    assert (finding.severity, finding.where) == (PROBLEM, path)
    assert finding.remedy == f"chmod o-w {path}"


@pytest.mark.parametrize(
    ("candidate", "what"),
    [
        (socket(), "every user can write to the socket"),
        (spec("tcp://h:1"), "every user can write to the spec"),
    ],
)
def test_a_file_that_all_can_write_to_is_a_problem(candidate: Candidate, what: str) -> None:
    """Any user could call the plugin by its socket, or send hosts elsewhere by its spec."""
    assert the(candidate, modes={candidate.path: 0o666}).what == what


def test_a_missing_directory_is_a_note() -> None:
    """Few machines have all of the directories in which hosts look for plugins."""
    finding = the(failures={LIB: errno.ENOENT})

    assert (finding.severity, finding.where) == (NOTE, LIB)


def test_a_directory_that_cannot_be_listed_is_a_problem() -> None:
    """A host that cannot list one of the directories finds no plugin at all."""
    finding = the(unreadable=(f"{ETC}: cannot be read: Permission denied",))

    assert (finding.severity, finding.where) == (PROBLEM, ETC)


def test_a_file_that_discovery_ignores_is_a_problem() -> None:
    """The finding gives the reason for which discovery ignores the file."""
    finding = the(ignored_files=(IgnoredFile(f"{SOCKETS}/a.socket", "its name"),))

    assert (finding.severity, finding.where, finding.what) == (
        PROBLEM,
        f"{SOCKETS}/a.socket",
        "its name",
    )


def test_a_socket_left_by_a_killed_trace_command_is_reported_as_such() -> None:
    """The finding does not call the socket stale, and its remedy is to start another trace."""
    path = f"{SOCKETS}/shelf.sock"
    finding = the(socket(), failures={path: errno.ECONNREFUSED}, abandoned_sockets=(path,))

    assert finding.what.startswith("a trace of this plugin was killed")
    assert finding.remedy.endswith(": moby-plugins trace shelf")


def test_findings_are_sorted_by_severity_and_then_by_path() -> None:
    """Problems come first, then warnings, then notes."""
    found = findings(
        socket(),
        spec("tcp://host:1"),
        failures={SOCKETS: errno.ENOENT},
        modes={LIB: 0o777, ETC: 0o777},
    )

    assert [(finding.severity, finding.where) for finding in found] == [
        (PROBLEM, ETC),
        (PROBLEM, LIB),
        (WARNING, f"{ETC}/shelf.json"),
        (NOTE, SOCKETS),
    ]
