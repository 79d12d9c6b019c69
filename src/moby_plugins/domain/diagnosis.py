"""Findings about the plugins of a machine, decided from what was observed of their files.

``diagnose`` is given a ``Seen``: paths, modes and the outcome of opening or connecting. It
looks at nothing itself; ``adapters/disk/survey.py`` does.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping

from attrs import field, frozen

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.plugin import Candidate, Plugin, Stray
from moby_plugins.domain.text import shown

# How much it matters: hosts fail or are exposed, may be surprised, or nothing at all.
PROBLEM, WARNING, NOTE = "problem", "warning", "note"

# Permissions.
FOR_OTHERS_TO_WRITE = 0o002
FOR_OTHERS_TO_READ = 0o004
STICKY = 0o1000


@frozen
class Finding:
    """One thing: ``where`` it is, ``what`` it is, ``why`` it matters, and what to do about it.

    ``severity`` is ``"problem"``, ``"warning"`` or ``"note"``.
    """

    severity: str
    where: str
    what: str
    why: str
    remedy: str


@frozen
class Seen:
    """What was seen of a machine's plugins.

    ``modes`` are the permissions of files and directories, ``failures`` what became of
    looking at them, opening them, or connecting to them: an ``errno``. ``unreadable`` says
    why the directories could not be listed. ``left_behind`` are sockets that a
    ``trace`` that was killed stands in for.
    """

    sockets_path: str
    specs_paths: tuple[str, ...]
    plugins: Mapping[str, tuple[Candidate, ...]] = field(factory=dict)
    strays: tuple[Stray, ...] = ()
    modes: Mapping[str, int] = field(factory=dict)
    failures: Mapping[str, int] = field(factory=dict)
    unreadable: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()


def findings_of(seen: Seen, candidates: tuple[Candidate, ...]) -> Iterator[Finding]:
    """What there is to say of the plugin with these candidates, of which there is one at least."""
    for candidate in candidates:
        if candidate.error is not None:
            yield Finding(
                PROBLEM,
                candidate.path,
                candidate.error.reason,
                "hosts cannot use this file, and look no further for the plugin",
                "correct the file, or remove it",
            )
    first, *hidden = candidates
    yield from (_of_hidden(first, candidate) for candidate in hidden)
    if seen.modes.get(first.path, 0) & FOR_OTHERS_TO_WRITE:
        yield _writable(first)
    if first.plugin is not None and first.plugin.address.concern:
        yield Finding(
            WARNING,
            first.path,
            first.plugin.address.concern,
            "all who can read the file can read them, and the plugin never receives them",
            "take what stands before the @ out of the address",
        )
    # A socket that a trace left behind is that trace's finding.
    if first.plugin is not None and first.path not in seen.left_behind:
        yield from _of_socket(seen, first.path, first.plugin)
        yield from _of_tls(seen, first.path, first.plugin)


def _of_hidden(first: Candidate, hidden: Candidate) -> Finding:
    same = first.plugin and hidden.plugin and first.plugin.addr == hidden.plugin.addr
    return Finding(
        NOTE if same else WARNING,
        hidden.path,
        f"hidden by {first.path}",
        "hosts take the first that they find, "
        + ("which leads to the same address" if same else "and never see this one"),
        "remove the one that is not meant",
    )


def _writable(candidate: Candidate) -> Finding:
    socket = candidate.path.endswith(".sock")
    why = "can call the plugin, as the host does" if socket else "can send hosts elsewhere"
    return Finding(
        PROBLEM,
        candidate.path,
        f"every user can write to the {'socket' if socket else 'spec'}",
        f"any of them {why}",
        f"chmod o-w {candidate.path}",
    )


def _of_socket(seen: Seen, path: str, plugin: Plugin) -> Iterator[Finding]:
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
    if number:
        yield Finding(
            PROBLEM,
            path,
            address.explain(OSError(number, errno.errorcode.get(number, str(number)))),
            "hosts try for 15 seconds, and fail",
            _REMEDIES.get(number, "start the plugin").format(path=address.path),
        )


_REMEDIES = {
    errno.ECONNREFUSED: "start the plugin; or, if it is gone for good, rm {path}",
    errno.EACCES: "run this as the host's user; or let that user write to {path}",
    errno.EPERM: "run this as the host's user; or let that user write to {path}",
}


def _of_tls(seen: Seen, path: str, plugin: Plugin) -> Iterator[Finding]:
    options = plugin.tls_config or TLSOptions()
    concern = options.concerns(encrypted=plugin.address.encrypted)
    if concern and plugin.address.encrypted:
        yield Finding(
            PROBLEM,
            path,
            concern,
            "whoever sits between host and plugin can read and change every call",
            "give TLSConfig.CAFile in a .json spec; without it, nothing is verified",
        )
    elif concern:
        yield Finding(
            PROBLEM,
            path,
            concern,
            "calls and their secrets can be read on the way, as somebody meant them not to be",
            "write https:// in place of tcp:// or http://",
        )
    # For plain text they are not opened.
    for kind, file in _tls_files(options) if plugin.address.encrypted else ():
        yield from _of_tls_file(seen, path, kind, file)


def _tls_files(options: TLSOptions) -> Iterable[tuple[str, str]]:
    named = (
        ("CAFile", options.ca_file),
        ("CertFile", options.cert_file),
        ("KeyFile", options.key_file),
    )
    return [(kind, file) for kind, file in named if file]


def _of_tls_file(seen: Seen, path: str, kind: str, file: str) -> Iterator[Finding]:
    number = seen.failures.get(file, 0)
    if number:
        missing = number == errno.ENOENT
        yield Finding(
            PROBLEM,
            path,
            f"{kind} {shown(file)} {'is missing' if missing else 'cannot be read'}",
            "hosts cannot speak TLS with the plugin",
            "put the file there, or correct the spec"
            if missing
            else "run this as the host's user, or let that user read the file",
        )
    if kind == "KeyFile" and seen.modes.get(file, 0) & FOR_OTHERS_TO_READ:
        yield Finding(
            PROBLEM,
            file,
            "every user can read this private key",
            "any of them can pose as the host",
            f"chmod 600 {file}",
        )


def tls_files(plugins: Mapping[str, tuple[Candidate, ...]]) -> list[str]:
    """The TLS files that the specs of ``plugins`` name."""
    return [
        file
        for candidates in plugins.values()
        for candidate in candidates
        if candidate.plugin is not None and candidate.plugin.tls_config is not None
        for _, file in _tls_files(candidate.plugin.tls_config)
    ]


def diagnose(seen: Seen) -> tuple[Finding, ...]:
    """All that there is to say: what matters most first, then by place."""
    found = [
        *_of_directories(seen),
        *_of_leftovers(seen),
        *(finding for name in seen.plugins for finding in findings_of(seen, seen.plugins[name])),
        *map(_of_stray, seen.strays),
    ]
    order = (PROBLEM, WARNING, NOTE)
    return tuple(sorted(found, key=lambda each: (order.index(each.severity), each.where)))


def _of_directories(seen: Seen) -> Iterator[Finding]:
    for path in (seen.sockets_path, *seen.specs_paths):
        if seen.failures.get(path) == errno.ENOENT:
            yield Finding(
                NOTE,
                path,
                "the directory is missing",
                "hosts look there for plugins, and go on without it",
                "nothing, unless a plugin was to be there",
            )
        mode = seen.modes.get(path, 0)
        if mode & FOR_OTHERS_TO_WRITE and not mode & STICKY:
            yield Finding(
                PROBLEM,
                path,
                "every user can write to the directory",
                "any of them can put a plugin in the place of another, and hosts trust it",
                f"chmod o-w {path}",
            )
    for reason in seen.unreadable:
        yield Finding(
            PROBLEM,
            reason.partition(": ")[0],
            reason,
            "a host that cannot read one directory finds no plugins at all",
            "run this as the host's user, or let that user read the directory",
        )


def _of_leftovers(seen: Seen) -> Iterator[Finding]:
    for path in seen.left_behind:
        name = path.rpartition("/")[2].removesuffix(".sock")
        yield Finding(
            PROBLEM,
            path,
            "a trace of this plugin was killed, and its socket is still aside",
            "the plugin cannot be reached, although it may be running",
            f"moby-plugins trace {name}, and end it with Ctrl-C: it puts the socket back",
        )


def _of_stray(stray: Stray) -> Finding:
    return Finding(
        PROBLEM,
        stray.path,
        stray.reason,
        "no host finds a plugin by this file",
        "rename it, move it, or remove it",
    )
