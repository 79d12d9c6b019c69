"""A broken plugin for each check of what Podman wants."""

from typing import Any

from moby_plugins import Request, Response
from moby_plugins.domain.http import App
from tests.unit.checks.broken import (
    Broken,
    args_of,
    body_of,
    does,
    edits,
    never,
    refuses,
    says,
    warned,
)
from tests.unit.checks.broken_volumes import (
    CREATE,
    GET,
    LIST,
    MOUNT,
    REMOVE,
    UNMOUNT,
    no,
    swallows,
)

ACTIVATE = "Plugin.Activate"


def p(name: str) -> str:
    """The id of a check."""
    return f"VolumeDriver: {name} for Podman"


def more(request: Request, good: App) -> bytes:
    """A second value after the answer."""
    return body_of(good(request)) + b"{}"


def in_a_200(request: Request, good: App) -> Any:
    """Errors with status 200."""
    answer = good(request)
    return answer if answer.status == 200 else {"Err": "no"}


def wants_a_body(request: Request, good: App) -> Any:
    """An error for an empty body."""
    return good(request) if request.read() else Response(400, b"EOF")


def wants_options(request: Request, good: App) -> Any:
    """An error where Opts is left out."""
    return good(request) if "Opts" in args_of(request) else no("Opts is missing")


def adds_null(told: dict[str, Any]) -> dict[str, Any]:
    """A volume that is null."""
    return {"Volumes": [*told["Volumes"], None]}


BROKEN = {
    "Plugin: handshake for Podman": Broken(says(ACTIVATE, {"Implements": ["volumedriver"]})),
    p("list"): Broken(does(wants_a_body, LIST)),
    p("get of unknown"): Broken(says(GET, {"Volume": {"Name": "x"}})),
    p("errors"): Broken(does(in_a_200, MOUNT)),
    p("create"): Broken(does(wants_options, CREATE)),
    p("mount"): Broken(says(MOUNT, {"Mountpoint": "mnt"})),
    p("remove"): Broken(swallows(REMOVE)),
}
MORE = (
    ("Plugin: handshake for Podman", Broken(does(more, ACTIVATE))),
    ("Plugin: handshake for Podman", Broken(says(ACTIVATE, b"404 page not found"))),
    (p("list"), Broken(does(more, LIST))),
    (p("list"), Broken(edits(LIST, adds_null))),
    (p("list"), Broken(says(LIST, {"Volumes": [{"Name": "x", "CreatedAt": 7}]}))),
    (p("list"), Broken(says(LIST, {"Volumes": [{"Name": "x", "Status": "fine"}]}))),
    (p("list"), Broken(says(LIST, {"Volumes": [{"Name": "x", "Status": []}]}))),
    (p("list"), Broken(says(LIST, {"Volumes": [{"Name": "x", "Mountpoint": 0}]}))),
    (p("get of unknown"), warned(says(GET, {"Err": "no such volume"}))),
    (p("get of unknown"), Broken(does(more, GET))),
    (p("errors"), warned(does(lambda *_: Response(500, b"no such volume"), MOUNT))),
    (p("errors"), warned(does(lambda *_: Response(500, b"{}"), MOUNT))),
    (p("errors"), Broken(swallows(MOUNT))),
    (p("create"), Broken(does(never, CREATE))),
    (p("create"), Broken(does(more, GET))),
    (p("create"), Broken(swallows(CREATE))),
    (p("mount"), Broken(does(more, MOUNT))),
    (p("mount"), Broken(refuses(UNMOUNT))),
    (p("mount"), Broken(says(UNMOUNT, {"Err": "busy"}))),
)
