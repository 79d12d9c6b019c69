"""Files that were meant to be found, and that no look-up finds."""

import os
from pathlib import Path

import pytest

from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from tests.plugin_directories import PluginDirectories, make_socket, unreadable


@pytest.fixture
def place(tmp_path: Path) -> PluginDirectories:
    """Empty directories."""
    return PluginDirectories(tmp_path)


def strays(place: PluginDirectories) -> dict[str, str]:
    """The reasons, by path under the directories' own."""
    discovery = FilesystemDiscovery(place.sockets, (place.specs, place.more_specs))
    return {os.path.relpath(stray.path, place.base): stray.reason for stray in discovery.ignored()}


def make(place: PluginDirectories, path: str) -> None:
    """A socket or a spec, as its place says: those of ``run`` are sockets."""
    where = place.base / path
    where.parent.mkdir(exist_ok=True)
    if path.startswith("run") and not path.endswith((".spec", ".json")):
        make_socket(where)
    else:
        where.write_text("tcp://h:1")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("run/a.socket", "a socket's name has to end in .sock"),
        ("run/a", "a socket's name has to end in .sock"),
        ("run/a/a", "a socket's name has to end in .sock"),
        ("run/.sock", "'' cannot be a plugin's name"),
        ("etc/.spec", "'' cannot be a plugin's name"),
        ("etc/..json", "'.' cannot be a plugin's name"),
        ("usr/a\\b.spec", r"'a\\b' cannot be a plugin's name"),
        ("run/a/b.sock", "in the directory a it would have to be called a.sock"),
        ("etc/a/b.json", "in the directory a it would have to be called a.json"),
        ("run/a.spec", "*.spec is not looked for in this directory"),
        ("run/a.json", "*.json is not looked for in this directory"),
        ("etc/a.sock", "*.sock is not looked for in this directory"),
    ],
)
def test_what_is_called_wrongly_or_lies_elsewhere_is_a_stray(
    place: PluginDirectories, path: str, reason: str
) -> None:
    """Each with what keeps it from being found."""
    make(place, path)

    assert strays(place) == {path: reason}


@pytest.mark.parametrize(
    ("path", "reason", "name"),
    [
        ("etc/a.sepc", "its name has to end in .spec", "a"),
        ("etc/a.SPEC", "its name has to end in .spec", "a"),
        ("etc/a.b.jsn", "its name has to end in .json", "a.b"),
        ("etc/a/a.JSON", "its name has to end in .json", "a"),
        ("etc/a.spec.txt", "its name has to end in .spec", "a"),
        ("etc/A.JSON.bak", "its name has to end in .json", "A"),
        ("etc/a.json~", "its name has to end in .json", "a"),
        ("run/a.SOCK", "a socket's name has to end in .sock", "a"),
        ("run/a.sock.bak", "a socket's name has to end in .sock", "a"),
    ],
)
def test_an_ending_that_was_meant_for_another_is_a_stray(
    place: PluginDirectories, path: str, reason: str, name: str
) -> None:
    """With a mistake in it, in another case, or with another one after it; it has a name."""
    make(place, path)

    assert strays(place) == {path: reason}
    (stray,) = FilesystemDiscovery(place.sockets, (place.specs, place.more_specs)).ignored()
    assert stray.name == name


def test_a_copy_of_no_socket_is_told_all_the_same(place: PluginDirectories) -> None:
    """A regular file beside the sockets; a spec there would be of no use either."""
    (place.sockets / "a.sock.bak").write_text("")
    (place.sockets / "b.sepc").write_text("tcp://h:1")

    assert strays(place) == {
        "run/a.sock.bak": "its name has to end in .sock",
        "run/b.sepc": "*.spec is not looked for in this directory, if that was meant by its ending",
    }


@pytest.mark.parametrize(
    "name", ["a.txt", "a.conf", "a.js", "a.so", "a.lock", "a.pem", "a", ".a.spec.swp", "a.specific"]
)
def test_an_ending_of_its_own_is_none(place: PluginDirectories, name: str) -> None:
    """Libraries, locks, certificates, and an editor's own files."""
    (place.specs / name).write_text("")

    assert strays(place) == {}


def test_what_is_of_the_wrong_kind_is_a_stray(place: PluginDirectories) -> None:
    """A regular file is not a socket, a directory no spec, and a link to nothing is nothing."""
    (place.sockets / "a.sock").write_text("")
    (place.specs / "b.spec").mkdir()
    (place.specs / "c.json").symlink_to(place.base / "none")
    make_socket(place.specs / "d.spec")
    make_socket(place.specs / "e")

    assert strays(place) == {
        "run/a.sock": "it is not a socket",
        "etc/b.spec": "it is not a regular file",
        "etc/c.json": "it cannot be looked at: No such file or directory",
        "etc/d.spec": "it is not a regular file",
        "etc/e": "sockets are not looked for in this directory",
    }


def test_what_is_found_and_what_nobody_meant_are_none(place: PluginDirectories) -> None:
    """Flat or nested, linked or not; a note beside them is a note."""
    for path in ["run/a.sock", "run/b/b.sock", "etc/a.spec", "etc/b/b.json", "etc/README"]:
        make(place, path)
    (place.sockets / "c.sock").symlink_to(place.sockets / "a.sock")
    (place.sockets / "notes.txt").write_text("")
    (place.sockets / "notes").symlink_to(place.base / "none")

    assert strays(place) == {}


def test_a_directory_that_cannot_be_read_has_none_to_tell(place: PluginDirectories) -> None:
    """Nor has one that is missing; a scan says so."""
    make(place, "etc/.spec")
    place.more_specs.rmdir()

    with unreadable(place.specs):
        assert strays(place) == {}


def test_found_and_stray_never_meet(place: PluginDirectories) -> None:
    """Whatever a scan lists has a candidate that is not a stray."""
    for path in ["run/a.sock", "run/a.socket", "run/b/b.sock", "run/b/c.sock", "etc/.spec"]:
        make(place, path)

    discovery = FilesystemDiscovery(place.sockets, (place.specs, place.more_specs))
    found = {discovery.candidates(name)[0].path for name in discovery.scan()}

    assert len(found) == 2
    assert found.isdisjoint({stray.path for stray in discovery.ignored()})
