"""What is told of files on the way to what hosts trust, and of what lies in their places."""

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
def test_what_is_no_socket_is_told_for_what_it_is(kind: str, told: str) -> None:
    """A refused connection says the same of a file and of a stale socket."""
    (finding,) = of_spec("unix:///x", kinds={"/x": kind}, failures={"/x": errno.ECONNREFUSED})

    assert (finding.severity, finding.where) == (PROBLEM, SPEC)
    assert finding.what == f"/x is not a socket: it is {told}"
    assert "rm " not in finding.remedy


def test_what_is_something_else_keeps_its_mode() -> None:
    """All users write to /dev/null, and have to."""
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
def test_what_was_not_seen_is_told_for_why(number: int, what: str) -> None:
    """It was the way to the socket, and not the socket."""
    seen: dict[str, Any] = {"ways": {"/a/x": ("/", "/a", "/a/x")}, "kinds": {"/": DIRECTORY}}
    (finding,) = of_spec("unix:///a/x", failures={"/a/x": number}, **seen)

    assert finding.what == what
    assert "rm " not in finding.remedy


def test_links_in_a_circle_are_told_for_that() -> None:
    """The last that was seen of the way is a link."""
    kinds = {"/": DIRECTORY, "/x": LINK}
    failures = {"/x": errno.ELOOP}
    (finding,) = of_spec("unix:///x", ways={"/x": ("/", "/x")}, kinds=kinds, failures=failures)

    assert finding.what == "the links on the way to the socket lead in a circle"
    assert finding.remedy == "correct the address in the spec"


def test_a_place_that_is_no_directory_is_a_problem() -> None:
    """Hosts pass over it, and say nothing."""
    (finding,) = diagnose(Observations(SOCKETS, (SPECS,), kinds={SPECS: FILE}))

    assert (finding.severity, finding.where) == (PROBLEM, SPECS)
    assert finding.what == "this is an ordinary file, and no directory"


def test_a_socket_is_removed_where_it_lies() -> None:
    """What a link leads to, and not the link."""
    (finding,) = of_spec(
        "unix:///x",
        ways={"/x": ("/", "/x", "/far", "/far/y z")},
        kinds={"/": DIRECTORY, "/x": LINK, "/far": DIRECTORY, "/far/y z": SOCKET},
        failures={"/x": errno.ECONNREFUSED},
    )

    assert finding.remedy == "start the plugin; or, if it is gone for good, rm '/far/y z'"


def test_each_directory_on_the_way_counts() -> None:
    """From the root on, each once, and what it is the way to is told."""
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


def test_a_missing_socket_may_be_made_by_any_user_of_a_sticky_directory() -> None:
    """A sticky bit keeps what is there, and nothing else."""
    seen: dict[str, Any] = {
        "ways": {"/tmp/x": ("/", "/tmp", "/tmp/x")},
        "kinds": {"/": DIRECTORY, "/tmp": DIRECTORY},
        "modes": {"/": 0o755, "/tmp": 0o1777},
    }
    missing = of_spec("unix:///tmp/x", failures={"/tmp/x": errno.ENOENT}, **seen)
    stale = of_spec("unix:///tmp/x", failures={"/tmp/x": errno.ECONNREFUSED}, **seen)

    assert [finding.where for finding in missing] == [SPEC, "/tmp"]
    assert [finding.where for finding in stale] == [SPEC]


def test_a_right_that_no_user_has_now_is_a_warning() -> None:
    """A group without other members."""
    one = of_spec("tcp://h:1", modes={SPEC: 0o664})
    two = of_spec("tcp://h:1", modes={SPEC: 0o664}, members={SPEC: ("eve",)})

    assert [(finding.severity, finding.remedy) for finding in one] == [
        (WARNING, f"chmod g-w {SPEC}")
    ]
    assert [finding.severity for finding in two] == [PROBLEM]


def test_a_socket_that_only_refuses_this_user_is_told_for_that() -> None:
    """All directories on the way to it could be entered."""
    (finding,) = of_spec(
        "unix:///x",
        ways={"/x": ("/", "/x")},
        kinds={"/": DIRECTORY, "/x": SOCKET},
        failures={"/x": errno.EACCES},
    )

    assert finding.remedy == "run this as the host's user; or let that user write to /x"


def test_a_file_of_a_user_whom_hosts_do_not_trust_is_a_problem() -> None:
    """Each of them, by that user's name; a link is given to root itself, and not its target."""
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


def test_each_weak_directory_on_the_way_is_told() -> None:
    """Two of them, one of a kind that was not seen; and a right that its directory takes away."""
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


def test_a_broken_spec_hides_no_weakness_of_another_plugin() -> None:
    """The files of every plugin are looked at."""
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
def test_tls_files_count(file: str, can: str) -> None:
    """Only where they are opened: for plain text they are not."""
    tls = TLSOptions(ca_file="/ca", cert_file="/cert", key_file="/key")
    (finding,) = of_spec("https://h:1", tls, modes={file: 0o602})

    assert (finding.where, finding.why) == (file, can)
    plain = of_spec("tcp://h:1", tls, modes={file: 0o602})
    assert [finding.where for finding in plain] == [SPEC]


def test_a_tls_file_that_is_none_is_told() -> None:
    """A FIFO would have hosts wait."""
    tls = TLSOptions(ca_file="/ca")
    (finding,) = of_spec("https://h:1", tls, kinds={"/ca": FIFO})

    assert finding.what == "CAFile /ca is a FIFO"


def test_a_response_is_told_unless_a_file_explains_it() -> None:
    """One cause, one finding."""
    handshakes = {"db": HandshakeOutcome(2.0, error=StatusError(500, "Plugin.Activate", "no"))}

    (answer,) = of_spec("unix:///x", handshakes=handshakes)
    (cause,) = of_spec("unix:///x", handshakes=handshakes, failures={"/x": errno.ENOENT})

    assert answer.what == "it answered Plugin.Activate with 500 Internal Server Error: no"
    assert cause.what == "no socket there; is the plugin running?"
    assert of_spec("unix:///x", handshakes={"db": HandshakeOutcome(2.0, ("authz",))}) == ()


def test_a_managed_plugin_is_a_note() -> None:
    """It is the engine's, and the remedy removes nothing."""
    path = f"{SOCKETS}/{ID}/x y.sock"
    (finding,) = diagnose(
        Observations(SOCKETS, (SPECS,), ignored_files=(IgnoredFile(path, "its name"),))
    )

    assert (finding.severity, finding.where) == (NOTE, path)
    assert finding.remedy == (
        f"nothing; to ask the plugin: moby-plugins inspect 'unix://{SOCKETS}/{ID}/x y.sock'"
    )


@pytest.mark.parametrize("directory", [ID[:-1], ID + "0", ID.upper(), "g" * 64])
def test_another_directory_is_no_engines(directory: str) -> None:
    """An ID has 64 digits, in lower case."""
    file = IgnoredFile(f"{SOCKETS}/{directory}/x.sock", "its name")

    assert [
        each.severity for each in diagnose(Observations(SOCKETS, (), ignored_files=(file,)))
    ] == [PROBLEM]


def test_a_copy_beside_a_plugin_is_a_warning() -> None:
    """Its plugin is found all the same."""
    file = IgnoredFile(f"{SPECS}/db.json~", "its name", "db")
    (finding,) = of_spec("tcp://h:1", ignored_files=(file,))

    assert (finding.severity, finding.where) == (WARNING, f"{SPECS}/db.json~")
    assert finding.why.endswith(f"db is found by {SPEC}")
