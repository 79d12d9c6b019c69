"""Strays: files that were meant to be found, and that no look-up finds."""

import os
from pathlib import Path

import pytest

from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from tests.plugin_directories import PluginDirectories, make_socket, unreadable


@pytest.fixture
def place(tmp_path: Path) -> PluginDirectories:
    """Empty directories."""
    return PluginDirectories(tmp_path)


def ignored_in(place: PluginDirectories) -> dict[str, str]:
    """The reasons, by path under the directories' own."""
    discovery = FilesystemDiscovery(place.sockets, (place.specs, place.more_specs))
    return {
        os.path.relpath(ignored.path, place.base): ignored.reason for ignored in discovery.ignored()
    }


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
def test_a_file_with_a_wrong_name_or_in_a_wrong_directory_is_a_stray(
    place: PluginDirectories, path: str, reason: str
) -> None:
    """Each ignored file has the reason why it is not found."""
    make(place, path)

    assert ignored_in(place) == {path: reason}


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
def test_a_file_whose_ending_is_almost_right_is_a_stray(
    place: PluginDirectories, path: str, reason: str, name: str
) -> None:
    """It is misspelt, in another case or not the last; the ignored file has a plugin's name."""
    make(place, path)

    assert ignored_in(place) == {path: reason}
    (ignored,) = FilesystemDiscovery(place.sockets, (place.specs, place.more_specs)).ignored()
    assert ignored.name == name


def test_a_regular_file_with_almost_the_name_of_a_socket_or_spec_is_a_stray(
    place: PluginDirectories,
) -> None:
    """This holds in the directory of sockets, where not even a correct spec would be read."""
    (place.sockets / "a.sock.bak").write_text("")
    (place.sockets / "b.sepc").write_text("tcp://h:1")

    assert ignored_in(place) == {
        "run/a.sock.bak": "its name has to end in .sock",
        "run/b.sepc": "*.spec is not looked for in this directory, if that was meant by its ending",
    }


@pytest.mark.parametrize(
    "name", ["a.txt", "a.conf", "a.js", "a.so", "a.lock", "a.pem", "a", ".a.spec.swp", "a.specific"]
)
def test_a_file_with_an_unrelated_ending_is_no_stray(place: PluginDirectories, name: str) -> None:
    """Examples are libraries, locks, certificates and an editor's own files."""
    (place.specs / name).write_text("")

    assert ignored_in(place) == {}


def test_a_file_of_the_wrong_type_is_a_stray(place: PluginDirectories) -> None:
    """A regular file is no socket, a directory or a socket no spec, and a link may lead nowhere."""
    (place.sockets / "a.sock").write_text("")
    (place.specs / "b.spec").mkdir()
    (place.specs / "c.json").symlink_to(place.base / "none")
    make_socket(place.specs / "d.spec")
    make_socket(place.specs / "e")

    assert ignored_in(place) == {
        "run/a.sock": "it is not a socket",
        "etc/b.spec": "it is not a regular file",
        "etc/c.json": "it cannot be looked at: No such file or directory",
        "etc/d.spec": "it is not a regular file",
        "etc/e": "sockets are not looked for in this directory",
    }


def test_plugins_that_are_found_and_unrelated_files_are_no_strays(place: PluginDirectories) -> None:
    """Plugins may be flat or nested, and linked; a note beside them is unrelated."""
    for path in ["run/a.sock", "run/b/b.sock", "etc/a.spec", "etc/b/b.json", "etc/README"]:
        make(place, path)
    (place.sockets / "c.sock").symlink_to(place.sockets / "a.sock")
    (place.sockets / "notes.txt").write_text("")
    (place.sockets / "notes").symlink_to(place.base / "none")

    assert ignored_in(place) == {}


def test_an_unreadable_or_missing_directory_has_no_strays(place: PluginDirectories) -> None:
    """A scan is what reports that it cannot be read."""
    make(place, "etc/.spec")
    place.more_specs.rmdir()

    with unreadable(place.specs):
        assert ignored_in(place) == {}


def test_no_file_is_both_a_listed_plugin_and_a_stray(place: PluginDirectories) -> None:
    """The first candidate of each name in a scan is not among the strays."""
    for path in ["run/a.sock", "run/a.socket", "run/b/b.sock", "run/b/c.sock", "etc/.spec"]:
        make(place, path)

    discovery = FilesystemDiscovery(place.sockets, (place.specs, place.more_specs))
    found = {discovery.candidates(name)[0].path for name in discovery.scan()}

    assert len(found) == 2
    assert found.isdisjoint({ignored.path for ignored in discovery.ignored()})
