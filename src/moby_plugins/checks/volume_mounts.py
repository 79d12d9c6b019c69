"""Checks of VolumeDriver: mounts for several IDs, and many at once (protocol.md B2)."""

from functools import partial

from moby_plugins.checks.outcome import check, exactly_one, fail, require, warn
from moby_plugins.checks.session import Session
from moby_plugins.checks.volume import (
    CREATE,
    MOUNT,
    PATH,
    REMOVE,
    UNMOUNT,
    created,
    creation,
    found,
    hint,
    listed,
    named,
)

SUBSYSTEM = "VolumeDriver"
FEW = 8
NOT_FOUND = 404


def mounted(plugin: Session, name: str, user: str) -> str:
    """Mount the volume ``name`` for ``user``, unmounted at the end, and return the path."""
    use = {"Name": name, "ID": user}
    answer = plugin.make(MOUNT, use, UNMOUNT, use)
    where = answer.get("mountpoint")
    if not isinstance(where, str) or not where.startswith("/"):
        fail(f"Mount of {name} tells {where!r}, and no path")
    return where


def place(plugin: Session, name: str) -> object:
    """Return the path of the volume ``name`` from Path, or from Get if the plugin has no Path."""
    answer = plugin.send(PATH, {"Name": name})
    if answer.status == NOT_FOUND:
        return found(plugin, name).get("mountpoint") or ""
    require(not answer.error, answer)
    return answer.fields.get("mountpoint") or ""


@check(SUBSYSTEM, source="B2")
def mount(plugin: Session) -> None:
    """Mount tells where the volume is: an absolute path, which no engine examines."""
    mounted(plugin, created(plugin), plugin.id())


@check(SUBSYSTEM, source="B2")
def mount_of_unknown(plugin: Session) -> None:
    """Mount of a volume that there is not is an error."""
    plugin.refused(MOUNT, {"Name": plugin.name(), "ID": plugin.id()})


@check(SUBSYSTEM, source="B2")
def path_while_mounted(plugin: Session) -> None:
    """Path tells where Mount has mounted the volume; only older engines ask."""
    name = created(plugin)
    where = mounted(plugin, name, plugin.id())
    answer = plugin.send(PATH, {"Name": name})
    warn(answer.status != NOT_FOUND, answer)
    told = "" if answer.error else answer.fields.get("mountpoint")
    require(told == where, f"{answer}; Mount tells {where!r}")


@check(SUBSYSTEM, source="B2, B11 trap 13")
def one_mountpoint(plugin: Session) -> None:
    """Get and List tell the mountpoint that Mount tells, or none: engines scope the others, and not
    Get's.
    """
    name = created(plugin)
    where = mounted(plugin, name, plugin.id())
    told = [
        volume.get("mountpoint") for volume in [found(plugin, name), *named(listed(plugin), name)]
    ]
    warn(all(each in (where, "", None) for each in told), f"{told!r}; Mount tells {where!r}")


@check(SUBSYSTEM, source="B2")
def unmount(plugin: Session) -> None:
    """Unmount of what is mounted succeeds, and it can be mounted again."""
    use = {"Name": created(plugin), "ID": plugin.id()}
    for _ in range(2):
        mounted(plugin, use["Name"], use["ID"])
        plugin.call(UNMOUNT, use)


@check(SUBSYSTEM, source="B2, B11 trap 12")
def mount_again(plugin: Session) -> None:
    """the same Name and ID may be mounted again, at the same place: docker cp does that."""
    name, user = created(plugin), plugin.id()
    first, second = mounted(plugin, name, user), mounted(plugin, name, user)
    require(first == second, f"first {first!r}, then {second!r}")


@check(SUBSYSTEM, source="B11 trap 12")
def mounts_are_counted(plugin: Session) -> None:
    """of two mounts of the same Name and ID one remains after one Unmount."""
    name, user = created(plugin), plugin.id()
    mounted(plugin, name, user)
    mounted(plugin, name, user)
    before = place(plugin, name)
    plugin.call(UNMOUNT, {"Name": name, "ID": user})
    told = place(plugin, name)
    require(told == before, f"after one of two unmounts it is at {told!r}, not {before!r}")
    plugin.call(UNMOUNT, {"Name": name, "ID": user})


@check(SUBSYSTEM, source="B2")
def two_users(plugin: Session) -> None:
    """a volume stays mounted for one ID when another unmounts it."""
    name, one, other = created(plugin), plugin.id(), plugin.id()
    mounted(plugin, name, one)
    mounted(plugin, name, other)
    before = place(plugin, name)
    plugin.call(UNMOUNT, {"Name": name, "ID": other})
    told = place(plugin, name)
    require(told == before, f"it is at {told!r}, not {before!r}")


@check(SUBSYSTEM, source="B2")
def get_while_mounted(plugin: Session) -> None:
    """Get gives a volume that is mounted: without it engines never unmount."""
    name = created(plugin)
    mounted(plugin, name, plugin.id())
    require(found(plugin, name).get("name") == name, f"Get does not give {name}")


@check(SUBSYSTEM, source="B2")
def unmount_of_unmounted(plugin: Session) -> None:
    """Unmount of what is not mounted is answered: a restarted plugin meets one, and an error keeps
    a container from stopping cleanly.
    """
    name = created(plugin)
    answer = plugin.send(UNMOUNT, {"Name": name, "ID": plugin.id()})
    require(found(plugin, name), f"{answer}, and {name} is gone")
    warn(not answer.error, answer)


@check(SUBSYSTEM, expects=f"{FEW} volumes that are created at once are all there", source="B0, B2")
def creates_side_by_side(plugin: Session) -> None:
    names = [plugin.name() for _ in range(FEW)]
    plugin.side_by_side(*(partial(created, plugin, name) for name in names))
    there = [volume.get("name") for volume in listed(plugin)]
    lost = [name for name in names if name not in there]
    require(not lost, f"List lacks {lost}")


@check(
    SUBSYSTEM, expects=f"{FEW} Creates of the same name at once leave one volume", source="B0, B2"
)
def creates_of_one_name(plugin: Session) -> None:
    name = plugin.name()
    plugin.undo(REMOVE, {"Name": name})
    told = plugin.side_by_side(*[partial(plugin.send, CREATE, creation(plugin, name))] * FEW)
    require(not all(answer.error for answer in told), f"{told[0]}{hint(plugin)}")
    exactly_one(named(listed(plugin), name), "in List", name)


@check(
    SUBSYSTEM,
    expects=f"{FEW} users that mount a volume at once all have it, at the same place",
    source="B0, B2",
)
def mounts_side_by_side(plugin: Session) -> None:
    name = created(plugin)
    users = [plugin.id() for _ in range(FEW)]
    told = plugin.side_by_side(*(partial(mounted, plugin, name, user) for user in users))
    require(len(set(told)) == 1, f"{told!r}")


@check(SUBSYSTEM, source="B11 trap 9")
def get_during_others(plugin: Session) -> None:
    """Get gives a volume while others are created: an error would make it forgotten."""
    name = created(plugin)
    make = [partial(created, plugin, plugin.name()) for _ in range(FEW)]
    look = [partial(found, plugin, name)] * FEW
    for told in plugin.side_by_side(*make, *look):
        require(told, f"Get did not give {name}")
