"""Properties of any directories of plugins: scan and look-up agree."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import example, given, settings

from moby_plugins import InvalidPluginNameError, Plugin, PluginNotFoundError, SpecError
from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from moby_plugins.testing.strategies import PluginTree, TreeEntry, plugin_trees

DIRECTORY = TreeEntry("etc/a", "directory")
NESTED = TreeEntry("etc/a/a.spec", "file", "tcp://h:1")
LOOP = TreeEntry("run/a.sock", "link", "run/a.sock")
ASTRAY = TreeEntry("run/a.sock", "link", "etc/a/a.spec")


def found(discovery: FilesystemDiscovery, name: str) -> Plugin | SpecError | None:
    """What a look-up gives: a plugin, a spec that is no use, or nothing."""
    try:
        return discovery.lookup(name)
    except SpecError as error:
        return error
    except (PluginNotFoundError, InvalidPluginNameError):
        return None


def places(base: Path, name: str) -> Iterator[Path]:
    """Where the plugin is, the first place first: a socket in ``run``, or a spec elsewhere."""
    for directory in ("run", "etc", "usr"):
        for suffix in (".sock",) if directory == "run" else (".spec", ".json"):
            flat = base / directory / f"{name}{suffix}"
            for path in (flat, base / directory / name / flat.name):
                if path.is_socket() if directory == "run" else path.is_file():
                    yield path


@settings(max_examples=max(50, settings().max_examples))
@given(plugin_trees())
@example(PluginTree((DIRECTORY, NESTED)))
@example(PluginTree((DIRECTORY, NESTED, LOOP)))
@example(PluginTree((DIRECTORY, NESTED, ASTRAY)))
def test_a_scan_lists_what_a_look_up_finds_and_nothing_else(tree: PluginTree) -> None:
    """Every name is listed and found, at its first place in the search order, or neither."""
    with tempfile.TemporaryDirectory(prefix="mp-") as directory:
        base = Path(directory)
        tree.write(base)
        discovery = FilesystemDiscovery(base / "run", (base / "etc", base / "usr"))

        names = discovery.scan()
        results = {name: found(discovery, name) for name in {*names, *tree.names}}

        assert names == sorted(name for name, result in results.items() if result is not None)
        for name in names:
            place, result = next(places(base, name)), results[name]
            if isinstance(result, SpecError):
                assert result.file == str(place)
            elif isinstance(result, Plugin) and place.is_socket():
                assert result.address.path == str(place)
