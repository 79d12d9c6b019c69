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
    get_volume,
    hint,
    listed,
    named,
)

SUBSYSTEM = "VolumeDriver"
FEW = 8
NOT_FOUND = 404


def mounted(plugin: Session, name: str, user: str) -> str:
    """Mount the volume ``name`` with the ID ``user`` until the check ends, and return the path."""
    use = {"Name": name, "ID": user}
    answer = plugin.make(MOUNT, use, UNMOUNT, use)
    where = answer.get("mountpoint")
    if not isinstance(where, str) or not where.startswith("/"):
        fail(f"Mount of {name} returns {where!r}, not an absolute path")
    return where


def path_of(plugin: Session, name: str) -> object:
    """Return the path of the volume ``name``, as the plugin's method Path returns it; "" for none.

    If the plugin has no method Path, call Get.
    """
    answer = plugin.send(PATH, {"Name": name})
    if answer.status == NOT_FOUND:
        return get_volume(plugin, name).get("mountpoint") or ""
    require(not answer.error, answer)
    return answer.fields.get("mountpoint") or ""


@check(SUBSYSTEM, source="B2")
def mount(plugin: Session) -> None:
    """Mount returns the volume's path, which must be absolute: engines do not check it."""
    mounted(plugin, created(plugin), plugin.id())


@check(SUBSYSTEM, source="B2")
def mount_of_unknown(plugin: Session) -> None:
    """Mount of an unknown volume is an error."""
    plugin.refused(MOUNT, {"Name": plugin.name(), "ID": plugin.id()})


@check(SUBSYSTEM, source="B2")
def path_while_mounted(plugin: Session) -> None:
    """Path returns where Mount has mounted the volume; only older engines call it."""
    name = created(plugin)
    where = mounted(plugin, name, plugin.id())
    answer = plugin.send(PATH, {"Name": name})
    warn(answer.status != NOT_FOUND, answer)
    mountpoint = "" if answer.error else answer.fields.get("mountpoint")
    require(mountpoint == where, f"{answer}; Mount returned {where!r}")


@check(SUBSYSTEM, source="B2, B11 trap 13")
def one_mountpoint(plugin: Session) -> None:
    """Get and List return the Mountpoint of Mount, or none: engines adjust the paths of Mount and
    List, but not of Get.
    """
    name = created(plugin)
    where = mounted(plugin, name, plugin.id())
    mountpoints = [
        volume.get("mountpoint")
        for volume in [get_volume(plugin, name), *named(listed(plugin), name)]
    ]
    warn(
        all(each in (where, "", None) for each in mountpoints),
        f"{mountpoints!r}; Mount returned {where!r}",
    )


@check(SUBSYSTEM, source="B2")
def unmount(plugin: Session) -> None:
    """Unmount of a mounted volume succeeds, and it can be mounted again."""
    use = {"Name": created(plugin), "ID": plugin.id()}
    for _ in range(2):
        mounted(plugin, use["Name"], use["ID"])
        plugin.call(UNMOUNT, use)


@check(SUBSYSTEM, source="B2, B11 trap 12")
def mount_again(plugin: Session) -> None:
    """the same Name and ID may be mounted again, at the same path: docker cp does that."""
    name, user = created(plugin), plugin.id()
    first, second = mounted(plugin, name, user), mounted(plugin, name, user)
    require(first == second, f"first {first!r}, then {second!r}")


@check(SUBSYSTEM, source="B11 trap 12")
def mounts_are_counted(plugin: Session) -> None:
    """after two mounts with the same Name and ID, and one Unmount, the volume is still mounted."""
    name, user = created(plugin), plugin.id()
    mounted(plugin, name, user)
    mounted(plugin, name, user)
    before = path_of(plugin, name)
    plugin.call(UNMOUNT, {"Name": name, "ID": user})
    mountpoint = path_of(plugin, name)
    require(
        mountpoint == before, f"after one of two unmounts it is at {mountpoint!r}, not {before!r}"
    )
    plugin.call(UNMOUNT, {"Name": name, "ID": user})


@check(SUBSYSTEM, source="B2")
def two_users(plugin: Session) -> None:
    """a volume stays mounted for one ID when another unmounts it."""
    name, one, other = created(plugin), plugin.id(), plugin.id()
    mounted(plugin, name, one)
    mounted(plugin, name, other)
    before = path_of(plugin, name)
    plugin.call(UNMOUNT, {"Name": name, "ID": other})
    mountpoint = path_of(plugin, name)
    require(mountpoint == before, f"it is at {mountpoint!r}, not {before!r}")


@check(SUBSYSTEM, source="B2")
def get_while_mounted(plugin: Session) -> None:
    """Get returns a mounted volume: otherwise engines never unmount it."""
    name = created(plugin)
    mounted(plugin, name, plugin.id())
    require(get_volume(plugin, name).get("name") == name, f"Get does not give {name}")


@check(SUBSYSTEM, source="B2")
def unmount_of_unmounted(plugin: Session) -> None:
    """Unmount of a volume that is not mounted succeeds: a restarted plugin receives such a call,
    and after an error a container does not stop cleanly.
    """
    name = created(plugin)
    answer = plugin.send(UNMOUNT, {"Name": name, "ID": plugin.id()})
    require(get_volume(plugin, name), f"{answer}, and {name} is gone")
    warn(not answer.error, answer)


@check(
    SUBSYSTEM, expects=f"{FEW} volumes that are created at once are all in List", source="B0, B2"
)
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
    with plugin.making(REMOVE, {"Name": name}):
        answers = plugin.side_by_side(*[partial(plugin.send, CREATE, creation(plugin, name))] * FEW)
        require(not all(answer.error for answer in answers), f"{answers[0]}{hint(plugin)}")
    exactly_one(named(listed(plugin), name), "in List", name)


@check(
    SUBSYSTEM,
    expects=f"{FEW} IDs that mount a volume at once all get the same path",
    source="B0, B2",
)
def mounts_side_by_side(plugin: Session) -> None:
    name = created(plugin)
    users = [plugin.id() for _ in range(FEW)]
    mountpoints = plugin.side_by_side(*(partial(mounted, plugin, name, user) for user in users))
    require(len(set(mountpoints)) == 1, f"{mountpoints!r}")


@check(SUBSYSTEM, source="B11 trap 9")
def get_during_others(plugin: Session) -> None:
    """Get returns a volume while others are created: after an error engines forget the volume."""
    name = created(plugin)
    make = [partial(created, plugin, plugin.name()) for _ in range(FEW)]
    look = [partial(get_volume, plugin, name)] * FEW
    for returned in plugin.side_by_side(*make, *look):
        require(returned, f"Get did not give {name}")
