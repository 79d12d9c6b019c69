"""Plugins: their names and manifests, the content of spec files, and candidates of a look-up.

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

# Where engines look for plugins: sockets in the first, specs in the others (protocol.md A1).
SOCKETS_PATH = "/run/docker/plugins"
SPECS_PATHS = ("/etc/docker/plugins", "/usr/lib/docker/plugins")

PROTOCOL_SCHEME_HTTP_V1 = "moby.plugins.http/v1"
"""The name of the wire protocol, the value of ``Plugin.protocol``."""

# ``Address``, cached: a ``Plugin`` is created again, with the same address, when it becomes active.
_address = lru_cache(maxsize=64)(Address)
MAX_SPEC_BYTES = 1 << 20
# An engine has a directory for the socket of each managed plugin, named by the plugin's ID.
_MANAGED_SOCKET = re.compile(r"/[0-9a-f]{64}/[^/]+\.sock\Z")


# The TLS options of all local plugins. Made once: the check of the fields takes a quarter of the
# time of a look-up.
_UNVERIFIED = TLSOptions(insecure_skip_verify=True)


# One path component, but neither ``.`` nor ``..``.
_PLUGIN_NAME = re.compile(r"(?!\.{1,2}\Z)[^/\\\0]+")


def is_plugin_name(name: str) -> bool:
    """Return whether ``name`` is valid for a plugin: one path component, not ``.`` or ``..``."""
    return _PLUGIN_NAME.fullmatch(name) is not None


def check_plugin_name(name: object) -> str:
    """Return ``name``; raise ``InvalidPluginNameError`` if it cannot be one component of a path."""
    if not isinstance(name, str) or _PLUGIN_NAME.fullmatch(name) is None:
        raise InvalidPluginNameError(name)
    return name


def check_any_name(name: object) -> str:
    """Return ``name``; raise ``InvalidPluginNameError`` if no discovery accepts it.

    No discovery accepts a value that is not a string, is empty or holds NUL. Slashes are allowed:
    names of managed plugins have slashes.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidPluginNameError(name)
    return name


def _strings(values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError("implements must be a list of names, not one string")
    if not isinstance(values, (tuple, list, Iterable)):  # the abstract class last, as it is slow
        raise TypeError(f"implements must be a list of names, not {quoted(values)}")
    names = tuple(values)
    others = {*map(type, names)} - {str}
    if others:
        raise TypeError(f"implements must be a list of names, not {quoted([*names])}")
    return names


@frozen
class Manifest:
    """A plugin's response to the handshake (protocol.md A6). A frozen value.

    Args:
        implements: The subsystems that the plugin implements, by name, such as ``VolumeDriver``.

    Raises:
        TypeError: If ``implements`` is a single string, or an item is not a string.
    """

    implements: tuple[str, ...] = field(default=(), converter=_strings, repr=shown)


@frozen(field_transformer=typed)
class Managed:
    """The additional attributes of a managed plugin, whose engine keeps its root file system.

    ``rootfs`` is the path of that file system on the engine's machine. ``propagated_mount`` is the
    path inside it whose mounts that machine sees, "" for none. ``protocol`` is the plugin's
    wire protocol.
    """

    rootfs: str
    propagated_mount: str = ""
    protocol: str = PROTOCOL_SCHEME_HTTP_V1

    def scoped(self, path: str) -> str:
        """Translate ``path`` in the plugin to a path on the engine's machine.

        A path that begins with the propagated mount leads to ``propagated-mount``, beside
        ``rootfs``; any other leads into ``rootfs``. The result is never outside these directories.
        As in engines, the propagated mount is removed as a plain prefix of the path, even if it
        ends inside a name; only the rest is normalized.
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
    """A plugin as a discovery finds it: its name and its address. A frozen value.

    Args:
        name: The name: one path component, so without slash and NUL, and not empty, ``.`` or
            ``..``.
        addr: The address; a user name and password in it are removed.
        tls_config: The TLS options for an ``https`` address.
        manifest: The subsystems that the plugin implements: empty until the handshake. A managed
            plugin has no handshake: its engine says what it implements.
        managed: The additional attributes of a managed plugin, whose name may have slashes and a
            tag.

    Attributes:
        address: The parsed address.

    Raises:
        InvalidPluginNameError: If ``name`` is not valid.
        SpecError: If ``addr`` is not a valid address.
        TypeError: If ``tls_config``, ``manifest`` or ``managed`` has the wrong type.
    """

    name: str = field(repr=quoted)
    addr: str = field(repr=quoted)
    tls_config: TLSOptions | None = None
    manifest: Manifest = Manifest()
    managed: Managed | None = field(default=None, kw_only=True)
    address: Address = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        # Checked here, as validators are slower and plugins are made by the thousand.
        if self.managed is None:
            check_plugin_name(self.name)
        else:  # only names of managed plugins may have slashes
            check_any_name(self.name)
        check_tls(self.tls_config)
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
        """Make a plugin as a discovery makes it from a socket or ``.spec`` file.

        The plugin's certificate is not verified (protocol.md A2).

        Args:
            name: The name.
            addr: The address.

        Returns:
            The plugin. Raises ``InvalidPluginNameError`` or ``SpecError`` for an invalid argument.
        """
        return cls(name, addr, _UNVERIFIED)

    @property
    def protocol(self) -> str:
        """The wire protocol: ``moby.plugins.http/v1``, unless a managed plugin names another."""
        return PROTOCOL_SCHEME_HTTP_V1 if self.managed is None else self.managed.protocol

    @property
    def is_v1(self) -> bool:
        """Whether the plugin is a legacy one, found by a socket or spec, and not a managed one."""
        return self.managed is None

    def scoped_path(self, path: str) -> str:
        """Translate a path in the plugin to a path on the host.

        Args:
            path: The path in the plugin's response.

        Returns:
            The same path for a legacy plugin, which sees the host's files; for a managed one, the
            path below the directory in which its engine keeps its files (B0 in docs/protocol.md).
        """
        return path if self.managed is None else self.managed.scoped(path)

    def implements(self, kind: str) -> bool:
        """Return whether the plugin's manifest names the subsystem.

        The case of letters matters, except for a managed plugin (B0 in docs/protocol.md).

        Args:
            kind: The subsystem's name, such as ``"VolumeDriver"``.

        Returns:
            Whether the plugin implements it.
        """
        if self.managed is None:
            return kind in self.manifest.implements
        return kind.lower() in map(str.lower, self.manifest.implements)


def check_protocol(plugin: Plugin) -> Plugin:
    """Return ``plugin``; raise ``SpecError`` if its wire protocol is not supported."""
    if plugin.protocol != PROTOCOL_SCHEME_HTTP_V1:
        raise SpecError(
            f"plugin {quoted(plugin.name)} speaks {quoted(plugin.protocol)}, "
            f"and only {PROTOCOL_SCHEME_HTTP_V1} is supported"
        )
    return plugin


def plugin_given(name: object, value: object) -> Plugin:
    """Return the plugin ``name``, where ``value`` is its address or a ``Plugin``.

    Raises ``TypeError`` if ``value`` is neither, ``SpecError`` for an invalid address or a plugin
    with another name, and ``InvalidPluginNameError`` for an invalid ``name``.
    """
    if isinstance(value, str):
        return Plugin(check_plugin_name(name), value)
    if not isinstance(value, Plugin):
        raise TypeError(f"an address or a Plugin is expected, not {quoted(value)}")
    if value.name != check_plugin_name(name):
        raise SpecError(
            f"the Plugin given as {quoted(name)} has another name: {quoted(value.name)}"
        )
    return value


def read_spec(name: str, file: str, data: bytes) -> Plugin:
    """Return the plugin ``name`` that ``data``, the content of ``file``, describes.

    A file that ends in ``.json`` is read as JSON, any other as a bare address. Raises
    ``SpecError``, which names the file, if the content cannot be used.
    """
    try:
        if len(data) > MAX_SPEC_BYTES:
            raise SpecError(f"the file is larger than {MAX_SPEC_BYTES} bytes")
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
    # null counts as an absent value everywhere, even as the whole text.
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
        # Without a CA file verification is always off (A2).
        insecure_skip_verify=skip or not ca_file,
        exclusive_root_pools=_typed(
            "ExclusiveRootPools", fields.get("exclusiverootpools"), bool, False
        ),
        min_version=_typed("MinVersion", fields.get("minversion"), int, 0),
    )


def _typed(key: str, value: Any, kind: type, absent: Any) -> Any:
    if value is None:
        return absent
    # ``isinstance`` would accept a boolean as an int, but in JSON it is not a number.
    if type(value) is not kind:
        wanted = "a whole number" if kind is int else kind_of(kind())
        raise SpecError(f"{key} must be {wanted}, not {kind_of(value)}")
    return value


@frozen(field_transformer=typed)
class PluginMount:
    """A mount in the current settings of a managed plugin."""

    name: str
    source: str
    destination: str
    type: str
    options: tuple[str, ...]


@frozen(field_transformer=typed)
class ManagedPlugin:
    """An engine's description of one of its plugins, whose values the engine does not check.

    ``name`` has its tag. ``types`` are the interfaces that it implements, for example
    ``docker.volumedriver/1.0``. ``socket`` is the file name of its socket, and ``environment`` has
    items ``NAME=value``.
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
    """A possible source of a plugin: a socket, a spec, an entry of the settings or an engine.

    A look-up of a name uses only its first candidate: it returns the candidate's plugin, or raises
    its error even if a later candidate has none. A frozen value.

    Args:
        path: The path of the file; ``[plugins] NAME`` for an entry of the settings; ``NAME:TAG at
            ADDRESS`` for a managed plugin.
        plugin: The plugin that the candidate describes.
        error: Why the candidate cannot be used, if there is no ``plugin``.
        managed: The engine's description of a managed plugin.
    """

    path: str
    plugin: Plugin | None = None
    error: PluginError | None = None
    managed: ManagedPlugin | None = None


@frozen(field_transformer=typed)
class IgnoredFile:
    """A file that seems to describe a plugin, but that no look-up finds. A frozen value.

    Args:
        path: The path of the file.
        reason: Why no look-up finds the file.
        name: The name of the plugin that the file seems to describe; "" if unknown.
        managed: The engine's description, for a disabled managed plugin instead of a file.
    """

    path: str
    reason: str
    name: str = ""
    managed: ManagedPlugin | None = None


def is_managed_socket(path: str) -> bool:
    """Return whether ``path`` is the path of a managed plugin's socket (protocol.md A1)."""
    return _MANAGED_SOCKET.search(path) is not None
