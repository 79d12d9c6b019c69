"""GraphDriver (protocol.md B8): never against one that an engine uses, for Init is sent."""

from typing import Any

from moby_plugins.checks.answer import folded
from moby_plugins.checks.check import advise, check, fail, require
from moby_plugins.checks.probe import Probe
from moby_plugins.domain.http import OK

SUBSYSTEM = "GraphDriver"
NOT_FOUND = 404


def method(name: str) -> str:
    """A method's whole name."""
    return f"GraphDriver.{name}"


def initialised(plugin: Probe, **changes: Any) -> Probe:
    """The plugin after Init with a home of its own; Cleanup comes at the end."""
    args = {"Home": str(plugin.directory()), "Opts": [], "UIDMaps": [], "GIDMaps": []} | changes
    plugin.make(method("Init"), args, method("Cleanup"), {})
    return plugin


def layer(plugin: Probe, parent: str = "", how: str = "Create") -> str:
    """The id of a new layer, removed at the end."""
    layer_id = plugin.id()
    args = {"ID": layer_id, **({"Parent": parent} if parent else {})}
    plugin.make(method(how), args, method("Remove"), {"ID": layer_id})
    return layer_id


def mounted(plugin: Probe, layer_id: str) -> str:
    """Where a layer is mounted; put back at the end."""
    told = plugin.make(method("Get"), {"ID": layer_id}, method("Put"), {"ID": layer_id}).get("dir")
    if not isinstance(told, str) or not told.startswith("/"):
        fail(f"Dir is {told!r}, and no path")
    return told


def exists(plugin: Probe, layer_id: str) -> bool:
    """What Exists tells; any failure means no."""
    answer = plugin.send(method("Exists"), {"ID": layer_id})
    return not answer.error and answer.fields.get("exists") is True


@check(SUBSYSTEM, "init", expects="Init with a home and nothing else succeeds", source="B8")
def init(plugin: Probe) -> None:
    initialised(plugin)


@check(
    SUBSYSTEM,
    "init with null",
    expects="Init takes Opts, UIDMaps and GIDMaps that are null",
    source="B0, B8",
)
def init_with_null(plugin: Probe) -> None:
    initialised(plugin, Opts=None, UIDMaps=None, GIDMaps=None)


@check(
    SUBSYSTEM,
    "capabilities",
    expects="Capabilities answers Capabilities, with ReproducesExactDiffs, or 404",
    source="B8",
)
def capabilities(plugin: Probe) -> None:
    answer = initialised(plugin).send(method("Capabilities"), {})
    if answer.status == NOT_FOUND:
        return
    require(answer.status == OK, answer)
    told = folded(answer.fields.get("capabilities"), f"{answer}: not under Capabilities")
    require(isinstance(told.get("reproducesexactdiffs", False), bool), answer)


@check(
    SUBSYSTEM,
    "status",
    expects="Status answers pairs of texts; a failure means none",
    source="B8",
)
def status(plugin: Probe) -> None:
    answer = initialised(plugin).send(method("Status"), {})
    advise(not answer.error, answer)
    for pair in answer.fields.get("status") or []:
        texts = isinstance(pair, list) and all(isinstance(text, str) for text in pair)
        require(texts and len(pair) == 2, f"{pair!r} is no pair of texts")  # noqa: PLR2004


@check(SUBSYSTEM, "create", expects="a layer exists once Create has succeeded", source="B8")
def create(plugin: Probe) -> None:
    layer_id = layer(initialised(plugin))
    require(exists(plugin, layer_id), "Exists denies it")


@check(
    SUBSYSTEM,
    "create read-write",
    expects="a layer exists once CreateReadWrite on top of another has succeeded",
    source="B8",
)
def create_read_write(plugin: Probe) -> None:
    below = layer(initialised(plugin))
    require(exists(plugin, layer(plugin, below, "CreateReadWrite")), "Exists denies it")


@check(
    SUBSYSTEM,
    "exists",
    expects="Exists is false, or an error, for a layer that there is not",
    source="B8",
)
def exists_of_unknown(plugin: Probe) -> None:
    require(not exists(initialised(plugin), plugin.id()), "it exists")


@check(
    SUBSYSTEM, "get", expects="Get tells the directory of a layer, an absolute path", source="B8"
)
def get(plugin: Probe) -> None:
    mounted(plugin, layer(initialised(plugin)))


@check(
    SUBSYSTEM,
    "get of unknown",
    expects="Get of a layer that there is not is an error",
    source="B8",
)
def get_of_unknown(plugin: Probe) -> None:
    initialised(plugin).refused(method("Get"), {"ID": plugin.id()})


@check(
    SUBSYSTEM,
    "put",
    expects="Put succeeds, and the layer can be had again, at the same place",
    source="B8",
)
def put(plugin: Probe) -> None:
    layer_id = layer(initialised(plugin))
    first = mounted(plugin, layer_id)
    plugin.call(method("Put"), {"ID": layer_id})
    second = mounted(plugin, layer_id)
    require(first == second, f"first {first!r}, then {second!r}")


@check(
    SUBSYSTEM,
    "metadata",
    expects="GetMetadata answers Metadata, texts by name, or nothing",
    source="B8",
)
def metadata(plugin: Probe) -> None:
    layer_id = layer(initialised(plugin))
    told = plugin.call(method("GetMetadata"), {"ID": layer_id}).get("metadata") or {}
    texts = isinstance(told, dict) and all(isinstance(text, str) for text in told.values())
    require(texts, f"Metadata is {told!r}")


@check(SUBSYSTEM, "remove", expects="a layer is gone once Remove has succeeded", source="B8")
def remove(plugin: Probe) -> None:
    layer_id = layer(initialised(plugin))
    plugin.call(method("Remove"), {"ID": layer_id})
    require(not exists(plugin, layer_id), "it still exists")


@check(SUBSYSTEM, "cleanup", expects="Cleanup succeeds, and so does Init after it", source="B8")
def cleanup(plugin: Probe) -> None:
    answer = initialised(plugin).send(method("Cleanup"), {})
    require(answer.status != OK or not answer.error, answer)
    advise(not answer.error, f"{answer}; engines do without")
    initialised(plugin)
