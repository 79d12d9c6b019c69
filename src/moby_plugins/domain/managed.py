"""Managed plugins as engines describe them: their names, and the JSON of the engine's API.

Sources: protocol.md A7 (look-up through an engine), B0 (capabilities).
"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from moby_plugins.domain.address import of_path
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.json import fold_keys, kind_of
from moby_plugins.domain.plugin import (
    PROTOCOL_SCHEME_HTTP_V1,
    SOCKETS_PATH,
    Managed,
    ManagedPlugin,
    Manifest,
    Plugin,
    PluginMount,
)
from moby_plugins.domain.text import quoted

# The subsystems that engines look for, as manifests name them; capabilities are in lower case.
SUBSYSTEMS = (
    "VolumeDriver",
    "NetworkDriver",
    "IpamDriver",
    "LogDriver",
    "GraphDriver",
    "MetricsCollector",
    "authz",
    "secretprovider",
)
_BY_CAPABILITY = {name.lower(): name for name in SUBSYSTEMS}
# The longest name of a plugin's socket: with its directory, named by the plugin's ID, a socket's
# path has at most 107 bytes.
MAX_SOCKET_NAME_BYTES = 22
NAMES = (
    "an engine's are small letters, digits and . _ - between slashes, with :TAG or not, "
    "a full id, or its first 12 digits and more"
)

T = TypeVar("T")

_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?"
_ALGORITHM = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*"
_REFERENCE = re.compile(
    rf"(?P<repository>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    rf"(?P<tag>:\w[\w.-]{{0,127}})?(?P<digest>@{_ALGORITHM}:[0-9a-fA-F]{{32,128}})?",
    re.ASCII,
)
_MAX_REPOSITORY = 255
_MAX_REFERENCE = 600
_ID = re.compile("[0-9a-f]{64}")
# Shorter prefixes of an ID may be names of legacy plugins: "db", "cafe".
_ID_OR_PREFIX = re.compile("[0-9a-f]{12,64}")
_HUBS = {"docker.io", "index.docker.io"}
_TYPE = re.compile(r"docker\.([^/]+)(?:/.*)?", re.DOTALL)
_MATCHED_TYPE = re.compile(r"docker\.([^/]+)/1\.0")
_API_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")


def is_engine_name(name: object) -> bool:
    """Return whether an engine can have a plugin by that name: a reference, or an ID's prefix."""
    if not isinstance(name, str) or len(name) > _MAX_REFERENCE:
        return False
    match = _REFERENCE.fullmatch(name)
    return match is not None and len(match["repository"]) <= _MAX_REPOSITORY


def is_api_version(text: str) -> bool:
    """Return whether an engine's Api-Version is well-formed: it becomes a part of URLs."""
    return _API_VERSION.fullmatch(text) is not None


def asked_as(name: str) -> str:
    """Return the name to ask an engine for: ``name`` with a tag, unless it is a prefix of an ID.

    With a tag, an engine searches names only. Without a tag, it interprets a name that it does not
    have as a prefix of an ID.
    """
    if _ID_OR_PREFIX.fullmatch(name):
        return name
    match = _REFERENCE.fullmatch(name)
    complete = match is None or match["tag"] or match["digest"]
    return name if complete else f"{name}:latest"


def familiar(name: str) -> str:
    """Return ``name`` as engines write it: with a tag, without the public registry's domain."""
    match = _REFERENCE.fullmatch(name)
    if match is None:
        return name
    repository, tag, digest = match["repository"], match["tag"], match["digest"]
    domain, slash, rest = repository.partition("/")
    if slash and domain in _HUBS:
        repository = rest
    parts = repository.split("/")
    if len(parts) == 2 and parts[0] == "library":  # noqa: PLR2004  the two of library/NAME
        repository = parts[1]
    return repository + (tag or ("" if digest else ":latest")) + (digest or "")


def is_called(plugin: ManagedPlugin, name: str) -> bool:
    """Return whether ``name`` means ``plugin``: its name, or at least 12 digits of its ID."""
    by_id = _ID_OR_PREFIX.fullmatch(name) and plugin.id.startswith(name)
    return bool(by_id) or familiar(plugin.name) == familiar(name)


def manifest_of(types: Iterable[str]) -> Manifest:
    """Return a manifest of the subsystems in ``types``, such as ``docker.volumedriver/1.0``.

    Types with capital letters are left out, since look-ups never match them.
    """
    matches = (match for match in map(_TYPE.fullmatch, types) if match)
    subsystems = (match[1] for match in matches if match[1] == match[1].lower())
    return Manifest(tuple(dict.fromkeys(_BY_CAPABILITY.get(each, each) for each in subsystems)))


def unmatched(types: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``types`` that no engine looks for: their form, case or kind is wrong."""
    return tuple(each for each in types if not _is_matched(each))


def _is_matched(text: str) -> bool:
    match = _MATCHED_TYPE.fullmatch(text)
    return match is not None and match[1] in _BY_CAPABILITY


def is_socket_name(name: str) -> bool:
    """Return whether ``name`` is a file name without a directory, as a socket's must be."""
    return not (name in {"", ".", ".."} or "/" in name or "\0" in name)


def socket_name_bytes(name: str) -> int:
    """Return the size of a socket's name in bytes.

    Names of more than ``MAX_SOCKET_NAME_BYTES`` bytes cannot be connected to.
    """
    return len(name.encode(errors="surrogatepass"))


def found_plugin(plugin: ManagedPlugin, root: object) -> Plugin:
    """Return the ``Plugin`` for ``plugin``, an engine's description, as a look-up returns it.

    ``root`` is the engine's ``DockerRootDir``. Raises ``SpecError`` for an invalid ID, socket name
    or ``root``.
    """
    named, socket = quoted(plugin.name), plugin.socket
    if not _ID.fullmatch(plugin.id):
        raise SpecError(f"plugin {named} has the id {quoted(plugin.id)}, which is not a valid id")
    if not is_socket_name(socket):
        raise SpecError(
            f"the socket of plugin {named} is called {quoted(socket)}, which is not a file's name: "
            "correct interface.socket in its config.json"
        )
    if not isinstance(root, str) or not root.startswith("/"):
        raise SpecError(
            f"the engine keeps its data in {quoted(root)}, which is not an absolute path"
        )
    return Plugin(
        plugin.name,
        of_path(f"{SOCKETS_PATH}/{plugin.id}/{socket}"),
        manifest=manifest_of(plugin.types),
        managed=Managed(
            f"{root.rstrip('/')}/plugins/{plugin.id}/rootfs",
            plugin.propagated_mount,
            plugin.protocol,
        ),
    )


def read_plugin(value: object) -> ManagedPlugin:
    """Return the plugin that ``value``, decoded JSON of the engine's API, describes.

    ``null`` counts as an absent value. Raises ``ValueError`` for a value of the wrong type.
    """
    fields = _object("a plugin", value)
    config = _object("Config", fields.get("config"))
    interface = _object("Config.Interface", config.get("interface"))
    settings = _object("Settings", fields.get("settings"))
    name = _typed("Name", fields.get("name"), str, "")
    if not name or "\0" in name:
        raise ValueError(f"a plugin has the invalid name {quoted(name)}")
    return ManagedPlugin(
        name,
        _typed("Id", fields.get("id"), str, ""),
        _typed("Enabled", fields.get("enabled"), bool, absent=False),
        _texts("Config.Interface.Types", interface.get("types")),
        _typed("Config.Interface.Socket", interface.get("socket"), str, ""),
        _typed("Config.Interface.ProtocolScheme", interface.get("protocolscheme"), str, "")
        or PROTOCOL_SCHEME_HTTP_V1,
        _typed("Config.PropagatedMount", config.get("propagatedmount"), str, ""),
        _texts("Settings.Env", settings.get("env")),
        tuple(map(_mount, _typed("Settings.Mounts", settings.get("mounts"), list, []))),
    )


def read_plugins(value: object) -> tuple[ManagedPlugin, ...]:
    """Return the plugins of an engine's list, sorted by name; raise ``ValueError`` if malformed."""
    listed: list[Any] = _typed("the list of plugins", value, list, [])
    return tuple(sorted(map(read_plugin, listed), key=lambda each: each.name))


def read_root(value: object) -> object:
    """Return ``DockerRootDir`` of ``value``; raise ``ValueError`` if ``value`` is not an object."""
    return _object("the engine's information", value).get("dockerrootdir")


def _mount(value: object) -> PluginMount:
    fields = _object("Settings.Mounts", value)

    def text(key: str) -> str:
        return _typed(f"Settings.Mounts.{key}", fields.get(key.lower()), str, "")

    return PluginMount(
        text("Name"),
        text("Source"),
        text("Destination"),
        text("Type"),
        _texts("Settings.Mounts.Options", fields.get("options")),
    )


def _object(what: str, value: object) -> dict[str, Any]:
    return fold_keys(_typed(what, value, dict, {}))


def _texts(what: str, value: object) -> tuple[str, ...]:
    listed: Iterable[object] = _typed(what, value, list, [])
    return tuple(_typed(what, each, str, "") for each in listed)


def _typed(what: str, value: Any, kind: type[T], absent: T) -> T:
    if value is None:
        return absent
    if not isinstance(value, kind):
        wrong = f"{what} must be {kind_of(kind())}, not {kind_of(value)}"
        raise ValueError(wrong)  # noqa: TRY004  it is text of an engine's, no caller's argument
    return value
