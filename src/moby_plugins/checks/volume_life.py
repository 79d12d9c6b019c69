"""VolumeDriver: volumes come and go (protocol.md B2)."""

from moby_plugins.checks.check import advise, check, require, skip
from moby_plugins.checks.probe import Probe, only
from moby_plugins.checks.volume import (
    CREATE,
    GET,
    MOUNT,
    REMOVE,
    created,
    creation,
    found,
    listed,
    named,
    require_time,
)

SUBSYSTEM = "VolumeDriver"
LONGEST = 64


@check(
    SUBSYSTEM,
    "create",
    expects="a volume that was created without error is there: Get gives it, by its name",
    source="B2",
)
def create(plugin: Probe) -> None:
    name = created(plugin)
    volume = found(plugin, name)
    require(volume.get("name") == name, f"Get of {name} tells {volume or 'no volume'}")


@check(
    SUBSYSTEM,
    "create without options",
    expects="Create takes Opts that are null: that is how an engine sends none",
    source="B0, B2",
)
def create_without_options(plugin: Probe) -> None:
    if plugin.setup.volume_opts:
        skip("its volumes are said to need options")
    name = plugin.name()
    plugin.make(CREATE, {"Name": name, "Opts": None}, REMOVE, {"Name": name})


@check(
    SUBSYSTEM,
    "create twice",
    expects="a second Create of a volume leaves it there, and is no error: engines send one"
    " where Get failed",
    source="B2",
)
def create_twice(plugin: Probe) -> None:
    name = created(plugin)
    second = plugin.send(CREATE, creation(plugin, name))
    require(found(plugin, name), f"after a second Create the volume is gone: {second}")
    only(named(listed(plugin), name), "in List", name)
    advise(not second.error, second)


@check(
    SUBSYSTEM,
    "list has what was created",
    expects="List has a new volume once",
    source="B2",
)
def list_has_what_was_created(plugin: Probe) -> None:
    name = created(plugin)
    only(named(listed(plugin), name), "in List", name)


@check(
    SUBSYSTEM,
    "times in get",
    expects="CreatedAt in Get is absent or RFC 3339; else the engine forgets the volume",
    source="B11 trap 9, B11 trap 11",
)
def times_in_get(plugin: Probe) -> None:
    require_time(found(plugin, created(plugin)))


@check(
    SUBSYSTEM,
    "status in get",
    expects="Status in Get is absent or an object",
    source="B2",
)
def status_in_get(plugin: Probe) -> None:
    volume = found(plugin, created(plugin))
    require(isinstance(volume.get("status") or {}, dict), f"Status is {volume.get('status')!r}")


@check(
    SUBSYSTEM,
    "get again and again",
    expects="Get goes on giving a volume that is there: after one error the engine forgets it",
    source="B11 trap 9",
)
def get_again_and_again(plugin: Probe) -> None:
    name = created(plugin)
    for _ in range(20):
        answer = plugin.send(GET, {"Name": name})
        require(not answer.error and answer.fields.get("volume"), answer)


@check(
    SUBSYSTEM,
    "long name",
    expects=f"a name of {LONGEST} characters is taken: that is how long those are that engines"
    " make up",
    source="B2",
)
def long_name(plugin: Probe) -> None:
    name = created(plugin, plugin.name().ljust(LONGEST, "0"))
    require(found(plugin, name).get("name") == name, f"Get does not give {name}")


@check(
    SUBSYSTEM,
    "remove",
    expects="a volume that was removed without error is gone from Get and List",
    source="B2",
)
def remove(plugin: Probe) -> None:
    name = created(plugin)
    plugin.call(REMOVE, {"Name": name})
    require(not found(plugin, name), f"Get still gives {name}")
    require(not named(listed(plugin), name), f"List still has {name}")


@check(
    SUBSYSTEM,
    "remove of unknown",
    expects="Remove of a volume that there is not is answered, and changes nothing",
    source="B2",
)
def remove_of_unknown(plugin: Probe) -> None:
    name = created(plugin)
    answer = plugin.send(REMOVE, {"Name": f"{name}-unknown"})
    require(answer.error or answer.fields is not None, answer)
    require(found(plugin, name), f"{name} is gone instead")


@check(
    SUBSYSTEM,
    "create after remove",
    expects="a name can be used again once its volume was removed",
    source="B2",
)
def create_after_remove(plugin: Probe) -> None:
    name = created(plugin)
    plugin.call(REMOVE, {"Name": name})
    created(plugin, name)
    require(found(plugin, name), f"Get does not give {name}")


@check(
    SUBSYSTEM,
    "errors say what is wrong",
    expects="an error carries a message, as Err",
    source="B0",
)
def errors_say_what_is_wrong(plugin: Probe) -> None:
    answer = plugin.send(MOUNT, {"Name": plugin.name(), "ID": plugin.id()})
    if answer.error:
        advise(answer.told("err"), f"{answer}: no Err, so the user is shown the whole body")
