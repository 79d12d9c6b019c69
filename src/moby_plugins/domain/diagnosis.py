"""Derive findings about the plugins of a machine from observations.

``diagnose`` takes ``Observations``: kinds, modes and owners of paths, the outcome of opening them
or connecting to them, and the responses of plugins. It observes nothing itself:
``adapters/disk/survey.py`` and ``app/diagnosing.py`` do.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping

from attrs import field, frozen

from moby_plugins.domain.address import Address, TLSOptions, of_path
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.findings import (
    NOTE,
    PROBLEM,
    WARNING,
    Finding,
    of_managed,
    of_managed_socket,
)
from moby_plugins.domain.handshake import HandshakeOutcome, explained
from moby_plugins.domain.permissions import (
    DIRECTORY,
    FILE,
    FOR_OTHERS_TO_READ,
    LINK,
    ROOT,
    SOCKET,
    Access,
    shell_command,
    shell_word,
    weaknesses,
)
from moby_plugins.domain.plugin import Candidate, IgnoredFile, Plugin, is_managed_socket
from moby_plugins.domain.text import sentence, shown


@frozen
class Observations:
    """What ``diagnose`` knows of a machine's plugins and of the paths that lead to them.

    ``ways`` has for each path the components that lead to its target, from ``/`` on, links
    followed; a way ends early where a component could not be examined. ``kinds``, ``modes``
    (permissions), ``owners`` and ``members`` (untrusted users of a group that may write) are by
    component. ``failures`` has the ``errno`` of examining, opening or connecting to a path.
    ``unreadable`` says why directories could not be listed, ``engine_errors`` why the engine did
    not list its plugins. ``nested`` are subdirectories of the plugin directories.
    ``abandoned_sockets`` are sockets of ``trace`` commands that were killed, which still take the
    place of the plugin's. ``trusted`` are the IDs of users with at least the host's rights;
    ``users`` has names by ID. ``handshakes`` has handshakes' outcomes by plugin name.
    """

    sockets_path: str
    specs_paths: tuple[str, ...]
    plugins: Mapping[str, tuple[Candidate, ...]] = field(factory=dict)
    ignored_files: tuple[IgnoredFile, ...] = ()
    modes: Mapping[str, int] = field(factory=dict)
    failures: Mapping[str, int] = field(factory=dict)
    unreadable: tuple[str, ...] = ()
    engine_errors: tuple[str, ...] = ()
    abandoned_sockets: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    ways: Mapping[str, tuple[str, ...]] = field(factory=dict)
    kinds: Mapping[str, str] = field(factory=dict)
    owners: Mapping[str, int] = field(factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(factory=dict)
    trusted: frozenset[int] = frozenset({ROOT})
    users: Mapping[int, str] = field(factory=dict)
    handshakes: Mapping[str, HandshakeOutcome] = field(factory=dict)

    def way(self, path: str) -> tuple[str, ...]:
        """Return the components of ``path``, as far as they could be examined."""
        return self.ways.get(path, (path,))

    def kind(self, path: str, expected: str) -> str:
        """Return the kind of file that ``path`` leads to; ``expected`` if it was not examined."""
        return self.kinds.get(self.way(path)[-1], expected)


def diagnose(seen: Observations) -> tuple[Finding, ...]:
    """Return all findings, sorted by severity, the most severe first, and then by path."""
    findings = [
        *_of_directories(seen),
        *_of_leftovers(seen),
        *(finding for name in seen.plugins for finding in findings_of(seen, name)),
        *(finding for file in seen.ignored_files for finding in _of_ignored(seen, file)),
        *_of_weaknesses(seen),
    ]
    order = (PROBLEM, WARNING, NOTE)
    # A managed plugin has several names; its findings are reported once.
    return tuple(
        sorted(dict.fromkeys(findings), key=lambda each: (order.index(each.severity), each.where))
    )


def findings_of(seen: Observations, name: str) -> Iterator[Finding]:
    """Yield the findings about a plugin, except those about access to its files."""
    candidates = seen.plugins[name]
    for candidate in candidates:
        if isinstance(candidate.error, SpecError) and candidate.managed is None:
            yield Finding(
                PROBLEM,
                candidate.path,
                candidate.error.reason,
                "hosts cannot use this file, and look no further for the plugin",
                "correct the file, or remove it",
            )
    first, *hidden = candidates
    if first.managed is not None:
        yield from of_managed(first.path, first.managed, [each.path for each in hidden])
    yield from (_of_hidden(first, candidate) for candidate in hidden)
    # A socket that a trace left behind is reported separately.
    if first.plugin is None or first.path in seen.abandoned_sockets:
        return
    if first.plugin.address.concern:
        yield Finding(
            WARNING,
            first.path,
            first.plugin.address.concern,
            "all who can read the file can read them, and the plugin never receives them",
            "remove the part before the @ from the address",
        )
    if not first.plugin.is_v1:
        number = seen.failures.get(first.plugin.address.path, 0)
        yield from of_managed_socket(first.path, first.plugin, number)
        return
    unusable = [*_of_socket(seen, first.path, first.plugin)]
    unusable += _of_tls_files(seen, first.path, first.plugin)
    yield from unusable
    # These findings already explain why a plugin does not respond.
    if name in seen.handshakes and not unusable:
        yield from _of_handshake(name, first, first.plugin.address, seen.handshakes[name])
    yield from _of_tls(first.path, first.plugin)


def _of_hidden(first: Candidate, hidden: Candidate) -> Finding:
    same = first.plugin and hidden.plugin and first.plugin.addr == hidden.plugin.addr
    return Finding(
        NOTE if same else WARNING,
        hidden.path,
        f"hidden by {first.path}",
        "hosts use the first that they find, "
        + ("which leads to the same address" if same else "and never see this one"),
        "remove the one that is not meant",
    )


def _of_socket(seen: Observations, path: str, plugin: Plugin) -> Iterator[Finding]:
    address = plugin.address
    if address.scheme != "unix":
        return
    if not address.path.startswith("/"):
        yield Finding(
            PROBLEM,
            path,
            f"{shown(address.text)} names the relative path {shown(address.path)}",
            "it leads elsewhere for each host, by the directory that this was started in",
            f"write three slashes: unix:///{shown(address.path)}",
        )
        return
    number = seen.failures.get(address.path, 0)
    there = seen.kind(address.path, SOCKET)
    # Connecting to an ordinary file fails with the same errno as to a socket without a listener.
    if there != SOCKET and number in {0, errno.ECONNREFUSED}:
        yield Finding(
            PROBLEM,
            path,
            f"{shown(address.path)} is not a socket: it is {_article(there)}",
            "hosts try for 15 seconds, and fail",
            "correct the address in the spec, or have the plugin listen where it leads",
        )
        return
    if number:
        last = seen.way(address.path)[-1]
        # Whether a link or directory on the way to the socket could not be followed or entered.
        unseen = address.path in seen.ways and seen.kinds.get(last, LINK) == LINK
        refusal = OSError(number, errno.errorcode.get(number, str(number)))
        what, remedy = address.explain(refusal), _socket_remedy(seen, address.path, number)
        if unseen and number in _UNSEEN:
            what, remedy = _UNSEEN[number]
        yield Finding(PROBLEM, path, what, "hosts try for 15 seconds, and fail", remedy)


_CORRECT = "correct the address in the spec"

# Why a socket could not be examined, and the remedy.
_UNSEEN = {
    errno.EACCES: (
        "a directory on the way to the socket may not be entered",
        "run this as the host's user, or let that user enter the directory",
    ),
    errno.ENOTDIR: ("a component of the socket's path is not a directory", _CORRECT),
    errno.ELOOP: ("the links on the way to the socket lead in a circle", _CORRECT),
    errno.ENAMETOOLONG: ("no file can have a path that long", _CORRECT),
}


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _socket_remedy(seen: Observations, path: str, number: int) -> str:
    if number in {errno.EACCES, errno.EPERM}:
        return f"run this as the host's user; or let that user write to {shell_word(path)}"
    # The remedy removes the socket itself, never a link to it.
    if number == errno.ECONNREFUSED:
        gone = shell_command("rm", seen.way(path)[-1])
        return f"start the plugin; or, if it is gone for good, {gone}"
    return "start the plugin"


def _of_tls(path: str, plugin: Plugin) -> Iterator[Finding]:
    options = plugin.tls_config or TLSOptions()
    concern = options.concerns(encrypted=plugin.address.encrypted)
    if concern and plugin.address.encrypted:
        yield Finding(
            PROBLEM,
            path,
            concern,
            "anyone between host and plugin can read and change every call",
            "give TLSConfig.CAFile in a .json spec; without it, nothing is verified",
        )
    elif concern:
        yield Finding(
            PROBLEM,
            path,
            concern,
            "calls and their secrets can be read on the way, although the spec asks for TLS",
            "write https:// in place of tcp:// or http://",
        )


def _tls_files(plugin: Plugin | None) -> Iterable[tuple[str, str]]:
    options = plugin.tls_config if plugin is not None else None
    if options is None:
        return ()
    named = (
        ("CAFile", options.ca_file),
        ("CertFile", options.cert_file),
        ("KeyFile", options.key_file),
    )
    return [(kind, file) for kind, file in named if file]


def _opened_tls_files(plugin: Plugin | None) -> Iterable[tuple[str, str]]:
    # Hosts do not open them for an unencrypted address.
    return _tls_files(plugin) if plugin is not None and plugin.address.encrypted else ()


def tls_files(plugins: Mapping[str, tuple[Candidate, ...]]) -> list[str]:
    """Return the paths of the TLS files that the specs of ``plugins`` name."""
    return [
        file
        for candidates in plugins.values()
        for candidate in candidates
        for _, file in _tls_files(candidate.plugin)
    ]


def _of_tls_files(seen: Observations, path: str, plugin: Plugin) -> Iterator[Finding]:
    for kind, file in _opened_tls_files(plugin):
        number = seen.failures.get(file)
        there = seen.kind(file, FILE)
        if not number and there != FILE:
            what, remedy = f"is {_article(there)}", "put the file there, or correct the spec"
        elif number == errno.ENOENT:
            what, remedy = "is missing", "put the file there, or correct the spec"
        elif number:
            what = "cannot be read"
            remedy = "run this as the host's user, or let that user read the file"
        else:
            continue
        yield Finding(
            PROBLEM,
            path,
            f"{kind} {shown(file)} {what}",
            "hosts cannot speak TLS with the plugin",
            remedy,
        )


def _of_handshake(
    name: str, first: Candidate, address: Address, outcome: HandshakeOutcome
) -> Iterator[Finding]:
    if outcome.error is not None:
        what, why, remedy = explained(name, address, outcome, outcome.error)
        yield Finding(PROBLEM, first.path, sentence(what), why, remedy)
    elif not outcome.implements:
        yield Finding(
            WARNING,
            first.path,
            "the plugin responds, and implements nothing",
            "no host uses it",
            "have it name its subsystems in the response to Plugin.Activate",
        )


def _of_directories(seen: Observations) -> Iterator[Finding]:
    for path in (seen.sockets_path, *seen.specs_paths):
        number, there = seen.failures.get(path), seen.kind(path, DIRECTORY)
        if not number and there != DIRECTORY:
            yield Finding(
                PROBLEM,
                path,
                f"this is {_article(there)}, and no directory",
                "hosts look there for plugins, and find none",
                "move it, and create a directory in its place",
            )
        if number == errno.ENOENT:
            yield Finding(
                NOTE,
                path,
                "the directory is missing",
                "hosts look there for plugins, and go on without it",
                "nothing, unless a plugin should be there",
            )
    for reason in seen.unreadable:
        yield Finding(
            PROBLEM,
            reason.partition(": ")[0],
            reason,
            "a host that cannot read one directory finds no plugins at all",
            "run this as the host's user, or let that user read the directory",
        )
    for reason in seen.engine_errors:
        yield Finding(
            PROBLEM,
            reason.partition(": ")[0],
            reason,
            "a host finds no plugins, not even those on disk, while its engine cannot list its own",
            "start the engine, correct its address in the settings, or name none",
        )


@frozen
class _Trust:
    """A path that hosts trust, its expected kind, and what a user who can change it ``can`` do."""

    path: str
    noun: str
    kind: str
    can: str


def _trusted(seen: Observations) -> Iterator[_Trust]:
    for path in (seen.sockets_path, *seen.specs_paths, *seen.nested):
        yield _Trust(
            path,
            "directory",
            DIRECTORY,
            "can put a plugin in the place of another, and hosts trust it",
        )
    for first, *_ in seen.plugins.values():
        if not first.path.endswith(".sock"):
            yield _Trust(first.path, "spec", FILE, "can send hosts elsewhere")
        if first.plugin is None:
            continue
        address = first.plugin.address
        if address.scheme == "unix" and address.path.startswith("/"):
            can = "can call the plugin, as the host does"
            yield _Trust(address.path, "socket", SOCKET, can)
        for kind, file in _opened_tls_files(first.plugin):
            yield _Trust(file, kind, FILE, _BY_TLS_FILE[kind])


_BY_TLS_FILE = {
    "CAFile": "can have hosts trust another in the plugin's place",
    "CertFile": "can change what hosts show to the plugin",
    "KeyFile": "can change what hosts show to the plugin",
}


def _of_weaknesses(seen: Observations) -> Iterator[Finding]:
    """Yield findings about users who could change a path that hosts trust, or a directory above."""
    trusts = [*_trusted(seen)]
    findings: dict[tuple[str, str], Finding] = {}
    for trust in trusts:
        for finding in _of_access(seen, _lying_at(seen, trust), trust.noun, trust.can):
            findings.setdefault((finding.where, finding.what), finding)
    for trust in trusts:
        can = f"can put something else in the place of {shown(trust.path)}"
        for access in _above(seen, trust):
            for finding in _of_access(seen, access, access.kind, can):
                findings.setdefault((finding.where, finding.what), finding)
    yield from findings.values()
    yield from _of_private_keys(seen)


def _lying_at(seen: Observations, trust: _Trust) -> Access | None:
    path = seen.way(trust.path)[-1]
    # Another kind is reported separately; and all users may rightly write to /dev/null.
    if seen.kinds.get(path, trust.kind) != trust.kind:
        return None
    return _access(seen, path, trust.kind, searched=trust.kind == DIRECTORY)


def _above(seen: Observations, trust: _Trust) -> Iterator[Access]:
    *way, _ = seen.way(trust.path)
    directories = [path for path in way if seen.kinds.get(path) == DIRECTORY]
    # If the path is missing, every user who may add files to its directory can create it.
    missing = seen.failures.get(trust.path) == errno.ENOENT
    for path in way:
        access = _access(seen, path, DIRECTORY, searched=missing and path == directories[-1])
        if access is not None:
            yield access


def _access(seen: Observations, path: str, expected: str, *, searched: bool) -> Access | None:
    if path not in seen.modes:
        return None
    return Access(
        path,
        seen.kinds.get(path, expected),
        seen.modes[path],
        seen.owners.get(path, ROOT),
        seen.members.get(path, ()),
        searched,
    )


def _of_access(seen: Observations, access: Access | None, noun: str, can: str) -> Iterator[Finding]:
    if access is None:
        return
    for weakness in weaknesses(access, noun, seen.trusted, seen.users):
        if weakness.who:
            why = f"{weakness.who} {can}"
            yield Finding(PROBLEM, access.path, weakness.what, why, weakness.remedy)
        else:
            why = f"no user can misuse it at present; a user who is given access {can}"
            yield Finding(WARNING, access.path, weakness.what, why, weakness.remedy)


def _of_private_keys(seen: Observations) -> Iterator[Finding]:
    for first, *_ in seen.plugins.values():
        for kind, file in _opened_tls_files(first.plugin):
            path = seen.way(file)[-1]
            if kind == "KeyFile" and seen.modes.get(path, 0) & FOR_OTHERS_TO_READ:
                yield Finding(
                    PROBLEM,
                    path,
                    "every user can read this private key",
                    "any of them can pose as the host",
                    shell_command("chmod", "600", path),
                )


def _of_leftovers(seen: Observations) -> Iterator[Finding]:
    for path in seen.abandoned_sockets:
        name = path.rpartition("/")[2].removesuffix(".sock")
        trace = shell_command("moby-plugins", "trace", name)
        yield Finding(
            PROBLEM,
            path,
            "a trace of this plugin was killed before it moved the plugin's socket back",
            "the plugin cannot be reached, although it may be running",
            f"start another trace, which puts the socket back when Ctrl-C ends it: {trace}",
        )


def _of_ignored(seen: Observations, file: IgnoredFile) -> Iterator[Finding]:
    if file.managed is not None:
        reported = (candidates[0].managed for candidates in seen.plugins.values())
        if file.managed not in reported:  # otherwise reported with the plugin that it hides
            yield from of_managed(file.path, file.managed, ())
    else:
        yield _of_ignored_file(seen, file)


def _of_ignored_file(seen: Observations, file: IgnoredFile) -> Finding:
    if is_managed_socket(file.path):
        address = shell_command("moby-plugins", "inspect", of_path(file.path))
        return Finding(
            NOTE,
            file.path,
            "the socket of a managed plugin, which an engine runs",
            "hosts do not find it by this file; its engine does, by the plugin's name",
            f"nothing; to ask the plugin: {address}",
        )
    if file.name in seen.plugins:
        return Finding(
            WARNING,
            file.path,
            file.reason,
            f"no host finds a plugin by this file; {shown(file.name)} is found by "
            f"{shown(seen.plugins[file.name][0].path)}",
            "keep copies elsewhere, or remove it",
        )
    return Finding(
        PROBLEM,
        file.path,
        file.reason,
        "no host finds a plugin by this file",
        "rename it, move it, or remove it",
    )
