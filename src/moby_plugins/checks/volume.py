"""Checks of VolumeDriver: volumes are found, created and removed (protocol.md B2)."""

import re
from datetime import datetime
from typing import Any

from moby_plugins.checks.answer import folded, object_or_empty, text_or_empty
from moby_plugins.checks.outcome import (
    CheckOutcome,
    NotPassedError,
    StalledError,
    check,
    exactly_one,
    items,
    require,
    skip,
    warn,
)
from moby_plugins.checks.session import Session
from moby_plugins.domain.http import OK

SUBSYSTEM = "VolumeDriver"
CREATE, REMOVE = "VolumeDriver.Create", "VolumeDriver.Remove"
MOUNT, UNMOUNT = "VolumeDriver.Mount", "VolumeDriver.Unmount"
GET, LIST, PATH = "VolumeDriver.Get", "VolumeDriver.List", "VolumeDriver.Path"
CAPABILITIES = "VolumeDriver.Capabilities"

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

LONGEST = 64


def created(plugin: Session, name: str = "") -> str:
    """Create a volume, which is removed when the check ends, and return its name."""
    name = name or plugin.name()
    create_volume(plugin, creation(plugin, name))
    return name


def create_volume(plugin: Session, args: dict[str, Any]) -> None:
    """Create a volume, which is removed when the check ends.

    If Create fails, the check fails, with a hint about options.
    """
    try:
        plugin.make(CREATE, args, REMOVE, {"Name": args["Name"]})
    except StalledError:
        raise
    except NotPassedError as error:
        raise NotPassedError(error.outcome, f"{error}{hint(plugin)}") from error


def hint(plugin: Session) -> str:
    """Return a hint for a failed Create; "" if options were given."""
    if plugin.options.volume_opts:
        return ""
    return "; a driver that needs options is given them with --volume-opt KEY=VALUE"


def creation(plugin: Session, name: str) -> dict[str, Any]:
    """Return the arguments of Create for the volume ``name``, with the user's options."""
    return {"Name": name, "Opts": dict(plugin.options.volume_opts)}


def get_volume(plugin: Session, name: str) -> dict[str, Any]:
    """Return the volume that Get returns, with case-folded keys; {} for an error or no volume."""
    answer = plugin.send(GET, {"Name": name})
    volume = {} if answer.error else answer.fields.get("volume")
    return object_or_empty(volume, f"{answer}: Volume is not an object")


def listed(plugin: Session) -> list[dict[str, Any]]:
    """Return the volumes that List returns, with case-folded keys."""
    answer = plugin.send(LIST, {})
    require(not answer.error, answer)
    volumes = items(answer.fields.get("volumes"), f"{answer}: Volumes is not an array")
    return [folded(volume, f"{answer}: {volume!r} is not a volume") for volume in volumes]


def named(volumes: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return those of ``volumes`` that are called ``name``."""
    return [volume for volume in volumes if volume.get("name") == name]


def require_time(volume: dict[str, Any]) -> None:
    """Require that CreatedAt is absent, or a time that engines can parse."""
    created_at = volume.get("createdat")
    if created_at is None:
        return
    try:
        valid = bool(_RFC_3339.fullmatch(created_at) and datetime.fromisoformat(created_at.upper()))
    except (TypeError, ValueError):
        valid = False
    require(valid, f"CreatedAt is {created_at!r}: engines reject the whole response because of it")


@check(SUBSYSTEM, source="B2", reads_only=True)
def capabilities(plugin: Session) -> None:
    """Capabilities has a Scope, local or global; after any failure engines ask again each time."""
    answer = plugin.send(CAPABILITIES, {})
    warn(not answer.error, answer)
    fields = object_or_empty(answer.fields.get("capabilities"), answer)
    scope = text_or_empty(fields.get("scope"), answer)
    warn(scope.lower() in {"", "local", "global"}, f"{scope!r} is taken for local")


@check(SUBSYSTEM, "list", source="B2", reads_only=True)
def list_of_volumes(plugin: Session) -> None:
    """List returns an array of volumes with different names."""
    names = [volume.get("name") for volume in listed(plugin)]
    require(all(isinstance(name, str) and name for name in names), names)
    require(len(set(names)) == len(names), names)


@check(SUBSYSTEM, source="B11 trap 10", reads_only=True)
def no_null_in_list(plugin: Session) -> None:
    """no entry of Volumes is null: it crashes the engine."""
    answer = plugin.send(LIST, {})
    require(None not in items(answer.fields.get("volumes"), answer), answer)


@check(SUBSYSTEM, source="B2, B11 trap 11", reads_only=True)
def times_in_list(plugin: Session) -> None:
    """CreatedAt in List is absent or RFC 3339; an empty one makes the whole response invalid."""
    for volume in listed(plugin):
        require_time(volume)


@check(SUBSYSTEM, source="B2, B11 trap 9", reads_only=True)
def get_of_unknown(plugin: Session) -> None:
    """Get of an unknown volume is an error, or returns no Volume."""
    answer = plugin.send(GET, {"Name": plugin.name()})
    require(
        answer.error or answer.fields.get("volume") is None,
        f"{answer}: to engines the volume exists",
    )


@check(SUBSYSTEM, source="B2", reads_only=True, worst=CheckOutcome.WARNED)
def path_of_unknown(plugin: Session) -> None:
    """Path of an unknown volume is an error, or returns no Mountpoint."""
    answer = plugin.send(PATH, {"Name": plugin.name()})
    require(answer.error or not answer.fields.get("mountpoint"), answer)


@check(SUBSYSTEM, source="B2")
def create(plugin: Session) -> None:
    """a volume that was created without error exists: Get returns it by its name."""
    name = created(plugin)
    volume = get_volume(plugin, name)
    require(volume.get("name") == name, f"Get of {name} returns {volume or 'no volume'}")


@check(SUBSYSTEM, source="B0, B2")
def create_without_options(plugin: Session) -> None:
    """Create accepts Opts that are null: engines send that for no options."""
    if plugin.options.volume_opts:
        skip("options for volumes were given, so the plugin may need them")
    name = plugin.name()
    create_volume(plugin, {"Name": name, "Opts": None})


@check(SUBSYSTEM, source="B2")
def create_twice(plugin: Session) -> None:
    """a second Create of a volume keeps it, and is not an error: engines send one if Get failed."""
    name = created(plugin)
    second = plugin.send(CREATE, creation(plugin, name))
    require(get_volume(plugin, name), f"after a second Create the volume is gone: {second}")
    exactly_one(named(listed(plugin), name), "in List", name)
    warn(not second.error, second)


@check(SUBSYSTEM, source="B2")
def list_has_what_was_created(plugin: Session) -> None:
    """List has a new volume exactly once."""
    name = created(plugin)
    exactly_one(named(listed(plugin), name), "in List", name)


@check(SUBSYSTEM, source="B11 trap 9, B11 trap 11")
def times_in_get(plugin: Session) -> None:
    """CreatedAt in Get is absent or RFC 3339; else the engine forgets the volume."""
    require_time(get_volume(plugin, created(plugin)))


@check(SUBSYSTEM, source="B2")
def status_in_get(plugin: Session) -> None:
    """Status in Get is absent or an object."""
    status = get_volume(plugin, created(plugin)).get("status")
    object_or_empty(status, f"Status is {status!r}")


@check(SUBSYSTEM, source="B11 trap 9")
def get_again_and_again(plugin: Session) -> None:
    """Get returns an existing volume each time: after one error the engine forgets it."""
    name = created(plugin)
    for _ in range(20):
        answer = plugin.send(GET, {"Name": name})
        require(not answer.error and answer.fields.get("volume"), answer)


@check(
    SUBSYSTEM,
    expects=f"a name of {LONGEST} characters is accepted: that is the length of those that engines"
    " make up",
    source="B2",
)
def long_name(plugin: Session) -> None:
    name = created(plugin, plugin.name().ljust(LONGEST, "0"))
    require(get_volume(plugin, name).get("name") == name, f"Get does not give {name}")


@check(SUBSYSTEM, source="B2")
def remove(plugin: Session) -> None:
    """a volume that was removed without error is no longer in Get and List."""
    name = created(plugin)
    plugin.call(REMOVE, {"Name": name})
    require(not get_volume(plugin, name), f"Get still gives {name}")
    require(not named(listed(plugin), name), f"List still has {name}")


@check(SUBSYSTEM, source="B2")
def remove_of_unknown(plugin: Session) -> None:
    """Remove of an unknown volume is answered, with success or an error, and changes nothing."""
    name = created(plugin)
    answer = plugin.send(REMOVE, {"Name": f"{name}-unknown"})
    require(answer.error or answer.fields is not None, answer)
    require(get_volume(plugin, name), f"{name} is gone instead")


@check(SUBSYSTEM, source="B2")
def create_after_remove(plugin: Session) -> None:
    """a name can be used again once its volume was removed."""
    name = created(plugin)
    plugin.call(REMOVE, {"Name": name})
    created(plugin, name)
    require(get_volume(plugin, name), f"Get does not give {name}")


@check(SUBSYSTEM, source="B0")
def errors_say_what_is_wrong(plugin: Session) -> None:
    """an error has a message, in Err."""
    answer = plugin.send(MOUNT, {"Name": plugin.name(), "ID": plugin.id()})
    if answer.error:
        warn(answer.text("err"), f"{answer}: no Err, so the user is shown the whole body")


@check(SUBSYSTEM, source="B0, P2", worst=CheckOutcome.WARNED)
def errors_by_status(plugin: Session) -> None:
    """an error has a status other than 200: Podman takes a 200 with Err for a success."""
    unknown = {"Name": plugin.name()}
    for method, args in ((MOUNT, unknown | {"ID": plugin.id()}), (GET, unknown), (REMOVE, unknown)):
        answer = plugin.send(method, args)
        require(answer.status != OK or not answer.error, answer)
