"""A broken plugin for each check of VolumeDriver."""

import json
from collections import Counter
from typing import Any

from attrs import evolve

from moby_plugins import Request, Response
from moby_plugins.domain.http import App
from tests.unit.checks.broken import (
    HEADERS,
    Breaks,
    Broken,
    adds,
    after,
    args_of,
    at_once,
    body_of,
    does,
    edits,
    refuses,
    says,
    warned,
)

CREATE, REMOVE = "VolumeDriver.Create", "VolumeDriver.Remove"
MOUNT, UNMOUNT = "VolumeDriver.Mount", "VolumeDriver.Unmount"
GET, LIST, PATH = "VolumeDriver.Get", "VolumeDriver.List", "VolumeDriver.Path"
CAPABILITIES = "VolumeDriver.Capabilities"


def no(message: str = "no") -> Response:
    """An error."""
    return Response(500, b'{"Err": "%s"}' % message.encode(), HEADERS)


def refuses_if(condition: Any, *methods: str) -> Breaks:
    """An error for the requests whose arguments fit."""
    return does(
        lambda request, good: no() if condition(args_of(request)) else good(request), *methods
    )


def volume_with(**keys: Any) -> Breaks:
    """Get's volumes, with ``keys`` in them as well."""
    return edits(GET, lambda told: {"Volume": told["Volume"] and told["Volume"] | keys})


def volumes_with(**keys: Any) -> Breaks:
    """List's, and one more that there always is."""
    return edits(LIST, lambda told: {"Volumes": [*told["Volumes"], {"Name": "other"} | keys]})


def forgetful() -> Breaks:
    """A second Create of a name loses the volume."""
    return _counts(
        CREATE, lambda request, good, number: _lost(request, good) if number > 1 else None
    )


def _lost(request: Request, good: App) -> Any:
    return good(evolve(request, method=REMOVE))


def only_once(method: str, verb: Any = no) -> Breaks:
    """``method`` answers an error from the second call with the same arguments on."""
    return _counts(method, lambda _, __, number: verb() if number > 1 else None)


def _counts(method: str, special: Any) -> Breaks:
    seen: Counter[bytes] = Counter()

    def counted(request: Request, good: App) -> Any:
        seen[request.read()] += 1
        told = special(request, good, seen[request.read()])
        return good(request) if told is None else told

    return does(counted, method)


def mounts_in_a_set(*lacks: str) -> Breaks:
    """The first Unmount undoes every Mount; the methods that it ``lacks`` are answered with 404."""
    mounted: set[str] = set()

    def app(request: Request, good: App) -> Any:
        name = str(args_of(request).get("Name"))
        if request.method in lacks:
            return Response(404, b"")
        if request.method == MOUNT:
            mounted.add(name)
        elif request.method == UNMOUNT:
            mounted.discard(name)
        elif request.method == GET and name not in mounted:
            return {"Volume": {"Name": name}}
        elif request.method == PATH and name not in mounted:
            return {"Mountpoint": ""}
        return good(request)

    return does(app, MOUNT, UNMOUNT, PATH, GET)


def elsewhere() -> Breaks:
    """Each Mount is at another place."""
    numbers = iter(range(1000))
    return does(lambda _, __: {"Mountpoint": f"/mnt/{next(numbers)}"}, MOUNT)


def swallows(method: str) -> Breaks:
    """A success without having done anything."""
    return says(method, {})


def twice(told: dict[str, Any]) -> dict[str, Any]:
    """Every volume two times."""
    return {"Volumes": told["Volumes"] * 2}


def removes_all(request: Request, good: App) -> Any:
    """Removes whatever there is."""
    names = [volume["Name"] for volume in json.loads(body_of(good(Request(LIST))))["Volumes"]]
    for name in names:
        good(evolve(request, body=json.dumps({"Name": name}).encode()))
    return {}


BROKEN = {
    "VolumeDriver: capabilities": warned(says(CAPABILITIES, {"Capabilities": {"Scope": "lokal"}})),
    "VolumeDriver: list": Broken(volumes_with(Name="")),
    "VolumeDriver: no null in list": Broken(says(LIST, {"Volumes": [None]})),
    "VolumeDriver: times in list": Broken(volumes_with(CreatedAt="")),
    "VolumeDriver: get of unknown": Broken(says(GET, {"Volume": {}})),
    "VolumeDriver: errors by status": warned(does(lambda *_: {"Err": "no"}, MOUNT)),
    "VolumeDriver: path of unknown": warned(says(PATH, {"Mountpoint": "/mnt"})),
    "VolumeDriver: create": Broken(swallows(CREATE)),
    "VolumeDriver: create without options": Broken(
        refuses_if(lambda args: args["Opts"] is None, CREATE)
    ),
    "VolumeDriver: create twice": Broken(forgetful()),
    "VolumeDriver: list has what was created": Broken(says(LIST, {"Volumes": []})),
    "VolumeDriver: times in get": Broken(volume_with(CreatedAt="yesterday")),
    "VolumeDriver: status in get": Broken(volume_with(Status="fine")),
    "VolumeDriver: get again and again": Broken(after(19, lambda _, __: no(), GET)),
    "VolumeDriver: long name": Broken(refuses_if(lambda args: len(args["Name"]) > 63, CREATE)),
    "VolumeDriver: remove": Broken(swallows(REMOVE)),
    "VolumeDriver: remove of unknown": Broken(does(removes_all, REMOVE)),
    "VolumeDriver: create after remove": Broken(only_once(CREATE)),
    "VolumeDriver: errors say what is wrong": warned(
        does(lambda _, __: Response(500, b"no such volume"), MOUNT)
    ),
    "VolumeDriver: mount": Broken(says(MOUNT, {"Mountpoint": "mnt"})),
    "VolumeDriver: mount of unknown": Broken(says(MOUNT, {"Mountpoint": "/mnt"})),
    "VolumeDriver: path while mounted": Broken(says(PATH, {"Mountpoint": "/other"})),
    "VolumeDriver: one mountpoint": warned(volume_with(Mountpoint="/other")),
    "VolumeDriver: unmount": Broken(refuses(UNMOUNT)),
    "VolumeDriver: mount again": Broken(only_once(MOUNT)),
    "VolumeDriver: mounts are counted": Broken(mounts_in_a_set()),
    "VolumeDriver: two users": Broken(mounts_in_a_set()),
    "VolumeDriver: get while mounted": Broken(after(0, lambda _, __: no(), GET)),
    "VolumeDriver: unmount of unmounted": warned(refuses(UNMOUNT)),
    "VolumeDriver: creates side by side": Broken(at_once(CREATE)),
    "VolumeDriver: creates of one name": Broken(edits(LIST, twice)),
    "VolumeDriver: mounts side by side": Broken(at_once(MOUNT)),
    "VolumeDriver: get during others": Broken(at_once(CREATE, GET)),
}
MORE = (
    ("VolumeDriver: capabilities", warned(refuses(CAPABILITIES, status=404))),
    ("VolumeDriver: capabilities", Broken(says(CAPABILITIES, {"Capabilities": {"Scope": 1}}))),
    ("VolumeDriver: capabilities", Broken(says(CAPABILITIES, {"Capabilities": []}))),
    ("VolumeDriver: capabilities", Broken(says(CAPABILITIES, {"Capabilities": {"Scope": 0}}))),
    ("VolumeDriver: status in get", Broken(volume_with(Status=[]))),
    ("VolumeDriver: list", Broken(says(LIST, {"Volumes": "none"}))),
    ("VolumeDriver: list", Broken(says(LIST, {"Volumes": ["books"]}))),
    ("VolumeDriver: list", Broken(says(LIST, {"Volumes": [{"Name": "a"}, {"Name": "a"}]}))),
    ("VolumeDriver: list", Broken(says(LIST, {"Volumes": [], "Err": "no"}))),
    ("VolumeDriver: times in list", Broken(volumes_with(CreatedAt=7))),
    ("VolumeDriver: times in list", Broken(volumes_with(CreatedAt="2023-02-29T12:00:00Z"))),
    ("VolumeDriver: create", Broken(volume_with(Name="other"))),
    ("VolumeDriver: create", Broken(refuses(CREATE))),
    ("VolumeDriver: create", Broken(does(lambda r, good: evolve(good(r), status=201), CREATE))),
    ("VolumeDriver: create", Broken(says(CREATE, b""))),
    ("VolumeDriver: create", warned(refuses(REMOVE))),
    ("VolumeDriver: create twice", warned(only_once(CREATE))),
    ("VolumeDriver: mount", Broken(says(MOUNT, {"Mountpoint": ""}))),
    ("VolumeDriver: mount", Broken(adds(MOUNT, Err="no"))),
    ("VolumeDriver: path while mounted", warned(refuses(PATH, status=404))),
    ("VolumeDriver: mounts are counted", Broken(mounts_in_a_set(PATH))),
    ("VolumeDriver: mount again", Broken(elsewhere())),
    ("VolumeDriver: mounts side by side", Broken(elsewhere())),
    ("VolumeDriver: mounts are counted", Broken(only_once(UNMOUNT))),
)
