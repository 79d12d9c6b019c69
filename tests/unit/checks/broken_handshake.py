"""A broken plugin for each check of the handshake."""

from itertools import count
from typing import Any

from attrs import evolve

from moby_plugins import Request, Response, TLSOptions
from moby_plugins.domain.http import App
from tests.unit.checks.broken import (
    OPTIONS,
    Broken,
    adds,
    after,
    at_once,
    body_of,
    does,
    edits,
    refuses,
    says,
    warned,
)

ACTIVATE = "Plugin.Activate"


def created(request: Request, good: App) -> Response:
    """The good answer with another status of success."""
    return evolve(good(request), status=201)


def unread(request: Request, good: App) -> Any:
    """What is left of a body that was not read is taken for the next request."""
    return Response(400, b"bad request") if request.read() else good(request)


def numbered() -> Any:
    """Another manifest each time."""
    numbers = count()
    return lambda _, __: {"Implements": [f"VolumeDriver{next(numbers)}"]}


BROKEN = {
    "Plugin: handshake succeeds": Broken(does(created, ACTIVATE)),
    "Plugin: manifest shape": Broken(says(ACTIVATE, {"Implements": "VolumeDriver"})),
    "Plugin: names are exact": Broken(says(ACTIVATE, {"Implements": ["volumedriver"]})),
    "Plugin: names are known": warned(says(ACTIVATE, {"Implements": ["WeatherStation"]})),
    "Plugin: handshake repeats": Broken(does(numbered(), ACTIVATE)),
    "Plugin: handshakes side by side": Broken(at_once(ACTIVATE)),
    "Plugin: one call after the other": Broken(
        after(49, lambda _, __: Response(503, b"enough"), ACTIVATE)
    ),
    "Plugin: handshake is quick": evolve(warned(adds(ACTIVATE)), delay=1.5),
    "Plugin: content type": warned(
        does(lambda request, good: evolve(good(request), headers={"content-type": "text/plain"}))
    ),
    "Plugin: exact spelling": warned(
        edits(ACTIVATE, lambda told: {"implements": told["Implements"]})
    ),
    "Plugin: unknown method": Broken(does(lambda _, __: {}, "Plugin.MobyPluginsCheck")),
    "Plugin: body of the handshake": Broken(does(unread, ACTIVATE)),
    "Plugin: answer given up": Broken(after(3, lambda _, __: {"Implements": None}, ACTIVATE)),
    "Plugin: encryption": evolve(warned(adds(ACTIVATE)), addr="tcp://192.0.2.1:80"),
    "Plugin: spec directory": warned(
        adds(ACTIVATE), evolve(OPTIONS, path="/root/.config/docker/plugins/good.json")
    ),
}


def trailing(request: Request, good: App) -> bytes:
    """Something behind the object."""
    return body_of(good(request)) + b"\n[]"


# More ways for the same checks.
MORE = (
    ("Plugin: handshake succeeds", Broken(refuses(ACTIVATE))),
    ("Plugin: manifest shape", Broken(says(ACTIVATE, b"VolumeDriver"))),
    ("Plugin: manifest shape", Broken(says(ACTIVATE, None))),
    ("Plugin: manifest shape", Broken(says(ACTIVATE, {"Implements": []}))),
    ("Plugin: manifest shape", Broken(says(ACTIVATE, {"Implements": [1]}))),
    ("Plugin: names are exact", Broken(says(ACTIVATE, {"Implements": ["AuthZPlugin"]}))),
    ("Plugin: names are known", warned(says(ACTIVATE, {"Implements": ["authz", "authz"]}))),
    ("Plugin: exact spelling", warned(does(trailing, ACTIVATE))),
    ("Plugin: exact spelling", warned(says(ACTIVATE, b"404 page not found"))),
    (
        "Plugin: encryption",
        evolve(warned(adds(ACTIVATE)), addr="tcp://127.0.0.1:80", tls=TLSOptions(ca_file="x")),
    ),
    (
        "Plugin: encryption",
        evolve(
            warned(adds(ACTIVATE)),
            addr="https://192.0.2.1:80",
            tls=TLSOptions(insecure_skip_verify=True),
        ),
    ),
    ("Plugin: unknown method", warned(refuses("Plugin.MobyPluginsCheck"))),
)
