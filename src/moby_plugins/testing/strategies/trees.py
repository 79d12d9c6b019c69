"""Directory trees as discovery may find them: plugins, and what only looks like one."""

import os
import socket
from pathlib import Path
from typing import Literal, TypeAlias

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from moby_plugins.testing.strategies.values import names

Kind: TypeAlias = Literal["socket", "file", "directory", "link"]

# Two of each kind, so that the same name is met in several places.
_FEW_NAMES = ("a", "b", "a.sock", "b.spec")
_SUFFIXES = (".sock", ".spec", ".json", ".SPEC", "")
_DIRECTORIES = ("run", "etc", "usr")
_CONTENTS = ("unix:///x.sock", "tcp://h:1", '{"Addr": "tcp://h:2"}', "", "no address")


@frozen
class TreeEntry:
    """What lies at ``path``, in the tree; ``content`` is a file's, or where a link leads."""

    path: str
    kind: Kind
    content: str = ""


@frozen
class PluginTree:
    """Directories of sockets (``run``) and of specs (``etc``, ``usr``), and what lies in them."""

    entries: tuple[TreeEntry, ...]

    @property
    def names(self) -> set[str]:
        """Every name that a plugin in it might go by, with any suffix or without."""
        parts = {part for entry in self.entries for part in entry.path.split("/")[1:]}
        return parts | {part[: -len(suffix)] for part in parts for suffix in _SUFFIXES if suffix}

    def write(self, base: Path) -> None:
        """Make it below ``base``, which is there; an entry whose place is taken is left out.

        Raises ``OSError`` where the file system does not let it.
        """
        for directory in _DIRECTORIES:
            (base / directory).mkdir()
        for entry in self.entries:
            path = base / entry.path
            if path.parent.is_dir() and not os.path.lexists(path):
                _make(path, entry, base)


def plugin_trees(name: SearchStrategy[str] | None = None) -> SearchStrategy[PluginTree]:
    """Trees of up to a dozen entries: flat and nested, right and wrong suffixes, links, loops.

    ``name`` says what to call things; by default a few names that meet often, and any other.
    """
    name = st.sampled_from(_FEW_NAMES) | names() if name is None else name
    suffixes = st.sampled_from(_SUFFIXES)
    flat = st.tuples(name, suffixes).map("".join)
    nested = st.tuples(name, suffixes).map(lambda pair: f"{pair[0]}/{pair[0]}{pair[1]}")
    astray = st.tuples(name, flat).map("/".join)
    places = st.tuples(st.sampled_from(_DIRECTORIES), flat | nested | astray).map("/".join)
    return st.lists(_entries(places), max_size=12).map(_with_parents)


def _entries(places: SearchStrategy[str]) -> SearchStrategy[TreeEntry]:
    return st.one_of(
        st.builds(TreeEntry, places, st.just("socket")),
        st.builds(TreeEntry, places, st.just("file"), st.sampled_from(_CONTENTS)),
        st.builds(TreeEntry, places, st.just("directory")),
        st.builds(TreeEntry, places, st.just("link"), places),
    )


def _with_parents(entries: list[TreeEntry]) -> PluginTree:
    made: list[TreeEntry] = []
    for entry in entries:
        parent, _, _ = entry.path.rpartition("/")
        if "/" in parent:
            made.append(TreeEntry(parent, "directory"))
        made.append(entry)
    return PluginTree(tuple(made))


def _make(path: Path, entry: TreeEntry, base: Path) -> None:
    if entry.kind == "directory":
        path.mkdir()
    elif entry.kind == "file":
        path.write_text(entry.content)
    elif entry.kind == "link":
        path.symlink_to(base / entry.content)
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.fspath(path))
