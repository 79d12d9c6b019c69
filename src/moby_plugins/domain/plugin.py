"""Plugins: their names and manifests, the text of their specs, and the files that name them.

Sources: protocol.md A1 (where plugins are found), A2 (specs), A6 (the manifest).
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from attrs import field, frozen

from moby_plugins.domain.address import Address, TLSOptions, check_tls
from moby_plugins.domain.errors import InvalidPluginNameError, PluginError, SpecError
from moby_plugins.domain.json import first_value, fold_keys, kind_of
from moby_plugins.domain.text import quoted, shown
from moby_plugins.domain.typed import typed

# Where engines look for plugins: sockets in the one, specs in the others (protocol.md A1).
SOCKETS_PATH = "/run/docker/plugins"
SPECS_PATHS = ("/etc/docker/plugins", "/usr/lib/docker/plugins")

PROTOCOL_SCHEME_HTTP_V1 = "moby.plugins.http/v1"
"""The wire protocol's name: what ``Plugin.protocol`` is."""

# A plugin is made anew once it is active; its address is read once.
_address = lru_cache(maxsize=64)(Address)
MAX_SPEC_BYTES = 1 << 20
# An engine gives each managed plugin a directory for its socket, named by the plugin's ID.
_MANAGED_SOCKET = re.compile(r"/[0-9a-f]{64}/[^/]+\.sock\Z")


def is_plugin_name(name: str) -> bool:
    """Whether ``name`` can be a plugin's: one path component, and not a dot name."""
    return not (name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name)


def check_plugin_name(name: object) -> str:
    """``name`` again, or ``InvalidPluginNameError``, before any path is built from it."""
    if not isinstance(name, str) or not is_plugin_name(name):
        raise InvalidPluginNameError(name)
    return name


def check_any_name(name: object) -> str:
    """``name`` again, or ``InvalidPluginNameError`` for what no discovery can take.

    That is what is no text, empty, or holds NUL: a managed plugin's name has slashes.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidPluginNameError(name)
    return name


def _check_name(plugin: "Plugin", _: object, name: str) -> None:
    # Only an engine's names have slashes.
    if plugin.managed is None:
        check_plugin_name(name)
    else:
        check_any_name(name)


def _strings(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError("subsystems are given as a list of names, not as one string")
    if not isinstance(given, Iterable):
        raise TypeError(f"implements must be a list of names, not {quoted(given)}")
    names = tuple(given)
    others = {*map(type, names)} - {str}
    if others:
        raise TypeError(f"implements must be a list of names, not {quoted([*names])}")
    return names


@frozen
class Manifest:
    """A plugin's answer to the handshake (protocol.md A6). A frozen value.

    Args:
        implements: The names of the subsystems that it implements, such as ``VolumeDriver``.

    Raises:
        TypeError: For one string in place of several, or an item that is no string.
    """

    implements: tuple[str, ...] = field(default=(), converter=_strings)


@frozen(field_transformer=typed)
class Managed:
    """What only managed plugins have: a root file system that their engine keeps.

    ``rootfs`` is its path on the engine's machine. ``propagated_mount`` is the path inside it
    whose mounts that machine sees, "" for none. ``protocol`` is what the plugin speaks.
    """

    rootfs: str
    propagated_mount: str = ""
    protocol: str = PROTOCOL_SCHEME_HTTP_V1

    def scoped(self, path: str) -> str:
        """The machine's path for the plugin's ``path``; never one outside the plugin's directory.

        As engines have it, the propagated mount is a prefix of the path as it was given, even
        where it ends inside a name; only what is left is cleaned.
        """
        directory, prefix = self.rootfs, self.propagated_mount
        if prefix and path.startswith(prefix):
            path = path.removeprefix(prefix)
            directory = f"{self.rootfs.rpartition('/')[0]}/propagated-mount"
        inside: list[str] = []
        for part in path.split("/"):
            if part == "..":
                inside = inside[:-1]
            elif part not in {"", "."}:
                inside.append(part)
        return "/".join((directory, *inside))


@frozen
class Plugin:
    """A plugin as a discovery finds it: a name and a way to reach it. A frozen value.

    Args:
        name: Its name: not empty, ``.`` or ``..``, without separators and NUL.
        addr: Its address, kept without the user name and password that it may hold.
        tls_config: How to speak TLS with it, at an ``https`` address.
        manifest: What it implements: empty until the handshake. A managed plugin is not asked: its
            engine says it.
        managed: What only managed plugins have; their names have slashes and tags.

    Attributes:
        address: The address, parsed.

    Raises:
        InvalidPluginNameError: For a name that cannot be one.
        SpecError: For an address that cannot be one.
        TypeError: For ``tls_config``, ``manifest`` or ``managed`` of another type.
    """

    name: str = field(validator=_check_name)
    addr: str
    tls_config: TLSOptions | None = None
    manifest: Manifest = field(factory=Manifest)
    managed: Managed | None = field(default=None, kw_only=True)
    address: Address = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        check_tls(self.tls_config)
        # Compared here, as a validator costs a call, and plugins are made by the thousand.
        if type(self.manifest) is not Manifest:
            raise TypeError(f"manifest takes a Manifest, not {quoted(self.manifest)}")
        if self.managed is not None and type(self.managed) is not Managed:
            raise TypeError(f"managed takes a Managed, not {quoted(self.managed)}")
        address = _address(self.addr)
        object.__setattr__(self, "address", address)
        if address.concern:
            object.__setattr__(self, "addr", address.text)

    @classmethod
    def local(cls, name: str, addr: str) -> "Plugin":
        """Make a plugin as a socket or ``.spec`` gives it: its certificate is not verified (A2).

        Args:
            name: Its name.
            addr: Its address.

        Returns:
            The plugin; raises as the class does.
        """
        return cls(name, addr, TLSOptions(insecure_skip_verify=True))

    @property
    def protocol(self) -> str:
        """The wire protocol: ``moby.plugins.http/v1``, unless a managed plugin names another."""
        return PROTOCOL_SCHEME_HTTP_V1 if self.managed is None else self.managed.protocol

    @property
    def is_v1(self) -> bool:
        """Whether it is a legacy plugin, and none that an engine manages."""
        return self.managed is None

    def scoped_path(self, path: str) -> str:
        """Translate a path of the plugin's to the host's.

        Args:
            path: As the plugin answers it.

        Returns:
            The same path for a plugin of version 1, which sees the host's files; for a managed
            one, where its engine keeps them (part B0).
        """
        return path if self.managed is None else self.managed.scoped(path)

    def implements(self, kind: str) -> bool:
        """Return whether the manifest names the subsystem, to the letter (A6).

        For a managed plugin capitals do not count (B0).

        Args:
            kind: Its name, such as ``"VolumeDriver"``.

        Returns:
            Whether it does.
        """
        if self.managed is None:
            return kind in self.manifest.implements
        return kind.lower() in map(str.lower, self.manifest.implements)


def check_protocol(plugin: Plugin) -> Plugin:
    """Return ``plugin``; ``SpecError`` for one that speaks what this library does not."""
    if plugin.protocol != PROTOCOL_SCHEME_HTTP_V1:
        raise SpecError(
            f"plugin {quoted(plugin.name)} speaks {quoted(plugin.protocol)}, "
            f"and only {PROTOCOL_SCHEME_HTTP_V1} is spoken here"
        )
    return plugin


def plugin_given(name: object, given: object) -> Plugin:
    """Return the plugin ``name`` that is given as an address, or as a ``Plugin``.

    Raises ``TypeError`` for what is neither, ``SpecError`` for an address that cannot be one
    and for a plugin of another name, and ``InvalidPluginNameError``.
    """
    if isinstance(given, str):
        return Plugin(check_plugin_name(name), given)
    if not isinstance(given, Plugin):
        raise TypeError(f"an address or a Plugin is wanted, not {quoted(given)}")
    if given.name != check_plugin_name(name):
        raise SpecError(f"the plugin given is called {quoted(given.name)}")
    return given


def read_spec(name: str, file: str, data: bytes) -> Plugin:
    """The plugin ``name`` as ``data``, the content of ``file``, describes it.

    A file that ends in ``.json`` is read as JSON, any other as a bare address.
    Raises ``SpecError``, naming the file, for whatever cannot be used.
    """
    try:
        if len(data) > MAX_SPEC_BYTES:
            raise SpecError(f"larger than {MAX_SPEC_BYTES} bytes")
        return _from_json(name, data) if file.endswith(".json") else _from_address(name, data)
    except SpecError as error:
        raise SpecError(error.reason, file) from error
    except ValueError as error:
        raise SpecError(shown(error), file) from error


def _from_address(name: str, data: bytes) -> Plugin:
    try:
        return Plugin.local(name, data.decode().strip())
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 at byte {error.start}") from error


def _from_json(name: str, data: bytes) -> Plugin:
    # null counts as an absent value everywhere, also at the top.
    spec = _typed("spec", first_value(data), dict, {})
    fields = fold_keys(spec)
    tls = _typed("TLSConfig", fields.get("tlsconfig"), dict, None)
    return Plugin(
        name,
        _typed("Addr", fields.get("addr"), str, ""),
        None if tls is None else _tls_options(fold_keys(tls)),
    )


def _tls_options(fields: dict[str, Any]) -> TLSOptions:
    ca_file = _typed("CAFile", fields.get("cafile"), str, "")
    skip = _typed("InsecureSkipVerify", fields.get("insecureskipverify"), bool, False)
    return TLSOptions(
        ca_file=ca_file,
        cert_file=_typed("CertFile", fields.get("certfile"), str, ""),
        key_file=_typed("KeyFile", fields.get("keyfile"), str, ""),
        # Without a CA file verification is off, whatever the spec says (A2).
        insecure_skip_verify=skip or not ca_file,
        exclusive_root_pools=_typed(
            "ExclusiveRootPools", fields.get("exclusiverootpools"), bool, False
        ),
        min_version=_typed("MinVersion", fields.get("minversion"), int, 0),
    )


def _typed(key: str, value: Any, kind: type, absent: Any) -> Any:
    if value is None:
        return absent
    # A boolean is an int to Python, but no number to JSON.
    if type(value) is not kind:
        wanted = "a whole number" if kind is int else kind_of(kind())
        raise SpecError(f"{key} must be {wanted}, not {kind_of(value)}")
    return value


@frozen(field_transformer=typed)
class PluginMount:
    """A mount of a managed plugin, as it is set."""

    name: str
    source: str
    destination: str
    type: str
    options: tuple[str, ...]


@frozen(field_transformer=typed)
class ManagedPlugin:
    """What an engine tells of one of its plugins; nothing in it was checked by the engine.

    ``name`` has its tag. ``types`` are what it implements, ``docker.volumedriver/1.0``;
    ``socket`` is the name of its socket, ``environment`` has ``NAME=value``.
    """

    name: str
    id: str
    enabled: bool
    types: tuple[str, ...] = ()
    socket: str = ""
    protocol: str = PROTOCOL_SCHEME_HTTP_V1
    propagated_mount: str = ""
    environment: tuple[str, ...] = field(default=(), repr=False)
    mounts: tuple[PluginMount, ...] = ()


@frozen(field_transformer=typed)
class Candidate:
    """A socket or spec where a look-up of a plugin's name goes, or an entry of the settings.

    The first of a name's candidates decides, and hides the others. A frozen value.

    Args:
        path: The file's, or ``[plugins] NAME``, or ``NAME:TAG at ADDRESS`` for an engine's.
        plugin: What it describes.
        error: Why it cannot be used, where there is no ``plugin``.
        managed: What its engine tells of it.
    """

    path: str
    plugin: Plugin | None = None
    error: PluginError | None = None
    managed: ManagedPlugin | None = None


@frozen(field_transformer=typed)
class Stray:
    """A file that seems meant to describe a plugin, but that no look-up finds. A frozen value.

    Args:
        path: The file's.
        reason: Why it is not found.
        name: The plugin that it seems meant for; "" where that cannot be told.
        managed: Where it is no file, but a plugin that its engine has disabled.
    """

    path: str
    reason: str
    name: str = ""
    managed: ManagedPlugin | None = None


def is_managed_socket(path: str) -> bool:
    """Whether ``path`` is where an engine has the socket of a managed plugin (part A1)."""
    return _MANAGED_SOCKET.search(path) is not None
