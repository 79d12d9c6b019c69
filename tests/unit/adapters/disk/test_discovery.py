"""Discovery on disk: the contract, the test vectors, and which file goes before another."""

import json
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import InvalidPluginNameError, Plugin, PluginNotFoundError, TLSOptions
from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from moby_plugins.ports import Discovery
from moby_plugins.testing.contracts import DiscoveryContract
from moby_plugins.testing.contracts.discovery import ODD_NAMES
from tests.plugin_directories import PluginDirectories, make_socket

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "discovery.json").read_text("utf-8"))


@pytest.fixture
def place(tmp_path: Path) -> PluginDirectories:
    """Empty directories."""
    return PluginDirectories(tmp_path)


class TestFilesystemDiscovery(DiscoveryContract):
    """What every discovery promises, of one on disk."""


class Tree:
    """A vector's tree, whose paths begin with the name of a directory."""

    def __init__(self, place: PluginDirectories) -> None:
        self._roots = {
            "SOCKETS": place.sockets,
            "SPECS1": place.specs,
            "SPECS2": place.more_specs,
            "ELSEWHERE": place.elsewhere,
        }

    def path(self, text: str) -> Path:
        """Where a path of the vectors is."""
        root, _, rest = text.partition("/")
        return self._roots[root] / rest

    def make(self, item: dict[str, str]) -> None:
        """Make one entry of the tree."""
        path = self.path(item["path"])
        match item["type"]:
            case "dir":
                path.mkdir()
            case "socket":
                make_socket(path)
            case "symlink":
                path.symlink_to(self.path(item["target"]))
            case _:
                path.write_text(item["content"])

    def address(self, text: str) -> str:
        """An address of the vectors, with the path where the socket is."""
        scheme, _, rest = text.partition("://")
        return f"unix://{self.path(rest)}" if scheme == "unix" else text


def outcome(discovery: Discovery, name: str) -> dict[str, Any]:
    """What a look-up came to, in the words of the vectors."""
    try:
        return {"addr": discovery.lookup(name).addr}
    except PluginNotFoundError:
        return {"not_found": True}


@pytest.mark.parametrize("row", VECTORS.values(), ids=VECTORS)
def test_each_tree_of_the_test_vectors_has_the_outcome_given_there(
    row: dict[str, Any], place: PluginDirectories
) -> None:
    """Each row of ``discovery.json`` gives a tree, and what scans and look-ups find in it."""
    tree, want = Tree(place), row["want"]
    for item in row["tree"]:
        tree.make(item)

    looked_up = {name: outcome(place.discovery, name) for name in want["lookup"]}

    assert place.discovery.scan() == want["scan"]
    assert looked_up == {
        name: {"addr": tree.address(wanted["addr"])} if "addr" in wanted else wanted
        for name, wanted in want["lookup"].items()
    }


def test_a_look_up_searches_in_the_documented_order(place: PluginDirectories) -> None:
    """Sockets come before specs, one directory after the other, and flat before nested."""
    with pytest.raises(PluginNotFoundError) as caught:
        place.discovery.lookup("a")

    run, etc, usr = place.sockets, place.specs, place.more_specs
    assert caught.value.searched == tuple(
        str(path)
        for path in [
            run / "a.sock",
            run / "a/a.sock",
            etc / "a.spec",
            etc / "a/a.spec",
            etc / "a.json",
            etc / "a/a.json",
            usr / "a.spec",
            usr / "a/a.spec",
            usr / "a.json",
            usr / "a/a.json",
        ]
    )


def test_the_first_file_in_the_documented_order_decides(place: PluginDirectories) -> None:
    """Once it is removed, the next one in the order decides."""
    run, etc, usr = place.sockets, place.specs, place.more_specs
    contents = {
        etc / "a.spec": "tcp://h:1",
        etc / "a/a.spec": "tcp://h:2",
        etc / "a.json": '{"Addr": "tcp://h:3"}',
        etc / "a/a.json": '{"Addr": "tcp://h:4"}',
        usr / "a.spec": "tcp://h:5",
    }
    in_order = [run / "a.sock", run / "a/a.sock", *contents]
    for socket in in_order[:2]:
        make_socket(socket)
    for path, text in contents.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    found = []
    for path in in_order:
        found.append(place.discovery.lookup("a").addr)
        path.unlink()

    assert found == [
        f"unix://{run}/a.sock",
        f"unix://{run}/a/a.sock",
        "tcp://h:1",
        "tcp://h:2",
        "tcp://h:3",
        "tcp://h:4",
        "tcp://h:5",
    ]


def test_a_plugin_that_is_found_by_its_socket_has_tls_verification_off(
    place: PluginDirectories,
) -> None:
    """A look-up returns what ``Plugin.local`` makes, as for Docker."""
    make_socket(place.sockets / "a.sock")

    plugin = place.discovery.lookup("a")

    assert plugin == Plugin.local("a", f"unix://{place.sockets}/a.sock")


def test_a_json_spec_is_read_with_its_tls_options(place: PluginDirectories) -> None:
    """A JSON spec gives a plugin with its TLS options."""
    spec = '{"Addr": "https://h:1", "TLSConfig": {"CAFile": "/ca.pem"}}'
    (place.more_specs / "a.json").write_text(spec)

    plugin = place.discovery.lookup("a")

    assert plugin == Plugin("a", "https://h:1", TLSOptions(ca_file="/ca.pem"))


@pytest.mark.parametrize("pattern", ["{0}.sock", "{0}/{0}.sock"], ids=["flat", "nested"])
def test_the_address_of_a_socket_with_an_odd_name_has_the_right_path(
    pattern: str, place: PluginDirectories
) -> None:
    """Names that an address must escape are listed, found and reached."""
    paths = [place.sockets / pattern.format(name) for name in ODD_NAMES]
    for path in paths:
        make_socket(path)

    plugins = [place.discovery.lookup(name) for name in ODD_NAMES]

    assert place.discovery.scan() == sorted(ODD_NAMES)
    assert [plugin.name for plugin in plugins] == ODD_NAMES
    assert [plugin.address.path for plugin in plugins] == [str(path) for path in paths]
    assert all(plugin.addr.isprintable() for plugin in plugins)


def test_no_name_leads_out_of_the_directories(place: PluginDirectories) -> None:
    """A name that is a path is refused, and no spec elsewhere is read."""
    (place.elsewhere / "x.spec").write_text("tcp://evil:1")
    (place.specs / "sub").mkdir()
    (place.specs / "sub" / "x.spec").write_text("tcp://evil:1")

    for name in ["../elsewhere/x", "../../elsewhere/x", "sub/x", f"{place.elsewhere}/x"]:
        with pytest.raises(InvalidPluginNameError):
            place.discovery.lookup(name)
    assert place.discovery.scan() == []


def test_a_file_whose_name_gives_no_valid_plugin_name_is_not_listed(
    place: PluginDirectories,
) -> None:
    """A scan lists only names that a look-up would accept."""
    for file in ["..spec", "...spec", ".spec", "a\\b.spec", ".json"]:
        (place.specs / file).write_text("tcp://h:1")
    for file in [".sock", "..sock", "...sock", "a\\b.sock"]:
        make_socket(place.sockets / file)

    assert place.discovery.scan() == []


def test_missing_directories_are_no_error(tmp_path: Path) -> None:
    """On a machine without plugins a scan lists nothing, and a look-up finds nothing."""
    file = tmp_path / "file"
    file.write_text("")
    discovery = FilesystemDiscovery(tmp_path / "none", [tmp_path / "nor-this", file])

    assert discovery.scan() == []
    with pytest.raises(PluginNotFoundError):
        discovery.lookup("a")


def test_sockets_are_found_without_any_directory_for_specs(place: PluginDirectories) -> None:
    """An empty list of directories is allowed."""
    make_socket(place.sockets / "a.sock")
    place.add("b", "tcp://h:1")

    assert FilesystemDiscovery(place.sockets, ()).scan() == ["a"]


def test_the_default_directories_are_those_of_docker() -> None:
    """Discovery on disk looks where engines look."""
    assert FilesystemDiscovery() == FilesystemDiscovery(
        "/run/docker/plugins",
        ("/etc/docker/plugins", "/usr/lib/docker/plugins"),
        "/proc/self/uid_map",
    )
