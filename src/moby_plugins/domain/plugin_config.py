"""The ``config.json`` of a managed plugin: written for an app, and read as an engine reads it.

An engine does not check the file: it ignores unknown keys, and other mistakes make enabling fail
or the plugin unusable. ``read_config`` reports them.
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
# The directory of a managed plugin's socket, as the plugin sees it.
SOCKETS = "/run/docker/plugins"
# An environment variable that makes a plugin's program print its description and exit.
DESCRIBE = "DESCRIBE_MOBY_PLUGIN"
_MARK = "moby-plugins"
_SUFFIX = ".sock"
# The kinds that engines look for; the last two are used by swarms.
KINDS = (*map(str.lower, SUBSYSTEMS), "csicontroller", "csinode")
# Kinds whose mounts have to be visible to the engine.
MOUNTING = frozenset({"graphdriver", "volumedriver"})
# The directories in which an engine looks for a program that is named without a slash.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Names of images, as engines read them: components in lower case, and a tag.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?"
_REFERENCE = re.compile(rf"{_HOST}{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?", re.ASCII)
MAX_REFERENCE = 255
MAX_ID = (1 << 32) - 1
_CAPABILITY = re.compile(r"CAP_[A-Z0-9_]+")

_SETTABLE = {"name": str, "description": str, "settable": [str]}
# The type that an engine decodes each key into; elements of a list have one type.
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
    """Return ``name``; raise ``SettingsError`` if it is not valid for a managed plugin."""
    if len(name) > MAX_REFERENCE or not _REFERENCE.fullmatch(name):
        raise SettingsError(
            f"{quoted(name)} is not a managed plugin's name: small letters and digits, with parts"
            " joined by / . _ or -, and a :TAG where it needs one, as in alice/shelf:1.0"
        )
    return name


def short_name(reference: str) -> str:
    """Return the last part of a plugin's name, without the tag: ``shelf`` for ``a/shelf:1.0``."""
    return reference.rpartition("/")[2].partition(":")[0]


def socket_for(reference: str) -> str:
    """Return a file name for the plugin's socket, short enough for every engine."""
    plain = re.sub("[^a-z0-9-]", "-", short_name(reference))
    return plain[: MAX_SOCKET_NAME_BYTES - len(_SUFFIX)] + _SUFFIX


def socket_concern(socket: str) -> str:
    """Return why engines cannot use the file name ``socket`` for a plugin's socket, or ""."""
    size = len(socket.encode(errors="surrogateescape"))
    if not socket:
        return "it is missing"
    if "/" in socket or "\0" in socket or socket in {".", ".."}:
        return f"{quoted(socket)} is not a plain name of a file"
    if size > MAX_SOCKET_NAME_BYTES:
        most = f"an engine reaches at most {MAX_SOCKET_NAME_BYTES}"
        return f"{quoted(socket)} has {size} bytes, and {most}"
    return ""


@frozen
class Description:
    """A description that a plugin's program prints: its subsystems and its socket's file name."""

    implements: tuple[str, ...]
    socket: str

    def line(self) -> str:
        """Return the line that a plugin's program prints as its description."""
        fields = {"implements": self.implements, "socket": self.socket}
        return json.dumps({_MARK: fields})

    @classmethod
    def found(cls, output: str) -> "Description | None":
        """Return the last description in ``output``, among other lines; ``None`` without one."""
        for line in reversed(output.splitlines()):
            if not line.startswith(f'{{"{_MARK}"'):
                continue
            with suppress(ValueError, KeyError, TypeError):
                fields = json.loads(line)[_MARK]
                return cls(tuple(map(str, fields["implements"])), str(fields["socket"]))
        return None


@frozen
class Mount:
    """A mount of ``source`` on the host; with a name, ``docker plugin set`` can change it."""

    name: str
    source: str
    destination: str
    read_only: bool = False

    @classmethod
    def parsed(cls, text: str) -> "Mount":
        """Parse ``NAME:SOURCE:DESTINATION[:ro]``; raise ``SettingsError`` for any other form."""
        name, *places = text.split(":")
        read_only = places[2:] == ["ro"]
        places = places[:2] if read_only else places
        if len(places) != 2 or not all(place.startswith("/") for place in places):  # noqa: PLR2004
            raise SettingsError(
                f"{quoted(text)} is not of the form NAME:SOURCE:DESTINATION[:ro], with"
                " absolute paths: for example state:/var/lib/shelf:/state"
            )
        source, destination = places
        return cls(name, source, destination, read_only)

    def as_json(self) -> dict[str, Any]:
        """Return the mount's entry in ``config.json``."""
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
    """Return the full name of a Linux capability: ``CAP_SYS_ADMIN`` for ``sys_admin``.

    Raises ``SettingsError`` if ``text`` is not the name of a capability.
    """
    name = text.upper()
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if not _CAPABILITY.fullmatch(name):
        raise SettingsError(f"{quoted(text)} is not a capability such as CAP_SYS_ADMIN")
    return name


def variable(text: str) -> dict[str, Any]:
    """Return the entry in ``config.json`` for an environment variable.

    ``text`` is ``NAME``, or ``NAME=VALUE`` with its default; ``docker plugin set`` can change the
    value. Raises ``SettingsError`` for any other form.
    """
    name, equals, value = text.partition("=")
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or "\0" in value:
        raise SettingsError(f"{quoted(text)} is not of the form NAME or NAME=VALUE")
    default = {"value": value} if equals else {}
    return {"name": name, "description": "", "settable": ["value"], **default}


@frozen(kw_only=True)
class Wanted:
    """The values for a managed plugin's ``config.json``, from the app and the user's options.

    ``as_json`` returns the content of the file.
    """

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
        """Return the object to write to ``config.json``."""
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
            # Empty by default: for "none", users who install the plugin would have to grant it.
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
    """A ``config.json`` as an engine reads it; ``fields`` has case-folded keys.

    ``findings`` are the values that make an engine fail and those that it ignores. ``readable`` is
    false if the file cannot be read at all.
    """

    fields: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    readable: bool = True

    def part(self, name: str) -> Mapping[str, Any]:
        """Return the object under the key ``name``; an empty object if there is none."""
        return self.fields.get(name) or {}

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the list of strings under the key ``name``; an empty list if there is none."""
        return tuple(self.fields.get(name) or ())

    @property
    def mounts(self) -> tuple[Mapping[str, Any], ...]:
        """The mounts, each with case-folded keys."""
        return tuple(self.fields.get("mounts") or ())

    @property
    def types(self) -> tuple[str, ...]:
        """The plugin's interface types, as the file has them."""
        return tuple(self.part("interface").get("types") or ())

    @property
    def kinds(self) -> frozenset[str]:
        """The subsystems that engines match, such as ``volumedriver``."""
        return frozenset(kind for kind in map(matched_kind, self.types) if kind)

    @property
    def path(self) -> tuple[str, ...]:
        """The directories of PATH, in which the plugin's container looks for programs by name."""
        own = (
            each.get("value") for each in self.fields.get("env") or () if each.get("name") == "PATH"
        )
        return tuple(next(filter(None, own), PATH).split(":"))


def matched_kind(interface_type: str) -> str:
    """Return the subsystem in a type: ``volumedriver`` for ``docker.volumedriver/1.0``.

    Return "" if no engine looks for the type.
    """
    match = re.fullmatch(r"docker\.([a-z]+)/1\.0", interface_type)
    return match[1] if match and match[1] in KINDS else ""


def read_config(data: bytes) -> PluginConfig:
    """Return the configuration in ``data`` as an engine reads it, with findings about it.

    Values of the wrong type are left out of ``fields``.
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
    """Return the configuration for a file that cannot be read, with ``reason`` as finding."""
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
    if kind is int:  # a user's or group's ID; a boolean is not accepted
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
        f"{quoted(key)} is not a key of a plugin's configuration{meant}",
        "engines ignore it silently, so it has no effect",
        f"write {near} instead" if near else "remove it",
    )
