"""VolumeDriver: volumes are found (protocol.md B2)."""

import re
from datetime import datetime
from typing import Any

from moby_plugins.checks.answer import folded
from moby_plugins.checks.check import advise, check, require
from moby_plugins.checks.probe import Probe

SUBSYSTEM = "VolumeDriver"
CREATE, REMOVE = "VolumeDriver.Create", "VolumeDriver.Remove"
MOUNT, UNMOUNT = "VolumeDriver.Mount", "VolumeDriver.Unmount"
GET, LIST, PATH = "VolumeDriver.Get", "VolumeDriver.List", "VolumeDriver.Path"
CAPABILITIES = "VolumeDriver.Capabilities"

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def created(plugin: Probe, name: str = "") -> str:
    """The name of a new volume, removed at the end."""
    name = name or plugin.name()
    plugin.make(CREATE, creation(plugin, name), REMOVE, {"Name": name})
    return name


def creation(plugin: Probe, name: str) -> dict[str, Any]:
    """The arguments of Create."""
    return {"Name": name, "Opts": dict(plugin.setup.volume_opts)}


def found(plugin: Probe, name: str) -> dict[str, Any]:
    """What Get tells of a volume, keys in small letters; {} for none."""
    answer = plugin.send(GET, {"Name": name})
    volume = {} if answer.error else answer.fields.get("volume")
    return folded({} if volume is None else volume, f"{answer}: Volume is no object")


def listed(plugin: Probe) -> list[dict[str, Any]]:
    """The volumes that List tells, keys in small letters."""
    answer = plugin.send(LIST, {})
    require(not answer.error, answer)
    volumes = answer.fields.get("volumes")
    volumes = [] if volumes is None else volumes
    require(isinstance(volumes, list), f"{answer}: Volumes is no array")
    return [folded(volume, f"{answer}: {volume!r} is no volume") for volume in volumes]


def named(volumes: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Those of that name."""
    return [volume for volume in volumes if volume.get("name") == name]


def require_time(volume: dict[str, Any]) -> None:
    """Require that CreatedAt is absent, or a time that an engine can read."""
    told = volume.get("createdat")
    if told is None:
        return
    try:
        valid = bool(_RFC_3339.fullmatch(told) and datetime.fromisoformat(told.upper()))
    except (TypeError, ValueError):
        valid = False
    require(valid, f"CreatedAt is {told!r}: the whole answer fails, and the volume is gone")


@check(
    SUBSYSTEM,
    "capabilities",
    expects="Capabilities tells a Scope, local or global; on any failure engines ask again"
    " and again",
    source="B2",
    reads_only=True,
)
def capabilities(plugin: Probe) -> None:
    answer = plugin.send(CAPABILITIES, {})
    advise(not answer.error, answer)
    told = folded(answer.fields.get("capabilities") or {}, answer).get("scope") or ""
    require(isinstance(told, str), answer)
    advise(told.lower() in {"", "local", "global"}, f"{told!r} is taken for local")


@check(
    SUBSYSTEM,
    "list",
    expects="List gives an array of volumes, each with a name of its own",
    source="B2",
    reads_only=True,
)
def list_of_volumes(plugin: Probe) -> None:
    names = [volume.get("name") for volume in listed(plugin)]
    require(all(isinstance(name, str) and name for name in names), names)
    require(len(set(names)) == len(names), names)


@check(
    SUBSYSTEM,
    "no null in list",
    expects="no entry of Volumes is null: that takes the engine down",
    source="B11 trap 10",
    reads_only=True,
)
def no_null_in_list(plugin: Probe) -> None:
    answer = plugin.send(LIST, {})
    require(None not in (answer.fields.get("volumes") or []), answer)


@check(
    SUBSYSTEM,
    "times in list",
    expects="CreatedAt in List is absent or RFC 3339; an empty one fails the whole answer",
    source="B2, B11 trap 11",
    reads_only=True,
)
def times_in_list(plugin: Probe) -> None:
    for volume in listed(plugin):
        require_time(volume)


@check(
    SUBSYSTEM,
    "get of unknown",
    expects="Get of a volume that there is not gives none: an error, or no Volume",
    source="B2, B11 trap 9",
    reads_only=True,
)
def get_of_unknown(plugin: Probe) -> None:
    answer = plugin.send(GET, {"Name": plugin.name()})
    require(answer.error or answer.fields.get("volume") is None, f"{answer}: an engine finds it")


@check(
    SUBSYSTEM,
    "path of unknown",
    expects="Path of a volume that there is not is an error, or empty",
    source="B2",
    reads_only=True,
)
def path_of_unknown(plugin: Probe) -> None:
    answer = plugin.send(PATH, {"Name": plugin.name()})
    require(answer.error or not answer.fields.get("mountpoint"), answer)
