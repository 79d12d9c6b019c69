"""Findings about files that hosts trust, and about each directory and link on their paths."""

import errno
from typing import Any

import pytest

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.diagnosis import Observations, diagnose
from moby_plugins.domain.errors import SpecError, StatusError
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding
from moby_plugins.domain.handshake import HandshakeOutcome
from moby_plugins.domain.permissions import DIRECTORY, FIFO, FILE, LINK, SOCKET
from moby_plugins.domain.plugin import Candidate, IgnoredFile, Plugin

SOCKETS, SPECS = "/run/p", "/etc/p"
SPEC = f"{SPECS}/db.json"
ID = "a1" * 32


def of_spec(addr: str, tls: TLSOptions | None = None, **seen: Any) -> tuple[Finding, ...]:
    """The findings about a machine with one spec."""
    plugins = {"db": (Candidate(SPEC, Plugin("db", addr, tls)),)}
    return diagnose(Observations(SOCKETS, (SPECS,), plugins, **seen))


@pytest.mark.parametrize(
    ("kind", "told"), [(FILE, "an ordinary file"), (DIRECTORY, "a directory"), (FIFO, "a FIFO")]
)
def test_another_kind_of_file_in_place_of_a_socket_is_reported_by_its_kind(
    kind: str, told: str
) -> None:
    """A connection to a file is refused like one to a stale socket, so the kind decides."""
    (finding,) = of_spec("unix:///x", kinds={"/x": kind}, failures={"/x": errno.ECONNREFUSED})

    assert (finding.severity, finding.where) == (PROBLEM, SPEC)
    assert finding.what == f"/x is not a socket: it is {told}"
    assert "rm " not in finding.remedy


def test_the_mode_of_a_device_in_place_of_a_socket_or_tls_file_is_not_reported() -> None:
    """All users must be able to write to /dev/null, so no remedy may change its mode."""
    tls = TLSOptions(ca_file="/dev/zero")
    kinds = {"/dev/null": "device", "/dev/zero": "device"}
    modes = dict.fromkeys(kinds, 0o666)

    for found in (
        of_spec("unix:///dev/null", kinds=kinds, modes=modes),
        of_spec("https://h:1", tls, kinds=kinds, modes=modes),
    ):
        assert [finding.where for finding in found] == [SPEC]


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.EACCES, "a directory on the way to the socket may not be entered"),
        (errno.ENOTDIR, "a component of the socket's path is not a directory"),
        (errno.ELOOP, "the links on the way to the socket lead in a circle"),
        (errno.ENAMETOOLONG, "no file can have a path that long"),
        (errno.ENOENT, "no socket there; is the plugin running?"),
    ],
)
def test_a_socket_that_could_not_be_examined_is_reported_with_the_reason(
    number: int, what: str
) -> None:
    """The path to the socket is at fault, and not the socket, so no remedy removes the socket."""
    seen: dict[str, Any] = {"ways": {"/a/x": ("/", "/a", "/a/x")}, "kinds": {"/": DIRECTORY}}
    (finding,) = of_spec("unix:///a/x", failures={"/a/x": number}, **seen)

    assert finding.what == what
    assert "rm " not in finding.remedy


def test_links_that_lead_in_a_circle_are_reported_as_such() -> None:
    """The last component of the path that could be examined is then a link."""
    kinds = {"/": DIRECTORY, "/x": LINK}
    failures = {"/x": errno.ELOOP}
    (finding,) = of_spec("unix:///x", ways={"/x": ("/", "/x")}, kinds=kinds, failures=failures)

    assert finding.what == "the links on the way to the socket lead in a circle"
    assert finding.remedy == "correct the address in the spec"


def test_a_file_in_place_of_a_directory_of_plugins_is_a_problem() -> None:
    """Hosts skip such a file without a message, and find no plugins there."""
    (finding,) = diagnose(Observations(SOCKETS, (SPECS,), kinds={SPECS: FILE}))

    assert (finding.severity, finding.where) == (PROBLEM, SPECS)
    assert finding.what == "this is an ordinary file, and no directory"


def test_the_remedy_removes_a_stale_socket_and_not_a_link_to_it() -> None:
    """The command names the target to which the links lead, quoted for a shell."""
    (finding,) = of_spec(
        "unix:///x",
        ways={"/x": ("/", "/x", "/far", "/far/y z")},
        kinds={"/": DIRECTORY, "/x": LINK, "/far": DIRECTORY, "/far/y z": SOCKET},
        failures={"/x": errno.ECONNREFUSED},
    )

    assert finding.remedy == "start the plugin; or, if it is gone for good, rm '/far/y z'"


def test_a_world_writable_directory_on_the_path_to_a_plugin_is_a_problem() -> None:
    """Directories are judged from / on, and each is reported once, with a path that it leads to."""
    ways = {
        SOCKETS: ("/", "/run", "/run/p"),
        SPEC: ("/", "/etc", "/etc/p", SPEC),
        "/run/x": ("/", "/run", "/run/x"),
    }
    kinds = {"/run/x": SOCKET, SPEC: FILE}
    modes = {
        "/": 0o755,
        "/run": 0o777,
        "/run/p": 0o755,
        "/etc": 0o755,
        "/etc/p": 0o755,
        SPEC: 0o644,
    }
    (finding,) = of_spec(
        "unix:///run/x",
        ways=ways,
        kinds=dict.fromkeys(modes, DIRECTORY) | kinds,
        modes=modes | {"/run/x": 0o600},
    )

    assert finding == Finding(
        PROBLEM,
        "/run",
        "every user can write to the directory",
        "any of them can put something else in the place of /run/p",
        "chmod o-w /run",
    )


def test_a_sticky_directory_is_a_problem_only_if_the_socket_in_it_is_missing() -> None:
    """The sticky bit protects a file that exists, but any user can create a missing one."""
    seen: dict[str, Any] = {
        "ways": {"/tmp/x": ("/", "/tmp", "/tmp/x")},
        "kinds": {"/": DIRECTORY, "/tmp": DIRECTORY},
        "modes": {"/": 0o755, "/tmp": 0o1777},
    }
    missing = of_spec("unix:///tmp/x", failures={"/tmp/x": errno.ENOENT}, **seen)
    stale = of_spec("unix:///tmp/x", failures={"/tmp/x": errno.ECONNREFUSED}, **seen)

    assert [finding.where for finding in missing] == [SPEC, "/tmp"]
    assert [finding.where for finding in stale] == [SPEC]


def test_a_spec_that_a_group_without_other_members_can_write_to_is_a_warning() -> None:
    """If an untrusted user is in the group, the same mode is a problem."""
    one = of_spec("tcp://h:1", modes={SPEC: 0o664})
    two = of_spec("tcp://h:1", modes={SPEC: 0o664}, members={SPEC: ("eve",)})

    assert [(finding.severity, finding.remedy) for finding in one] == [
        (WARNING, f"chmod g-w {SPEC}")
    ]
    assert [finding.severity for finding in two] == [PROBLEM]


def test_a_socket_that_this_user_may_not_write_to_has_a_remedy_of_its_own() -> None:
    """The remedy is to run as the host's user, or to let that user write to the socket."""
    (finding,) = of_spec(
        "unix:///x",
        ways={"/x": ("/", "/x")},
        kinds={"/": DIRECTORY, "/x": SOCKET},
        failures={"/x": errno.EACCES},
    )

    assert finding.remedy == "run this as the host's user; or let that user write to /x"


def test_a_file_of_a_user_whom_hosts_do_not_trust_is_a_problem() -> None:
    """The finding has the owner's name or ID; the remedy for a link changes the link's owner."""
    found = of_spec(
        "tcp://h:1",
        ways={SPEC: ("/", "/etc", "/far", SPEC)},
        kinds={"/etc": LINK},
        modes={"/etc": 0o777, SPEC: 0o644, SOCKETS: 0o755},
        owners={"/etc": 1000, SPEC: 1000, SOCKETS: 7},
        users={1000: "eve"},
    )

    told = [(each.where, each.what.partition(",")[0], each.remedy) for each in found]
    assert told == [
        ("/etc", "the link belongs to eve", "chown -h root /etc"),
        (SPEC, "the spec belongs to eve", f"chown root {SPEC}"),
        (SOCKETS, "the directory belongs to 7", f"chown root {SOCKETS}"),
    ]


def test_every_world_writable_directory_on_the_path_to_a_spec_is_reported() -> None:
    """A directory that others may write to, but not search, is only a warning."""
    found = of_spec(
        "tcp://h:1",
        ways={SPEC: ("/", "/a", "/b", SPEC)},
        modes={"/a": 0o777, "/b": 0o776, SOCKETS: 0o776},
    )

    assert [(each.severity, each.where) for each in found] == [
        (PROBLEM, "/a"),
        (WARNING, "/b"),
        (WARNING, SOCKETS),
    ]


def test_a_sticky_bit_does_not_protect_where_hosts_look_for_plugins() -> None:
    """A file that any user adds there is a plugin."""
    (finding,) = diagnose(Observations(SOCKETS, (SPECS,), modes={SOCKETS: 0o1777}))

    assert finding.what == "every user can write to the directory"


def test_a_broken_spec_does_not_keep_another_plugins_files_from_being_examined() -> None:
    """The world-writable socket of the other plugin is reported."""
    broken = Candidate(f"{SPECS}/a.json", error=SpecError("broken", f"{SPECS}/a.json"))
    plugins = {
        "a": (broken,),
        "db": (Candidate(SPEC, Plugin("db", "unix:///x")),),
    }
    found = diagnose(Observations(SOCKETS, (SPECS,), plugins, modes={"/x": 0o666}))

    assert ("/x", "every user can write to the socket") in {
        (finding.where, finding.what) for finding in found
    }


@pytest.mark.parametrize(
    ("file", "can"),
    [
        ("/ca", "any of them can have hosts trust another in the plugin's place"),
        ("/cert", "any of them can change what hosts show to the plugin"),
        ("/key", "any of them can change what hosts show to the plugin"),
    ],
)
def test_a_world_writable_tls_file_is_a_problem_if_hosts_open_it(file: str, can: str) -> None:
    """For a plain-text address hosts open no TLS files, so their modes are not reported."""
    tls = TLSOptions(ca_file="/ca", cert_file="/cert", key_file="/key")
    (finding,) = of_spec("https://h:1", tls, modes={file: 0o602})

    assert (finding.where, finding.why) == (file, can)
    plain = of_spec("tcp://h:1", tls, modes={file: 0o602})
    assert [finding.where for finding in plain] == [SPEC]


def test_a_fifo_in_place_of_a_tls_file_is_reported() -> None:
    """Hosts that open a FIFO would wait."""
    tls = TLSOptions(ca_file="/ca")
    (finding,) = of_spec("https://h:1", tls, kinds={"/ca": FIFO})

    assert finding.what == "CAFile /ca is a FIFO"


def test_a_failed_handshake_is_reported_unless_a_finding_about_files_explains_it() -> None:
    """One cause has one finding, and a handshake that succeeds has none."""
    handshakes = {"db": HandshakeOutcome(2.0, error=StatusError(500, "Plugin.Activate", "no"))}

    (answer,) = of_spec("unix:///x", handshakes=handshakes)
    (cause,) = of_spec("unix:///x", handshakes=handshakes, failures={"/x": errno.ENOENT})

    assert answer.what == "it answered Plugin.Activate with 500 Internal Server Error: no"
    assert cause.what == "no socket there; is the plugin running?"
    assert of_spec("unix:///x", handshakes={"db": HandshakeOutcome(2.0, ("authz",))}) == ()


def test_the_socket_of_a_managed_plugin_is_a_note() -> None:
    """The socket belongs to the engine, so the remedy does not remove it."""
    path = f"{SOCKETS}/{ID}/x y.sock"
    (finding,) = diagnose(
        Observations(SOCKETS, (SPECS,), ignored_files=(IgnoredFile(path, "its name"),))
    )

    assert (finding.severity, finding.where) == (NOTE, path)
    assert finding.remedy == (
        f"nothing; to ask the plugin: moby-plugins inspect 'unix://{SOCKETS}/{ID}/x y.sock'"
    )


@pytest.mark.parametrize("directory", [ID[:-1], ID + "0", ID.upper(), "g" * 64])
def test_a_socket_in_a_directory_that_is_not_named_by_a_plugin_id_is_a_problem(
    directory: str,
) -> None:
    """Engines name the directories of managed plugins by IDs: 64 hex digits in lower case."""
    file = IgnoredFile(f"{SOCKETS}/{directory}/x.sock", "its name")

    assert [
        each.severity for each in diagnose(Observations(SOCKETS, (), ignored_files=(file,)))
    ] == [PROBLEM]


def test_a_backup_copy_beside_the_spec_of_a_plugin_is_a_warning() -> None:
    """Hosts ignore the copy, and find the plugin by its spec."""
    file = IgnoredFile(f"{SPECS}/db.json~", "its name", "db")
    (finding,) = of_spec("tcp://h:1", ignored_files=(file,))

    assert (finding.severity, finding.where) == (WARNING, f"{SPECS}/db.json~")
    assert finding.why.endswith(f"db is found by {SPEC}")
