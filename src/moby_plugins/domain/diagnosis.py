"""What is wrong with a machine's plugins: decided from what was seen of them, file by file."""

import errno
from collections.abc import Iterator

from moby_plugins.domain.findings import (
    FOR_OTHERS_TO_WRITE,
    NOTE,
    PROBLEM,
    STICKY,
    WARNING,
    Finding,
    Seen,
)
from moby_plugins.domain.plugin_findings import findings_of
from moby_plugins.domain.sightings import Stray


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
