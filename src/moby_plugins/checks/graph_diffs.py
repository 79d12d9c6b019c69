"""GraphDriver: what is in a layer (protocol.md B8)."""

import io
import tarfile

from moby_plugins.checks.answer import folded
from moby_plugins.checks.check import check, fail, require
from moby_plugins.checks.graph import initialised, layer, method
from moby_plugins.checks.probe import Probe
from moby_plugins.domain.http import OK

SUBSYSTEM = "GraphDriver"
FILE, CONTENT = "moby-plugins-check", b"a layer\n"
KINDS = (0, 1, 2)


def filled(plugin: Probe) -> tuple[str, int]:
    """The id of a new layer with one file in it, and the size that ApplyDiff told."""
    layer_id = layer(plugin)
    target = f"{method('ApplyDiff')}?id={layer_id}&parent="
    answer = plugin.subject.send(target, iter([archive()]))
    require(answer.status == OK and not answer.error, answer)
    told = answer.fields.get("size", 0)
    require(isinstance(told, int), f"Size is {told!r}")
    return layer_id, told


def archive() -> bytes:
    """A tar archive with one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo(FILE)
        entry.size = len(CONTENT)
        tar.addfile(entry, io.BytesIO(CONTENT))
    return file.getvalue()


@check(
    SUBSYSTEM,
    "apply diff",
    expects="ApplyDiff takes a tar archive in chunks, and its ids from the query; Size is a number",
    source="B8",
)
def apply_diff(plugin: Probe) -> None:
    _, size = filled(initialised(plugin))
    require(size >= 0, f"Size is {size}")


@check(
    SUBSYSTEM,
    "diff",
    expects="Diff answers a tar archive, with what ApplyDiff put there",
    source="B8",
)
def diff(plugin: Probe) -> None:
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


@check(
    SUBSYSTEM,
    "diff of unknown",
    expects="Diff of a layer that there is not fails by status: a 200 is taken for an archive",
    source="B8",
)
def diff_of_unknown(plugin: Probe) -> None:
    answer = initialised(plugin).send(method("Diff"), {"ID": plugin.id()})
    require(answer.status != OK, answer)


@check(
    SUBSYSTEM,
    "changes",
    expects="Changes answers paths with Kind 0, 1 or 2, what ApplyDiff put there among them",
    source="B8",
)
def changes(plugin: Probe) -> None:
    layer_id, _ = filled(initialised(plugin))
    answer = plugin.call(method("Changes"), {"ID": layer_id}).get("changes") or []
    entries = [folded(entry, f"{entry!r} is no change") for entry in answer]
    require(all(entry.get("kind", 0) in KINDS for entry in entries), answer)
    paths = [str(entry.get("path", "")).strip("/") for entry in entries]
    require(FILE in paths, f"{FILE} is not in {paths}")


@check(
    SUBSYSTEM,
    "size of a diff",
    expects="DiffSize answers Size, a number that is not negative",
    source="B8",
)
def size_of_a_diff(plugin: Probe) -> None:
    layer_id, _ = filled(initialised(plugin))
    size = plugin.call(method("DiffSize"), {"ID": layer_id}).get("size", 0)
    require(isinstance(size, int) and size >= 0, f"Size is {size!r}")
