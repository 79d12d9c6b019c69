"""Derive findings about the directory of a managed plugin from observations.

A problem makes an engine fail, or never use the plugin. With a warning the plugin runs, but does
not work as intended. Engines report none of this: for every problem, ``docker plugin enable`` only
says that it could not dial a socket. ``adapters/disk/plugin_files.py`` makes the observations.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from moby_plugins.domain.findings import PROBLEM, WARNING, Finding
from moby_plugins.domain.plugin_config import (
    CONFIG,
    KINDS,
    MOUNTING,
    ROOTFS,
    SOCKETS,
    PluginConfig,
    matched_kind,
    socket_concern,
)
from moby_plugins.domain.text import listed, nearest, quoted, shown

# The directory in a log driver's root file system where an engine puts the FIFOs.
_LOGGING = "/run/docker/logging"
# How many odd files a finding names.
_NAMED = 3
_SETTABLE = {"env": "value", "mounts": "source", "devices": "path", "args": "value"}


@frozen
class Program:
    """What was observed of a program in a root file system, for ``judged``.

    ``concern`` says why the program cannot be run, "" if it probably can. ``machine`` is the
    architecture that the program was built for, "" if unknown. ``mounted`` is true if the program
    is in a mount from the host.
    """

    path: str
    concern: str = ""
    machine: str = ""
    mounted: bool = False


@frozen(kw_only=True)
class FileObservations:
    """What was observed of the directory of a packaged plugin, for ``judged``.

    ``rootfs`` says whether the directory has a root file system, ``program`` describes the
    entrypoint, and ``machine`` is this machine's architecture. ``absent`` are the sources of mounts
    that this machine does not have. ``odd`` are sockets and devices in the root file system, among
    its first ``looked_at`` entries; ``cut`` is true if there are more entries.
    """

    rootfs: bool
    program: Program | None = None
    machine: str = ""
    absent: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    looked_at: int = 0
    cut: bool = False


def judged(config: PluginConfig, seen: FileObservations) -> tuple[Finding, ...]:
    """Return the findings about a plugin's directory, problems first."""
    if not config.readable:
        return config.findings
    findings = [
        *config.findings,
        *_interface(config),
        *_program(config, seen),
        *_mounts(config, seen),
        *_propagation(config),
        *_ignored(config),
        *_settable(config),
        *_files(seen),
    ]
    return tuple(sorted(findings, key=lambda each: each.severity != PROBLEM))


def _problem(where: str, what: str, why: str, remedy: str) -> Finding:
    return Finding(PROBLEM, where, what, why, remedy)


def _warning(where: str, what: str, why: str, remedy: str) -> Finding:
    return Finding(WARNING, where, what, why, remedy)


def _interface(config: PluginConfig) -> Iterator[Finding]:
    where = f"{CONFIG}: interface.types"
    if not config.types:
        yield _problem(
            where,
            "there is none",
            "no engine asks the plugin for anything",
            "name what it implements, such as docker.volumedriver/1.0",
        )
    for each in config.types:
        if not matched_kind(each):
            yield _problem(
                where,
                _type_concern(each),
                "engines compare it to the letter, and never ask the plugin",
                f"write {quoted(_meant_type(each))}",
            )
    interface = config.part("interface")
    socket = interface.get("socket") or ""
    if concern := socket_concern(socket):
        yield _problem(
            f"{CONFIG}: interface.socket",
            concern,
            f"an engine dials {SOCKETS}/ID/SOCKET, where ID has 64 digits, and enabling fails",
            "give the socket a short plain name, such as plugin.sock, here and in the plugin",
        )
    scheme = interface.get("protocolscheme") or ""
    if scheme not in {"", "moby.plugins.http/v1"}:
        yield _warning(
            f"{CONFIG}: interface.protocolScheme",
            f"{quoted(scheme)} is not the protocol that engines speak to plugins",
            "only clients of that protocol can use it",
            'leave it out, or write "moby.plugins.http/v1"',
        )


def _type_concern(text: str) -> str:
    match = re.fullmatch(r"docker\.([a-z]+)/1\.0", text, re.IGNORECASE)
    if match and match[1].lower() in KINDS:
        return f"{quoted(text)} has capital letters"
    if match and text.islower():
        return f"{quoted(text)}: no engine asks for {quoted(match[1])}"
    return f"{quoted(text)} is not of the form docker.volumedriver/1.0"


def _meant_type(text: str) -> str:
    kind = re.sub(r"^docker\.|/[^/]*$", "", text.lower())
    return f"docker.{nearest(kind, KINDS) or 'volumedriver'}/1.0"


def _program(config: PluginConfig, seen: FileObservations) -> Iterator[Finding]:
    if not seen.rootfs:
        yield _problem(
            ROOTFS,
            "there is no such directory",
            "an engine refuses to create the plugin",
            f"put the root file system of the plugin into {ROOTFS}, beside {CONFIG}",
        )
    where = f"{CONFIG}: entrypoint"
    entrypoint = config.texts("entrypoint")
    if not entrypoint or not entrypoint[0]:
        yield _problem(
            where,
            "it is missing",
            "an engine has nothing to run, and enabling fails",
            'name the program and its arguments, such as ["/usr/bin/python3", "/app"]',
        )
    program = seen.program
    if program is None or not seen.rootfs:
        return
    if program.concern:
        yield _problem(
            where,
            f"{shown(program.path)} {program.concern}",
            "an engine cannot run it, and says only that it cannot dial a socket",
            f"put into {ROOTFS} what is missing, or name another program",
        )
    elif program.machine and seen.machine and program.machine != seen.machine:
        yield _warning(
            where,
            f"{shown(program.path)} is for {shown(program.machine)}, and this machine is"
            f" {shown(seen.machine)}",
            "it runs only where the engine's machine is of its kind",
            "build the root file system on a machine like the engine's, with a tag for each kind",
        )
    workdir = config.fields.get("workdir") or "/"
    if not workdir.startswith("/"):
        yield _problem(
            f"{CONFIG}: workdir",
            f"{quoted(workdir)} is not an absolute path",
            "the runtime refuses to start the plugin",
            'write an absolute path, or leave it out for "/"',
        )


def _mounts(config: PluginConfig, seen: FileObservations) -> Iterator[Finding]:
    for number, mount in enumerate(config.mounts):
        where = f"{CONFIG}: mounts[{number}]"
        source, destination = mount.get("source"), mount.get("destination") or ""
        named = quoted(mount.get("name") or destination)
        if source is None:
            yield _problem(
                where,
                f"{named} has no source",
                "enabling fails, and `docker plugin set` cannot give it one",
                "write a source that every host has, and leave it to `docker plugin set`",
            )
        elif source in seen.absent:
            yield _warning(
                where,
                f"{shown(source)}, the source of {named}, is not on this machine",
                "enabling fails wherever it is missing",
                "create it beforehand, and say so in the plugin's description",
            )
        if not destination.strip("/"):
            yield _problem(
                where,
                f"{named} has no destination but the root file system itself",
                "it hides all of the plugin, and the runtime cannot start it",
                "write the absolute path at which the plugin sees it",
            )
        elif "logdriver" in config.kinds and _hides(destination, _LOGGING):
            yield _problem(
                where,
                f"{shown(destination)} hides {_LOGGING}",
                "an engine makes the FIFOs of a log driver in the root file system, and the"
                " plugin does not see them",
                "mount it somewhere else",
            )
    for number, device in enumerate(config.part("linux").get("devices") or ()):
        if device.get("path") is None:
            yield _problem(
                f"{CONFIG}: linux.devices[{number}]",
                f"{quoted(device.get('name') or '')} has no path",
                "enabling fails, and `docker plugin set` cannot give it one",
                "write the path of a device",
            )


def _hides(destination: str, path: str) -> bool:
    return f"{path}/".startswith(f"{destination.rstrip('/')}/")


def _propagation(config: PluginConfig) -> Iterator[Finding]:
    where = f"{CONFIG}: propagatedMount"
    path = config.fields.get("propagatedmount") or ""
    kinds = config.kinds & MOUNTING
    if not path and kinds:
        yield _warning(
            where,
            f"there is none, and the plugin is a {listed(sorted(kinds))}",
            "what the plugin mounts, containers do not see: they write into its root file system",
            "name the directory below which it mounts, such as /var/lib/shelf",
        )
    elif path and not path.startswith("/"):
        yield _warning(
            where,
            f"{quoted(path)} is not an absolute path",
            "an engine compares it with the paths in the plugin's responses, and finds none there",
            "write an absolute path",
        )


def _ignored(config: PluginConfig) -> Iterator[Finding]:
    network = config.part("network").get("type") or ""
    if network not in {"", "host", "null"}:
        why = (
            "no engine makes a bridge for a plugin: it has no network"
            if network == "bridge"
            else "a user who installs the plugin is asked to grant it, as a privilege"
        )
        yield _warning(
            f"{CONFIG}: network.type",
            f"{quoted(network)} gives the plugin no network",
            why,
            'write "" for no network, or "host" for that of the host',
        )
    if any(config.part("user").values()):
        yield _warning(
            f"{CONFIG}: user",
            "a user is named",
            "engines ignore it, and run the plugin as root",
            "remove it, and change the user in the program, if need be",
        )
    for each in config.part("linux").get("capabilities") or ():
        if not re.fullmatch("CAP_[A-Z0-9_]+", each):
            yield _warning(
                f"{CONFIG}: linux.capabilities",
                f"{quoted(each)} is not a capability",
                "runtimes ignore it or refuse to start the plugin",
                "write it as CAP_SYS_ADMIN is written",
            )


def _settable(config: PluginConfig) -> Iterator[Finding]:
    lists: dict[str, Any] = {
        "env": config.fields.get("env"),
        "mounts": config.mounts,
        "devices": config.part("linux").get("devices"),
        "args": [config.part("args")],
    }
    for name, entries in lists.items():
        for each in entries or ():
            yield from _settings_of(name, each)


def _settings_of(name: str, entry: Mapping[str, Any]) -> Iterator[Finding]:
    names = entry.get("settable") or ()
    wrong = [each for each in names if each != _SETTABLE[name]]
    if wrong:
        what = f"{quoted(entry.get('name') or '')} has {quoted(wrong[0])} settable"
    elif names and not entry.get("name"):
        what = "an entry that is settable has no name"
    else:
        return
    yield _warning(
        f"{CONFIG}: {name}",
        what,
        "`docker plugin set` refuses to set it",
        f'give it a name, and "settable": ["{_SETTABLE[name]}"]',
    )


def _files(seen: FileObservations) -> Iterator[Finding]:
    if seen.odd:
        more = f" and {len(seen.odd) - _NAMED} more" if len(seen.odd) > _NAMED else ""
        yield _warning(
            ROOTFS,
            f"{listed(seen.odd[:_NAMED])}{more}: no file, directory or link",
            "they have no use there: an engine makes the devices that a plugin has",
            "remove them from the root file system",
        )
    if seen.cut:
        yield _warning(
            ROOTFS,
            f"it has more than {seen.looked_at:,} entries, and the rest was not looked at",
            "an engine unpacks all of them, for each plugin that is created",
            "leave out what the plugin does not need",
        )
