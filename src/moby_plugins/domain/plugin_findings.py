"""What is wrong with one plugin: its sockets, its specs, and the files that these name."""

import errno
from collections.abc import Iterable, Iterator, Mapping

from moby_plugins.domain.findings import (
    FOR_OTHERS_TO_READ,
    FOR_OTHERS_TO_WRITE,
    NOTE,
    PROBLEM,
    WARNING,
    Finding,
    Seen,
)
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.sightings import Candidate
from moby_plugins.domain.tls import TLSOptions


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
            f"{address.text} names the relative path {address.path}",
            "it leads elsewhere for each host, by the directory that this was started in",
            f"write three slashes: unix:///{address.path}",
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
            f"{kind} {file} {'is missing' if missing else 'cannot be read'}",
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
