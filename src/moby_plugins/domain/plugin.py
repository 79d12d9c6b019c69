"""What a plugin is, before and after it was asked what it implements."""

from collections.abc import Iterable
from functools import lru_cache

from attrs import field, frozen, validators

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import InvalidPluginNameError
from moby_plugins.domain.tls import TLSOptions

# Where engines look for plugins: sockets in the one, specs in the others (protocol.md A1).
SOCKETS_PATH = "/run/docker/plugins"
SPECS_PATHS = ("/etc/docker/plugins", "/usr/lib/docker/plugins")

PROTOCOL_SCHEME_HTTP_V1 = "moby.plugins.http/v1"


def is_plugin_name(name: str) -> bool:
    """Whether ``name`` can be a plugin's: one path component, and not a dot name."""
    return not (name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name)


def check_plugin_name(name: object) -> str:
    """``name`` again, or ``InvalidPluginNameError``, before any path is built from it."""
    if not isinstance(name, str) or not is_plugin_name(name):
        raise InvalidPluginNameError(name)
    return name


# A plugin is made anew once it is active; its address is read once.
_address = lru_cache(maxsize=64)(Address)


def _check_name(_: object, __: object, name: str) -> None:
    check_plugin_name(name)


def _strings(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError("subsystems are given as a list of names, not as one string")
    return tuple(given)


@frozen
class Manifest:
    """A plugin's answer to the handshake: the subsystems that it implements (protocol.md A6)."""

    implements: tuple[str, ...] = field(
        default=(),
        converter=_strings,
        validator=validators.deep_iterable(validators.instance_of(str)),
    )


@frozen
class Plugin:
    """A plugin as discovery finds it: a name and a way to reach it.

    ``manifest`` is empty until the handshake. Raises ``InvalidPluginNameError``
    or ``SpecError`` for a name or an address that cannot be one.
    """

    name: str = field(validator=_check_name)
    addr: str
    tls_config: TLSOptions | None = None
    manifest: Manifest = field(factory=Manifest)
    address: Address = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "address", _address(self.addr))

    @classmethod
    def local(cls, name: str, addr: str) -> "Plugin":
        """A plugin found as a socket or ``.spec``: its certificate is not verified (A2)."""
        return cls(name, addr, TLSOptions(insecure_skip_verify=True))

    @property
    def protocol(self) -> str:
        """The wire protocol: always ``moby.plugins.http/v1``."""
        return PROTOCOL_SCHEME_HTTP_V1

    @property
    def is_v1(self) -> bool:
        """True: what discovery finds are legacy plugins; managed ones are the engine's own."""
        return True

    def scoped_path(self, path: str) -> str:
        """The host's path for the plugin's ``path``: the same one for a v1 plugin (part B0)."""
        return path

    def implements(self, kind: str) -> bool:
        """Whether the manifest names the subsystem ``kind``, to the letter (A6)."""
        return kind in self.manifest.implements
