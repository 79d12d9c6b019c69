"""Checks of what Podman needs of a volume plugin (protocol.md P1 to P5).

``moby-plugins check --host podman`` runs these. Podman never calls Capabilities or Path.
"""

import json
from functools import partial
from typing import Any

from moby_plugins.checks.answer import Answer, folded, object_or_empty, text_or_empty
from moby_plugins.checks.outcome import PODMAN, check, exactly_one, fail, items, require, warn
from moby_plugins.checks.session import Session
from moby_plugins.checks.volume import CREATE, GET, LIST, MOUNT, REMOVE, UNMOUNT, hint
from moby_plugins.domain.http import OK

ACTIVATE = "Plugin.Activate"
PLUGIN, SUBSYSTEM = "Plugin", "VolumeDriver"
# Podman counts mounts itself, and uses one ID for all containers.
MOUNT_ID = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2"
TEXTS = ("name", "mountpoint", "createdat")

_promise = partial(check, hosts=(PODMAN,))


def whole(answer: Answer) -> dict[str, Any]:
    """Return the only JSON object of a successful response, with case-folded keys.

    The check fails for another status than 200, and for any other body.
    """
    require(answer.status == OK, answer)
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        fail(f"{answer}: not one JSON value and nothing else: {error}")
    return object_or_empty(value, f"{answer}: no object")


def success(plugin: Session, method: str, args: Any) -> Answer:
    """Make a call that must succeed, and return the response.

    Podman only reads the status, so the check also fails for status 200 with Err.
    """
    answer = plugin.send(method, args)
    require(answer.status == OK, answer)
    require(not answer.error, f"{answer}: Podman takes it for a success")
    return answer


def created(plugin: Session) -> str:
    """Create a volume, which is removed when the check ends, and return its name.

    Without options the request has no key Opts, as from Podman.
    """
    name = plugin.name()
    options = dict(plugin.options.volume_opts)
    args = {"Name": name, "Opts": options} if options else {"Name": name}
    with plugin.making(REMOVE, {"Name": name}):
        answer = plugin.send(CREATE, args)
        require(answer.status == OK and not answer.error, f"{answer}{hint(plugin)}")
    return name


def volume(value: object, answer: Answer) -> dict[str, Any]:
    """Return a volume as Podman decodes it, with case-folded keys; fail for a wrong type."""
    require(value is not None, f"{answer}: null among the volumes crashes Podman")
    fields = folded(value, f"{answer}: {value!r} is not a volume")
    for key in TEXTS:
        text_or_empty(fields.get(key), f"{answer}: {key} is {fields.get(key)!r}")
    object_or_empty(fields.get("status"), f"{answer}: Status is not an object")
    return fields


def listed(plugin: Session) -> list[dict[str, Any]]:
    """Return the volumes of List, which Podman calls with an empty body."""
    answer = plugin.send(LIST)
    volumes = items(whole(answer).get("volumes"), f"{answer}: Volumes is not an array")
    require(not answer.error, f"{answer}: Podman takes it for a success")
    return [volume(each, answer) for each in volumes]


@_promise(PLUGIN, "handshake for Podman", source="P1", reads_only=True)
def handshake(plugin: Session) -> None:
    """the handshake's answer is 200 with one JSON value, and Implements has VolumeDriver."""
    implements = whole(plugin.send(ACTIVATE)).get("implements")
    require(
        isinstance(implements, list) and SUBSYSTEM in implements, f"Implements is {implements!r}"
    )


@_promise(SUBSYSTEM, "list for Podman", source="P3, P4", reads_only=True)
def empty_list(plugin: Session) -> None:
    """List with an empty body is answered with an array of volumes, and nothing after it."""
    listed(plugin)


@_promise(SUBSYSTEM, "get of unknown for Podman", source="P2, P4", reads_only=True)
def get_of_unknown(plugin: Session) -> None:
    """Get of an unknown volume has a status other than 200, or returns no Volume."""
    answer = plugin.send(GET, {"Name": plugin.name()})
    if answer.status == OK:
        fields = whole(answer)
        require(fields.get("volume") is None, f"{answer}: to Podman the volume exists")
        warn(not answer.error, f"{answer}: Podman does not see the error")


@_promise(SUBSYSTEM, "errors for Podman", source="P2")
def errors(plugin: Session) -> None:
    """an error has a status other than 200, and a JSON object whose Err says what is wrong."""
    unknown = {"Name": plugin.name()}
    for method, args in ((MOUNT, unknown | {"ID": MOUNT_ID}), (REMOVE, unknown)):
        answer = plugin.send(method, args)
        require(answer.status != OK or not answer.error, f"{answer}: Podman takes it for a success")
        require(
            answer.status != OK or method != MOUNT, f"{answer}: to Podman the volume is mounted"
        )
        if answer.status == OK:
            continue
        try:
            fields = json.loads(answer.body)
        except (ValueError, RecursionError):
            fields = None
        warn(
            isinstance(fields, dict),
            f"{answer}: the error message is lost: it is not a JSON object",
        )
        warn(answer.text("err"), f"{answer}: without Err it is an 'empty error from plugin'")


@_promise(SUBSYSTEM, "create for Podman", source="P3")
def create(plugin: Session) -> None:
    """a volume that is created without the key Opts exists: Podman leaves it out."""
    name = created(plugin)
    answer = plugin.send(GET, {"Name": name})
    volume_fields = whole(answer).get("volume")
    require(not answer.error and volume_fields is not None, answer)
    require(volume(volume_fields, answer).get("name") == name, answer)
    exactly_one([each for each in listed(plugin) if each.get("name") == name], "in List", name)


@_promise(SUBSYSTEM, "mount for Podman", source="P4, P5")
def mount(plugin: Session) -> None:
    """Mount returns an absolute path, and nothing after it; Unmount succeeds, and both succeed
    again.
    """
    use = {"Name": created(plugin), "ID": MOUNT_ID}
    for _ in range(2):
        with plugin.making(UNMOUNT, use):
            answer = success(plugin, MOUNT, use)
        where = whole(answer).get("mountpoint")
        require(isinstance(where, str) and where.startswith("/"), answer)
        success(plugin, UNMOUNT, use)


@_promise(SUBSYSTEM, "remove for Podman", source="P2, P3")
def remove(plugin: Session) -> None:
    """a removed volume is no longer in List: otherwise podman volume reload adds it again."""
    name = created(plugin)
    success(plugin, REMOVE, {"Name": name})
    there = [each.get("name") for each in listed(plugin)]
    require(name not in there, f"List still has {name}")
