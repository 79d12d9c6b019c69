"""The findings of a diagnosis, and the rules for managed plugins, which engines describe."""

import errno
from collections.abc import Iterator, Sequence

from attrs import frozen

from moby_plugins.domain.managed import (
    MAX_SOCKET_NAME_BYTES,
    is_socket_name,
    socket_name_bytes,
    unmatched,
)
from moby_plugins.domain.permissions import shell_command
from moby_plugins.domain.plugin import PROTOCOL_SCHEME_HTTP_V1, ManagedPlugin, Plugin
from moby_plugins.domain.text import quoted, shown
from moby_plugins.domain.typed import typed

PROBLEM = "problem"
"""The severity of a finding that makes hosts fail, or exposes them."""
WARNING = "warning"
"""The severity of a finding that may surprise a host."""
NOTE = "note"
"""The severity of a finding that has no effect on hosts."""


@frozen(field_transformer=typed)
class Finding:
    """One thing about a plugin that is wrong, or worth knowing. A frozen value.

    Args:
        severity: ``"problem"``, ``"warning"`` or ``"note"``.
        where: The path or the plugin that it is about.
        what: What is wrong.
        why: Why it matters.
        remedy: What to do about it. A command, quoted for a shell, is the whole text or follows the
            last colon.
    """

    severity: str
    where: str
    what: str
    why: str
    remedy: str


_AGAIN = "in its config.json, and create the plugin again"


def of_managed(where: str, plugin: ManagedPlugin, hidden: Sequence[str]) -> Iterator[Finding]:
    """Yield findings about a managed plugin from its engine's description of it.

    ``where`` is the plugin as findings name it. ``hidden`` are the paths of sockets and specs with
    the same name.
    """
    if not plugin.enabled:
        yield _of_disabled(where, plugin, hidden)
    for path in hidden:
        yield Finding(
            WARNING,
            path,
            f"hides the managed plugin {shown(plugin.name)} in volume commands",
            "an engine that has listed its volumes takes the plugin on disk for docker volume, "
            "and the managed one for all else",
            "give one of the two another name, or remove it",
        )
    for each in unmatched(plugin.types):
        yield Finding(
            PROBLEM,
            where,
            f"the type {quoted(each)} is matched by no look-up",
            "engines look for docker.volumedriver/1.0 and the like, to the letter",
            f"correct interface.types {_AGAIN}",
        )
    yield from _of_interface(where, plugin)


def _of_disabled(where: str, plugin: ManagedPlugin, hidden: Sequence[str]) -> Finding:
    enable = shell_command("docker", "plugin", "enable", plugin.name)
    if not hidden:
        return Finding(NOTE, where, "disabled", "hosts fail with that at once", enable)
    return Finding(
        PROBLEM,
        where,
        f"disabled, and hides {shown(hidden[0])}",
        "hosts fail at once, and do not use the plugin on disk in its place",
        f"remove it, if the one on disk is meant; otherwise: {enable}",
    )


def _of_interface(where: str, plugin: ManagedPlugin) -> Iterator[Finding]:
    size = socket_name_bytes(plugin.socket)
    if not is_socket_name(plugin.socket):
        yield Finding(
            PROBLEM,
            where,
            f"its socket is called {quoted(plugin.socket)}, which is not a file's name",
            "hosts do not dial it",
            f"correct interface.socket {_AGAIN}",
        )
    elif size > MAX_SOCKET_NAME_BYTES:
        yield Finding(
            PROBLEM,
            where,
            f"the name of its socket has {size} bytes",
            "its path is longer than a socket's can be: the engine gives up to enable it after "
            "13 s, and hosts cannot dial it",
            f"shorten interface.socket to {MAX_SOCKET_NAME_BYTES} bytes {_AGAIN}",
        )
    if plugin.protocol != PROTOCOL_SCHEME_HTTP_V1:
        yield Finding(
            WARNING,
            where,
            f"it speaks {quoted(plugin.protocol)}",
            f"this library speaks {PROTOCOL_SCHEME_HTTP_V1} only, and engines nearly so",
            "nothing, if its hosts speak it",
        )


def of_managed_socket(where: str, plugin: Plugin, number: int) -> Iterator[Finding]:
    """Yield the finding about the socket of an enabled managed plugin, if there is one.

    ``number`` is the errno with which connecting to the socket failed; for 0 there is no finding.
    """
    if number in {errno.EACCES, errno.EPERM}:
        yield Finding(
            PROBLEM,
            where,
            f"no permission to connect to its socket {shown(plugin.address.path)}",
            "the directories of managed plugins are root's alone",
            "run this, and hosts, as root",
        )
    elif number:
        inspect = shell_command("docker", "plugin", "inspect", plugin.name)
        yield Finding(
            PROBLEM,
            where,
            f"enabled, and without a socket that can be reached: {shown(plugin.address.path)}",
            "hosts try for 15 seconds, and fail",
            "where the engine is on another machine, or rootless, have hosts run beside it; else "
            f"look into the engine's log for why the plugin ends; then: {inspect}",
        )
