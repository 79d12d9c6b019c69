"""The ``config.json`` of a managed plugin: written for an app, and read as an engine reads it.

An engine checks nothing of it: what it does not understand it ignores, and what is wrong fails
when the plugin is enabled, or is never matched. ``read_config`` says what an engine would not.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.findings import PROBLEM, WARNING, Finding
from moby_plugins.domain.json import fold_keys, kind_of, only_value
from moby_plugins.domain.managed import MAX_SOCKET_NAME_BYTES, SUBSYSTEMS
from moby_plugins.domain.text import nearest, quoted, shown

CONFIG, ROOTFS = "config.json", "rootfs"
MAX_CONFIG_BYTES = 1 << 20
# Where a managed plugin finds the directory of its socket.
SOCKETS = "/run/docker/plugins"
# In the environment of a plugin's program: have it say what it is, and end.
DESCRIBE = "DESCRIBE_MOBY_PLUGIN"
_MARK = "moby-plugins"
_SUFFIX = ".sock"
# What engines ask for; the last two are asked for by swarms.
KINDS = (*map(str.lower, SUBSYSTEMS), "csicontroller", "csinode")
# What they mount has to be seen by the engine.
MOUNTING = frozenset({"graphdriver", "volumedriver"})
# Where an engine looks for a program that is named without a slash.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# As engines read names of images: parts of small letters, and a tag.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?"
_REFERENCE = re.compile(rf"{_HOST}{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?", re.ASCII)
MAX_REFERENCE = 255
MAX_ID = (1 << 32) - 1
_CAPABILITY = re.compile(r"CAP_[A-Z0-9_]+")

_SETTABLE = {"name": str, "description": str, "settable": [str]}
# What an engine decodes each key into; a list has elements of one kind.
_SHAPE: Mapping[str, Any] = {
    "description": str,
    "documentation": str,
    "dockerversion": str,
    "interface": {"types": [str], "socket": str, "protocolscheme": str},
    "entrypoint": [str],
    "workdir": str,
    "user": {"uid": int, "gid": int},
    "network": {"type": str},
    "mounts": [
        {**_SETTABLE, "source": str, "destination": str, "type": str, "options": [str]},
    ],
    "ipchost": bool,
    "pidhost": bool,
    "propagatedmount": str,
    "env": [{**_SETTABLE, "value": str}],
    "args": {**_SETTABLE, "value": [str]},
    "linux": {
        "capabilities": [str],
        "allowalldevices": bool,
        "devices": [{**_SETTABLE, "path": str}],
    },
    "rootfs": {"type": str, "diff_ids": [str]},
}
_KINDS_OF_JSON = {
    str: "a string",
    bool: "a boolean",
    int: f"a number from 0 to {MAX_ID}",
    list: "an array",
}


def check_reference(name: str) -> str:
    """``name`` again, or ``SettingsError`` for what no engine takes as a managed plugin's name."""
    if len(name) > MAX_REFERENCE or not _REFERENCE.fullmatch(name):
        raise SettingsError(
            f"{quoted(name)} is no name of a managed plugin: small letters and digits, with parts"
            " joined by / . _ or -, and a :TAG where it needs one, as in someone/shelf:1.0"
        )
    return name


def short_name(reference: str) -> str:
    """What a plugin of that name is called alone: ``shelf`` of ``someone/shelf:1.0``."""
    return reference.rpartition("/")[2].partition(":")[0]


def socket_for(reference: str) -> str:
    """The file name of the socket of a plugin of that name: short enough for every engine."""
    plain = re.sub("[^a-z0-9-]", "-", short_name(reference))
    return plain[: MAX_SOCKET_NAME_BYTES - len(_SUFFIX)] + _SUFFIX


def socket_concern(socket: str) -> str:
    """Why no engine can reach a plugin at ``socket``, its file's name; "" where one can."""
    size = len(socket.encode(errors="surrogateescape"))
    if not socket:
        return "it is missing"
    if "/" in socket or "\0" in socket or socket in {".", ".."}:
        return f"{quoted(socket)} is no plain name of a file"
    if size > MAX_SOCKET_NAME_BYTES:
        most = f"an engine reaches at most {MAX_SOCKET_NAME_BYTES}"
        return f"{quoted(socket)} has {size} bytes, and {most}"
    return ""


@frozen
class Description:
    """What a plugin's program says of itself: what it implements, and its socket's file name."""

    implements: tuple[str, ...]
    socket: str

    def line(self) -> str:
        """The line that it prints."""
        told = {"implements": self.implements, "socket": self.socket}
        return json.dumps({_MARK: told})

    @classmethod
    def found(cls, output: str) -> "Description | None":
        """The last such line of ``output``, among whatever else the program prints."""
        for line in reversed(output.splitlines()):
            if not line.startswith(f'{{"{_MARK}"'):
                continue
            with suppress(ValueError, KeyError, TypeError):
                told = json.loads(line)[_MARK]
                return cls(tuple(map(str, told["implements"])), str(told["socket"]))
        return None


@frozen
class Mount:
    """A mount of the host's ``source`` in the plugin; ``docker plugin set`` changes a named one."""

    name: str
    source: str
    destination: str
    read_only: bool = False

    @classmethod
    def parsed(cls, text: str) -> "Mount":
        """``NAME:SOURCE:DESTINATION[:ro]``; raises ``SettingsError``."""
        name, *places = text.split(":")
        read_only = places[2:] == ["ro"]
        places = places[:2] if read_only else places
        if len(places) != 2 or not all(place.startswith("/") for place in places):  # noqa: PLR2004
            raise SettingsError(
                f"{quoted(text)} is not of the form NAME:SOURCE:DESTINATION[:ro], both absolute"
                " paths, as in state:/var/lib/shelf:/state is"
            )
        source, destination = places
        return cls(name, source, destination, read_only)

    def as_json(self) -> dict[str, Any]:
        """Its entry in ``config.json``."""
        return {
            "name": self.name,
            "description": "",
            "source": self.source,
            "destination": self.destination,
            "type": "bind",
            "options": ["rbind", *(["ro"] if self.read_only else [])],
            "settable": ["source"] if self.name else [],
        }


def capability(text: str) -> str:
    """A capability of Linux, ``CAP_SYS_ADMIN``, of ``sys_admin`` too; or ``SettingsError``."""
    name = text.upper()
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if not _CAPABILITY.fullmatch(name):
        raise SettingsError(f"{quoted(text)} is no capability such as CAP_SYS_ADMIN")
    return name


def variable(text: str) -> dict[str, Any]:
    """The entry of ``K`` or ``K=V`` in ``config.json``, settable; raises ``SettingsError``."""
    name, equals, value = text.partition("=")
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or "\0" in value:
        raise SettingsError(f"{quoted(text)} is not of the form NAME or NAME=VALUE")
    given = {"value": value} if equals else {}
    return {"name": name, "description": "", "settable": ["value"], **given}


@frozen(kw_only=True)
class Wanted:
    """What is laid out as ``config.json``: what was derived of an app, and what was asked for."""

    reference: str
    kinds: tuple[str, ...] = ()
    socket: str = ""
    entrypoint: tuple[str, ...] = ()
    description: str = ""
    propagated_mount: str = ""
    env: tuple[dict[str, Any], ...] = ()
    mounts: tuple[Mount, ...] = ()
    capabilities: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    network: str = ""

    def as_json(self) -> dict[str, Any]:
        """The object in ``config.json``."""
        devices = [
            {"name": path.rpartition("/")[2], "description": "", "path": path, "settable": []}
            for path in self.devices
        ]
        config = {
            "description": self.description or self.reference,
            "documentation": "",
            "entrypoint": [*self.entrypoint],
            "workdir": "/",
            "interface": {
                "types": [f"docker.{kind.lower()}/1.0" for kind in self.kinds],
                "socket": self.socket,
            },
            # Empty: a user who installs it would be asked to grant "none", as a privilege.
            "network": {"type": self.network},
            "linux": {"capabilities": [*self.capabilities], "devices": devices},
            "mounts": [mount.as_json() for mount in self.mounts],
            "env": [
                {"name": "PYTHONUNBUFFERED", "description": "", "settable": [], "value": "1"},
                *self.env,
            ],
        }
        return config | (
            {"propagatedMount": self.propagated_mount} if self.propagated_mount else {}
        )


@frozen
class PluginConfig:
    """What an engine takes from a ``config.json``; ``fields`` have keys in one case.

    ``findings`` are what it fails on and what it ignores; ``readable`` is false where it cannot
    read any of it.
    """

    fields: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    readable: bool = True

    def part(self, name: str) -> Mapping[str, Any]:
        """The object of that name, empty where it is none."""
        return self.fields.get(name) or {}

    def texts(self, name: str) -> tuple[str, ...]:
        """The list of strings of that name."""
        return tuple(self.fields.get(name) or ())

    @property
    def mounts(self) -> tuple[Mapping[str, Any], ...]:
        """The mounts, each with keys in one case."""
        return tuple(self.fields.get("mounts") or ())

    @property
    def types(self) -> tuple[str, ...]:
        """The interface types, as they are written."""
        return tuple(self.part("interface").get("types") or ())

    @property
    def kinds(self) -> frozenset[str]:
        """The subsystems that engines match: ``volumedriver``."""
        return frozenset(kind for kind in map(matched_kind, self.types) if kind)

    @property
    def path(self) -> tuple[str, ...]:
        """The directories in which a program without a slash is looked for."""
        own = (
            each.get("value") for each in self.fields.get("env") or () if each.get("name") == "PATH"
        )
        return tuple(next(filter(None, own), PATH).split(":"))


def matched_kind(interface_type: str) -> str:
    """The subsystem of ``docker.volumedriver/1.0``, or "" for what no engine matches."""
    match = re.fullmatch(r"docker\.([a-z]+)/1\.0", interface_type)
    return match[1] if match and match[1] in KINDS else ""


def read_config(data: bytes) -> PluginConfig:
    """What an engine takes from ``data``, with what it fails on and what it ignores.

    What has the wrong form is left out of ``fields``.
    """
    try:
        value = only_value(data)
    except ValueError as error:
        return unreadable_config(str(error))
    if not isinstance(value, dict):
        return unreadable_config(f"it holds {kind_of(value)}, and no object")
    findings: list[Finding] = []
    return PluginConfig(_shaped(value, _SHAPE, "", findings), tuple(findings))


def unreadable_config(reason: str) -> PluginConfig:
    """The configuration of a plugin whose file cannot be read, for that reason."""
    finding = Finding(
        PROBLEM,
        CONFIG,
        reason,
        "an engine refuses to create the plugin",
        "write it as one JSON object in UTF-8, as `moby-plugins package` does",
    )
    return PluginConfig({}, (finding,), readable=False)


def _shaped(value: Any, shape: Any, where: str, findings: list[Finding]) -> Any:
    if value is None:
        return None
    kind = type(shape) if isinstance(shape, (list, Mapping)) else shape
    fits = isinstance(value, dict if isinstance(shape, Mapping) else kind)
    if kind is int:  # an ID of a user, which is no boolean either
        fits = type(value) is int and 0 <= value <= MAX_ID
    if not fits:
        findings.append(_misshapen(where, value, _KINDS_OF_JSON.get(kind, "an object")))
        return None
    if isinstance(shape, list):
        return [*_elements(value, shape[0], where, findings)]
    if not isinstance(shape, Mapping):
        return value
    prefix = f"{where}." if where else ""
    unknown = (key for key in value if key.casefold() not in shape)
    findings.extend(_unknown(f"{prefix}{key}", key, shape) for key in unknown)
    return {
        key: _shaped(item, shape[key], f"{prefix}{key}", findings)
        for key, item in fold_keys(value).items()
        if key in shape
    }


def _elements(values: list[Any], shape: Any, where: str, findings: list[Finding]) -> Iterator[Any]:
    for number, each in enumerate(values):
        place = f"{where}[{number}]"
        if each is None and shape is str and where.endswith("types"):
            findings.append(_misshapen(place, each, "a string"))
            continue
        shaped = _shaped(each, shape, place, findings)
        if shaped is not None or each is None:
            yield ("" if shape is str else {}) if shaped is None else shaped


def _misshapen(where: str, value: Any, wanted: str) -> Finding:
    return Finding(
        PROBLEM,
        f"{CONFIG}: {shown(where)}",
        f"it is {kind_of(value)}, and not {wanted}",
        "an engine cannot decode it, and refuses to create the plugin",
        f"write {wanted} there",
    )


def _unknown(where: str, key: str, shape: Mapping[str, Any]) -> Finding:
    near = nearest(key, shape)
    meant = f"; did you mean {near}?" if near else ""
    return Finding(
        WARNING,
        f"{CONFIG}: {shown(where)}",
        f"{quoted(key)} is no key of a plugin's configuration{meant}",
        "engines ignore it without a word, so what it says does not happen",
        f"write {near} instead" if near else "remove it",
    )
