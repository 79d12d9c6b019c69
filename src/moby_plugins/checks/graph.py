"""Checks of GraphDriver (protocol.md B8).

They call Init, so never run them on a driver that an engine uses.
"""

import io
import tarfile
from typing import Any

from moby_plugins.checks.answer import folded, texts_or_empty
from moby_plugins.checks.outcome import check, fail, items, require, warn
from moby_plugins.checks.session import Session
from moby_plugins.domain.http import OK

SUBSYSTEM = "GraphDriver"
NOT_FOUND = 404

FILE, CONTENT = "moby-plugins-check", b"a layer\n"
KINDS = (0, 1, 2)


def method(name: str) -> str:
    """Return the name of a method with its subsystem: ``GraphDriver.Get`` for ``Get``."""
    return f"GraphDriver.{name}"


def initialised(plugin: Session, **changes: Any) -> Session:
    """Call Init with a new home directory, and Cleanup when the check ends; return ``plugin``.

    ``changes`` replace arguments of Init.
    """
    args = {"Home": str(plugin.directory()), "Opts": [], "UIDMaps": [], "GIDMaps": []} | changes
    plugin.make(method("Init"), args, method("Cleanup"), {})
    return plugin


def layer(plugin: Session, parent: str = "", how: str = "Create") -> str:
    """Create a layer, which is removed when the check ends, and return its ID.

    ``how`` is the method to call: Create or CreateReadWrite.
    """
    layer_id = plugin.id()
    args = {"ID": layer_id, **({"Parent": parent} if parent else {})}
    plugin.make(method(how), args, method("Remove"), {"ID": layer_id})
    return layer_id


def mounted(plugin: Session, layer_id: str) -> str:
    """Mount a layer with Get, and call Put when the check ends; return the path."""
    path = plugin.make(method("Get"), {"ID": layer_id}, method("Put"), {"ID": layer_id}).get("dir")
    if not isinstance(path, str) or not path.startswith("/"):
        fail(f"Dir is {path!r}, not an absolute path")
    return path


def exists(plugin: Session, layer_id: str) -> bool:
    """Return whether the plugin says that a layer exists; an error counts as false."""
    answer = plugin.send(method("Exists"), {"ID": layer_id})
    return not answer.error and answer.fields.get("exists") is True


@check(SUBSYSTEM, source="B8")
def init(plugin: Session) -> None:
    """Init succeeds with a home directory alone, without options and without maps of ids."""
    initialised(plugin)


@check(SUBSYSTEM, source="B0, B8")
def init_with_null(plugin: Session) -> None:
    """Init accepts Opts, UIDMaps and GIDMaps that are null."""
    initialised(plugin, Opts=None, UIDMaps=None, GIDMaps=None)


@check(SUBSYSTEM, source="B8")
def capabilities(plugin: Session) -> None:
    """the method Capabilities returns an object Capabilities, whose ReproducesExactDiffs is true or
    false; or its status is 404.
    """
    answer = initialised(plugin).send(method("Capabilities"), {})
    if answer.status == NOT_FOUND:
        return
    require(answer.status == OK, answer)
    fields = folded(answer.fields.get("capabilities"), f"{answer}: Capabilities is not an object")
    require(isinstance(fields.get("reproducesexactdiffs", False), bool), answer)


@check(SUBSYSTEM, source="B8")
def status(plugin: Session) -> None:
    """Status returns pairs of strings; if the call fails, engines go on without any."""
    answer = initialised(plugin).send(method("Status"), {})
    warn(not answer.error, answer)
    for pair in items(answer.fields.get("status"), answer):
        texts = isinstance(pair, list) and all(isinstance(text, str) for text in pair)
        require(texts and len(pair) == 2, f"{pair!r} is not a pair of strings")  # noqa: PLR2004


@check(SUBSYSTEM, source="B8")
def create(plugin: Session) -> None:
    """a layer exists once Create has succeeded."""
    layer_id = layer(initialised(plugin))
    require(exists(plugin, layer_id), "Exists is not true for it")


@check(SUBSYSTEM, "create read-write", source="B8")
def create_read_write(plugin: Session) -> None:
    """a layer exists once CreateReadWrite on top of another has succeeded."""
    below = layer(initialised(plugin))
    require(exists(plugin, layer(plugin, below, "CreateReadWrite")), "Exists is not true for it")


@check(SUBSYSTEM, "exists", source="B8")
def exists_of_unknown(plugin: Session) -> None:
    """Exists of an unknown layer is false, or an error."""
    require(not exists(initialised(plugin), plugin.id()), "Exists is true for an unknown layer")


@check(SUBSYSTEM, source="B8")
def get(plugin: Session) -> None:
    """Get returns the directory of a layer, an absolute path."""
    mounted(plugin, layer(initialised(plugin)))


@check(SUBSYSTEM, source="B8")
def get_of_unknown(plugin: Session) -> None:
    """Get of an unknown layer is an error."""
    initialised(plugin).refused(method("Get"), {"ID": plugin.id()})


@check(SUBSYSTEM, source="B8")
def put(plugin: Session) -> None:
    """Put succeeds, and Get returns the layer again, with the same path."""
    layer_id = layer(initialised(plugin))
    first = mounted(plugin, layer_id)
    plugin.call(method("Put"), {"ID": layer_id})
    second = mounted(plugin, layer_id)
    require(first == second, f"first {first!r}, then {second!r}")


@check(SUBSYSTEM, source="B8")
def metadata(plugin: Session) -> None:
    """GetMetadata returns Metadata, a map of names to strings, or nothing."""
    layer_id = layer(initialised(plugin))
    entries = plugin.call(method("GetMetadata"), {"ID": layer_id}).get("metadata")
    texts_or_empty(entries, f"Metadata is {entries!r}")


@check(SUBSYSTEM, source="B8")
def remove(plugin: Session) -> None:
    """a layer is gone once Remove has succeeded."""
    layer_id = layer(initialised(plugin))
    plugin.call(method("Remove"), {"ID": layer_id})
    require(not exists(plugin, layer_id), "it still exists")


@check(SUBSYSTEM, source="B8")
def cleanup(plugin: Session) -> None:
    """Cleanup succeeds, and so does Init after it."""
    answer = initialised(plugin).send(method("Cleanup"), {})
    require(answer.status != OK or not answer.error, answer)
    warn(not answer.error, f"{answer}; engines ignore this error")
    initialised(plugin)


def filled(plugin: Session) -> tuple[str, int]:
    """Create a layer with one file; return its ID and the size that ApplyDiff returned."""
    layer_id = layer(plugin)
    path = f"{method('ApplyDiff')}?id={layer_id}&parent="
    answer = plugin.target.send(path, iter([archive()]))
    require(answer.status == OK and not answer.error, answer)
    size = answer.fields.get("size", 0)
    require(isinstance(size, int), f"Size is {size!r}")
    return layer_id, size


def archive() -> bytes:
    """Return a tar archive with one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo(FILE)
        entry.size = len(CONTENT)
        tar.addfile(entry, io.BytesIO(CONTENT))
    return file.getvalue()


@check(SUBSYSTEM, source="B8")
def apply_diff(plugin: Session) -> None:
    """ApplyDiff accepts a tar archive in chunks, with the ids in the query; Size is a number."""
    _, size = filled(initialised(plugin))
    require(size >= 0, f"Size is {size}")


@check(SUBSYSTEM, source="B8")
def diff(plugin: Session) -> None:
    """Diff returns a tar archive with the files of ApplyDiff."""
    layer_id, _ = filled(initialised(plugin))
    answer = plugin.send(method("Diff"), {"ID": layer_id})
    require(answer.status == OK, answer)
    try:
        with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
            names = [name.removeprefix("./") for name in tar.getnames()]
            content = tar.extractfile(tar.getnames()[names.index(FILE)]) if FILE in names else None
            require(content and content.read() == CONTENT, f"{FILE} is not in it: {names}")
    except tarfile.TarError as error:
        fail(f"{len(answer.body)} bytes that are no tar archive: {error}")


@check(SUBSYSTEM, source="B8")
def diff_of_unknown(plugin: Session) -> None:
    """Diff of an unknown layer has a status other than 200: engines take a 200 for an archive."""
    answer = initialised(plugin).send(method("Diff"), {"ID": plugin.id()})
    require(answer.status != OK, answer)


@check(SUBSYSTEM, source="B8")
def changes(plugin: Session) -> None:
    """Changes returns paths with Kind 0, 1 or 2, and those of ApplyDiff are among them."""
    layer_id, _ = filled(initialised(plugin))
    listing = plugin.call(method("Changes"), {"ID": layer_id}).get("changes")
    answer = items(listing, f"Changes is {listing!r}, not an array")
    entries = [folded(entry, f"{entry!r} is not a change") for entry in answer]
    require(all(entry.get("kind", 0) in KINDS for entry in entries), answer)
    paths = [str(entry.get("path", "")).strip("/") for entry in entries]
    require(FILE in paths, f"{FILE} is not in {paths}")


@check(SUBSYSTEM, source="B8")
def size_of_a_diff(plugin: Session) -> None:
    """DiffSize returns Size, a number that is not negative."""
    layer_id, _ = filled(initialised(plugin))
    size = plugin.call(method("DiffSize"), {"ID": layer_id}).get("size", 0)
    require(isinstance(size, int) and size >= 0, f"Size is {size!r}")
