"""Strategies for the inputs of discovery: names, addresses, specs, and trees of plugin files."""

import json
import os
import socket
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import evolve, frozen
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from moby_plugins.domain.address import TLS_1_2, TLS_1_3, Address, TLSOptions
from moby_plugins.domain.plugin import Manifest, Plugin, is_plugin_name
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.platforms import check_platform

# No unpaired surrogates, which are not characters, though file names may have bytes as such.
_NO_HALVES = st.characters(exclude_categories=["Cs"])
_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
# Names with characters that URL parsers and the like treat specially.
_ODD_NAMES = ("a b", "50%", "%41", "a?b#c", "a.spec", "...", ".hidden", "ü", "a\nb", "\udcff")

MAX_ITEMS = 3
INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_SPACE = st.text(" \t\r\n", max_size=3)
_TLS_KEYS = {
    "ca_file": "CAFile",
    "cert_file": "CertFile",
    "key_file": "KeyFile",
    "insecure_skip_verify": "InsecureSkipVerify",
    "exclusive_root_pools": "ExclusiveRootPools",
    "min_version": "MinVersion",
}
Kind: TypeAlias = Literal["socket", "file", "directory", "link"]
# Only a few, so that the same name occurs in several places.
_FEW_NAMES = ("a", "b", "a.sock", "b.spec")
_SUFFIXES = (".sock", ".spec", ".json", ".SPEC", "")
_DIRECTORIES = ("run", "etc", "usr")
_CONTENTS = ("unix:///x.sock", "tcp://h:1", '{"Addr": "tcp://h:2"}', "", "no address")


def texts(*, min_size: int = 0, max_size: int = 12) -> SearchStrategy[str]:
    """Draw text that JSON can represent: any characters, but no unpaired surrogates."""
    return st.text(_NO_HALVES, min_size=min_size, max_size=max_size)


def json_values() -> SearchStrategy[Any]:
    """Draw values that JSON can represent and every JSON library can read."""
    return st.recursive(
        st.none() | st.booleans() | INTEGERS | FLOATS | texts(),
        lambda inner: (
            st.lists(inner, max_size=MAX_ITEMS)
            | st.dictionaries(texts(), inner, max_size=MAX_ITEMS)
        ),
        max_leaves=4,
    )


def names() -> SearchStrategy[str]:
    """Draw names of plugins: common ones, odd ones, and any others that a file can have.

    The names are short enough for a file, and for a socket's path below a short directory.
    """
    return st.one_of(
        _LABEL, st.sampled_from(_ODD_NAMES), texts(min_size=1, max_size=8).filter(is_plugin_name)
    )


def socket_paths() -> SearchStrategy[str]:
    """Draw absolute paths that a socket can have, odd ones among them."""
    return st.lists(names(), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


def addresses() -> SearchStrategy[Address]:
    """Draw addresses of all schemes: sockets, hosts by name and number, and custom schemes."""
    hosts = st.one_of(
        st.lists(_LABEL, min_size=1, max_size=3).map(".".join).filter(_is_host),
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    )
    ports = st.integers(1, 65535).map(lambda port: f":{port}") | st.just("")
    schemes = st.sampled_from(["tcp", "http", "https", "TCP", "Https"])
    tails = st.sampled_from(["", "/", "/path", "?query"])
    return st.one_of(
        socket_paths().map(Address.of_socket),
        st.tuples(schemes, st.just("://"), hosts, ports, tails).map("".join).map(Address),
        names().map(lambda name: Address.of_socket("/" + name)),
        _LABEL.map(lambda path: Address(f"memory://{path}")),
    )


def _is_host(name: str) -> bool:
    # Two hyphens at the third position mark an internationalized label.
    return not any(label[2:4] == "--" for label in name.split("."))


def tls_options() -> SearchStrategy[TLSOptions]:
    """Draw TLS options of specs; the files do not exist."""
    files = st.sampled_from(["", "/ca.pem"]) | texts()
    return st.builds(
        TLSOptions,
        ca_file=files,
        cert_file=files,
        key_file=files,
        insecure_skip_verify=st.booleans(),
        exclusive_root_pools=st.booleans(),
        min_version=st.sampled_from([0, TLS_1_2, TLS_1_3]),
    )


def manifests() -> SearchStrategy[Manifest]:
    """Draw responses to the handshake: with subsystems of engines, and others."""
    known = st.sampled_from(["VolumeDriver", "NetworkDriver", "IpamDriver", "authz", "LogDriver"])
    return st.builds(Manifest, st.lists(known | texts(), max_size=4))


def plugins() -> SearchStrategy[Plugin]:
    """Draw plugins, before and after the handshake."""
    return st.builds(
        Plugin,
        names(),
        addresses().map(lambda address: address.text),
        st.none() | tls_options(),
        manifests(),
    )


def retry_policies() -> SearchStrategy[RetryPolicy]:
    """Draw retry policies with very short to very long waits."""
    waits = st.floats(1e-3, 1e6)
    return st.builds(
        RetryPolicy,
        initial=waits,
        factor=st.floats(1.0, 1e6),
        max_delay=waits,
        budget=st.floats(0.0, 1e6) | st.just(float("inf")),
    )


@frozen
class Spec:
    """A spec file, and the plugin that it describes. A frozen value.

    Args:
        name: The name of the plugin.
        file: The name of the file.
        data: The content of the file.
        plugin: The plugin that it describes.
    """

    name: str
    file: str
    data: bytes
    plugin: Plugin


def specs() -> SearchStrategy[Spec]:
    """Draw specs of both kinds: ``.spec`` with white space, ``.json`` with keys in any case.

    A key may be absent or null if that means the same, there may be other keys, and other
    text may follow the value.
    """
    return _plain_specs() | _json_specs()


@st.composite
def _plain_specs(draw: DrawFn) -> Spec:
    name = draw(names())
    addr = draw(addresses()).text
    # White space at the ends of a path is lost, because that around a .spec is stripped.
    plugin = Plugin.local(name, addr.strip())
    text = draw(_SPACE) + addr + draw(_SPACE)
    return Spec(name, f"/etc/docker/plugins/{name}.spec", text.encode(), plugin)


@st.composite
def _json_specs(draw: DrawFn) -> Spec:
    name = draw(names())
    addr = draw(addresses()).text
    options = draw(st.none() | tls_options())
    others = st.sampled_from(["Name", "X", "Label"])
    content: dict[str, Any] = draw(st.dictionaries(others, json_values()))
    content[_spelled(draw, "Addr")] = addr
    if options is not None:
        content[_spelled(draw, "TLSConfig")] = _tls(draw, options)
        # Without a CA file, verification is always off (protocol.md A2).
        skip = options.insecure_skip_verify or not options.ca_file
        options = evolve(options, insecure_skip_verify=skip)
    elif draw(st.booleans()):
        content[_spelled(draw, "TLSConfig")] = None
    text = draw(_SPACE) + json.dumps(content, ensure_ascii=draw(st.booleans()))
    data = (text + draw(st.sampled_from(["", "\n", " {}", "]"]))).encode()
    return Spec(name, f"/etc/docker/plugins/{name}.json", data, Plugin(name, addr, options))


def _tls(draw: DrawFn, options: TLSOptions) -> dict[str, Any]:
    content = {}
    for field, key in _TLS_KEYS.items():
        value = getattr(options, field)
        # An empty, false or zero value may also be absent or null.
        if value or draw(st.booleans()):
            content[_spelled(draw, key)] = value or draw(st.sampled_from([value, None]))
    return content


def _spelled(draw: DrawFn, key: str) -> str:
    return draw(st.sampled_from([key, key.lower(), key.upper()]))


@frozen
class TreeEntry:
    """One entry of a ``PluginTree``. A frozen value.

    Args:
        path: The entry's path in the tree.
        kind: ``"socket"``, ``"file"``, ``"directory"`` or ``"link"``.
        content: The content of a file, or the path in the tree to which a link points.
    """

    path: str
    kind: Kind
    content: str = ""


@frozen
class PluginTree:
    """The entries of three directories: one of sockets (``run``), two of specs (``etc``, ``usr``).

    Args:
        entries: The sockets, files, directories and links for ``write`` to create.
    """

    entries: tuple[TreeEntry, ...]

    @property
    def names(self) -> set[str]:
        """Every name that a plugin in this tree might have, with and without any suffix."""
        parts = {part for entry in self.entries for part in entry.path.split("/")[1:]}
        return parts | {part[: -len(suffix)] for part in parts for suffix in _SUFFIXES if suffix}

    def write(self, base: Path) -> None:
        """Create the tree on disk.

        An entry is left out if its path exists, or if its parent is not a directory.

        Args:
            base: The existing directory below which to create it.

        Raises:
            OSError: If an entry cannot be created.
        """
        for directory in _DIRECTORIES:
            (base / directory).mkdir()
        for entry in self.entries:
            path = base / entry.path
            if path.parent.is_dir() and not os.path.lexists(path):
                _make(path, entry, base)


def plugin_trees(name: SearchStrategy[str] | None = None) -> SearchStrategy[PluginTree]:
    """Draw trees of up to 12 entries, and their directories, with wrong suffixes, links and loops.

    Args:
        name: Draws the names of entries; by default often one of a few, and sometimes any other.

    Returns:
        The strategy.
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
    with_parents: list[TreeEntry] = []
    for entry in entries:
        parent, _, _ = entry.path.rpartition("/")
        if "/" in parent:
            with_parents.append(TreeEntry(parent, "directory"))
        with_parents.append(entry)
    return PluginTree(tuple(with_parents))


def _make(path: Path, entry: TreeEntry, base: Path) -> None:
    if entry.kind == "directory":
        path.mkdir()
    elif entry.kind == "file":
        path.write_text(entry.content)
    elif entry.kind == "link":
        path.symlink_to(base / entry.content)
    else:
        check_platform("a UNIX socket")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.fspath(path))
