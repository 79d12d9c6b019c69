"""Addresses of plugins, and the TLS options beside them, as specs write both (protocol.md A2, A3).

Nothing is resolved, opened or dialled here: ``adapters/http/dialing.py`` does that.
"""

import errno
import re
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from attrs import field, frozen

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import HIDDEN, MAX_TEXT, quoted, shown
from moby_plugins.domain.typed import is_of_its_type

UNIX_HOST = "plugin.moby.localhost"
DEFAULT_PORTS = {"tcp": 80, "http": 80, "https": 443}

_FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_BY_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|unix:", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

# The patterns below are compiled when they are first needed: most addresses are of UNIX sockets,
# and what takes a command its time is to compile for an address that is another, or none.
_HOST_AND_PORT = r"[\w.-]+:[0-9]+(/|$)"
_HOST = r"[^\s\[\]:/?#@<>\"\\^`{|}%\x00-\x1f\x7f]*"
# What Go takes before the "@" of an address.
_USER_INFO = r"(?a:[\w.~!$&'()*+,;=%:@-]*)"
# What stands before an "@", or what may have been meant for one, in a text that is no address.
_PRIVATE = r"(?is)((?:[A-Za-z][A-Za-z0-9+.-]*:/|(?:unix|tcp|https?):)/*)?.*(?:@|%40)"
# A path, in which an "@" is a letter as any other.
_PATH = r"(?i)unix:/(?://)?[^/]|/"
# What may have been meant for an address.
_LIKELY = r"[A-Za-z][A-Za-z0-9+.-]*:/|/|[\w.-]+:[0-9]"
# How much is shown of any other text: the content of some other file, perhaps.
_MAX_UNLIKELY = 20
_AUTHORITY = rf"(?P<host>\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|{_HOST})(?::(?P<port>[0-9]*))?"

# What an operating system's refusal means to a person, by kind of address.
_REFUSALS = {
    ("unix", errno.ENOENT): "no socket there; is the plugin running?",
    ("unix", errno.ECONNREFUSED): "stale socket: it exists, but nobody listens on it",
    ("unix", errno.EACCES): "no permission to connect to the socket",
    ("unix", errno.EPROTOTYPE): "a socket of another kind, which takes no streams",
    ("unix", errno.EPERM): "no permission to connect to the socket",
    ("tcp", errno.ECONNREFUSED): "connection refused: nobody listens there",
}

# The versions that a minimum can name, as TLS itself writes them (protocol.md A2).
TLS_1_2 = 0x0303
TLS_1_3 = 0x0304


CREDENTIALS = "the user name and password in the address are left out: they are never sent"


@frozen
class Address:
    """Where a plugin listens: ``Address("unix:///run/x.sock")``, ``Address("tcp://host:port")``.

    A frozen value; nothing is resolved or opened. Equality goes by ``text``.

    Args:
        text: The address, kept to the letter but for a user name and password, which are left out.

    Attributes:
        text: The address as it is used, without credentials.
        scheme: The scheme, in lower case.
        path: The socket's path for ``unix``; all that follows ``//`` for schemes that are not built
            in.
        host: In ASCII, without brackets: for ``tcp``, ``http`` and ``https``, whose path is dropped
            (protocol.md A3).
        port: The port, for the same.
        concern: What to warn of: that credentials were left out; else "".

    Raises:
        SpecError: For what cannot be an address.
        TypeError: For what is no string.
    """

    text: str
    scheme: str = field(init=False, eq=False)
    path: str = field(init=False, eq=False, default="")
    host: str = field(init=False, eq=False, default="")
    port: int = field(init=False, eq=False, default=0)
    concern: str = field(init=False, eq=False, repr=False, default="")

    def __attrs_post_init__(self) -> None:
        given: object = self.text  # of a program that nothing has checked
        if not isinstance(given, str):
            raise TypeError(f"an address is a string, not {quoted(given)}")
        scheme, rest = _split(self.text)
        parts: dict[str, str | int] = {"scheme": scheme}
        public = _without_credentials(self.text, scheme, rest)
        if public != rest:
            parts["text"] = self.text[: len(self.text) - len(rest)] + public
            parts["concern"] = CREDENTIALS
            rest = public
        if scheme == "unix":
            parts["path"] = _socket_path(self.text, rest)
        elif scheme in DEFAULT_PORTS:
            parts["host"], parts["port"] = _host_and_port(self.text, scheme, rest)
        else:
            parts["path"] = rest.removeprefix("//")
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of_socket(cls, path: str) -> "Address":
        """Make the address of a UNIX socket.

        Args:
            path: The socket's path, whatever bytes its name holds.

        Returns:
            The address, with what needs it escaped.
        """
        return cls(of_path(path))

    @property
    def encrypted(self) -> bool:
        """Whether the exchange is TLS: for ``https`` alone, whatever a spec's TLSConfig says."""
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        """The value of the ``Host`` header (protocol.md A4)."""
        if not self.host:
            return UNIX_HOST
        # A zone is this machine's own affair, and never sent.
        host = self.host.partition("%")[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def explain(self, error: OSError) -> str:
        """Say in words what a failed attempt to reach this address means.

        Args:
            error: What the operating system raised.

        Returns:
            A text such as "no socket there; is the plugin running?".
        """
        kind = "tcp" if self.host else "unix"
        said = _REFUSALS.get((kind, error.errno or 0))
        return said or shown(error.strerror or str(error)) or type(error).__name__


def is_address(text: str) -> bool:
    """Whether ``text`` is meant for an address, and for no plugin's name: by its scheme alone.

    The name of a managed plugin has slashes too.
    """
    return _BY_SCHEME.match(text) is not None


def of_path(path: str) -> str:
    """The text of ``Address.of_socket``, for who wants no more of it."""
    # In a relative path an "@" would end a user name.
    safe = "/:!$&'()*+,;= " + ("@" if path.startswith("/") else "")
    return "unix://" + quote(path, safe=safe, errors="surrogateescape")


def _split(text: str) -> tuple[str, str]:
    match = _FORM.fullmatch(text)
    if _CONTROL.search(text):
        raise SpecError(f"address {_public(text)} holds a control character")
    scheme, rest = (match[1].lower(), match[2]) if match else ("", "")
    if _BAD_ESCAPE.search(rest):
        raise SpecError(f"address {_public(text)} holds a bad percent escape")
    if len(rest) > len("//") and rest.startswith("//"):
        return scheme, rest
    if scheme == "unix" and rest.startswith("/"):
        return scheme, rest
    plain = re.match(_HOST_AND_PORT, text) and "@" not in text
    meant = f"tcp://{text}" if plain else of_path(text) if text.startswith("/") else ""
    hint = f"; did you mean {shown(meant)}?" if meant else ""
    raise SpecError(f"address {_public(text)} is not of the form scheme://… or unix:/path{hint}")


def _without_credentials(text: str, scheme: str, rest: str) -> str:
    # As Go reads it: they end at the last "@" before the first of these.
    authority = re.split(r"[/?#]", rest.removeprefix("//"))[0] if rest.startswith("//") else ""
    given, at, _ = authority.rpartition("@")
    if not at or scheme not in {"unix", *DEFAULT_PORTS}:
        return rest
    if not re.fullmatch(_USER_INFO, given):
        raise SpecError(f"address {_public(text)} has a user name or password that is none")
    return "//" + rest[len("//") + len(given) + len(at) :]


def _public(text: str) -> str:
    """``text`` in an error: without what may be a user name, a password or another secret."""
    private = None if re.match(_PATH, text) else re.match(_PRIVATE, text)
    hidden = f"{private[1] or ''}{HIDDEN}@{text[private.end() :]}" if private else text
    return quoted(hidden, MAX_TEXT if re.match(_LIKELY, text) else _MAX_UNLIKELY)


def _socket_path(text: str, rest: str) -> str:
    path = unquote(re.split(r"[?#]", rest.removeprefix("//"))[0], errors="surrogateescape")
    if not path or "\0" in path:
        raise SpecError(f"address {_public(text)} names no socket")
    return path


def _host_and_port(text: str, scheme: str, rest: str) -> tuple[str, int]:
    authority = re.split(r"[/?#]", rest.removeprefix("//"))[0]
    match = re.fullmatch(_AUTHORITY, authority)
    if not authority or match is None:
        raise SpecError(f"address {_public(text)} names no valid host and port")
    digits = match["port"]
    port = int(digits.lstrip("0")[:6] or "0") if digits else DEFAULT_PORTS[scheme]
    if not 0 < port < 1 << 16:
        raise SpecError(f"address {_public(text)} has a port out of range")
    return _ascii_host(text, match["host"]), port


def _ascii_host(text: str, host: str) -> str:
    if host.startswith("["):
        return _ipv6(text, host[1:-1].replace("%25", "%"))
    try:
        name = host.encode("idna").decode()
    except UnicodeError as error:
        raise SpecError(f"address {_public(text)} has a host that is no domain name") from error
    # Folding may give what a name cannot hold: U+2100 becomes "a/c", U+00AF a space.
    if not name.isascii() or not re.fullmatch(_HOST, name):
        raise SpecError(f"address {_public(text)} has a host that is no domain name")
    return name or "localhost"


def _ipv6(text: str, host: str) -> str:
    try:
        IPv6Address(host)
    except ValueError as error:
        raise SpecError(f"address {_public(text)} names no valid host and port") from error
    return host


def _known_version(_: object, __: object, value: int) -> None:
    if value not in {0, TLS_1_2, TLS_1_3}:
        raise SpecError(
            f"MinVersion {shown(value)} is not a TLS version that can be asked for: 771, 772"
        )


@frozen
class TLSOptions:
    """How a host speaks TLS with a plugin at an ``https`` address: Moby's ``tlsconfig.Options``.

    A frozen value. Files are PEM, of at most 1 MiB; they are opened when a transport is made, not
    here. On an address that is plain text the options change nothing, and are warned of in the log.

    Args:
        ca_file: Certificates that the plugin's is verified by; without it, the system's.
        cert_file: The host's own certificate, to be shown to the plugin.
        key_file: Its key.
        insecure_skip_verify: Whether the plugin's certificate is taken without verification.
        exclusive_root_pools: Whether ``ca_file`` alone is trusted, and not the system's roots too.
        min_version: The oldest version of TLS: 0 or 771 for 1.2, 772 for 1.3.
        passphrase: Opens an encrypted key; never shown, and never read from a spec.

    Raises:
        SpecError: For another ``min_version``.
        TypeError: For a value of another type.

    Examples:
        ```python
        from moby_plugins import Plugin, Settings, TLSOptions

        tls = TLSOptions(ca_file="/etc/ssl/plugins.pem", min_version=772)
        shelf = Plugin("shelf", "https://storage.example:8443", tls)
        settings = Settings(plugins={"shelf": shelf})
        ```
    """

    ca_file: str = field(default="", validator=is_of_its_type)
    cert_file: str = field(default="", validator=is_of_its_type)
    key_file: str = field(default="", validator=is_of_its_type)
    insecure_skip_verify: bool = field(default=False, validator=is_of_its_type)
    exclusive_root_pools: bool = field(default=False, validator=is_of_its_type)
    min_version: int = field(default=0, validator=[is_of_its_type, _known_version])
    passphrase: str = field(default="", repr=False, validator=is_of_its_type)

    def concerns(self, *, encrypted: bool) -> str:
        """Say what an administrator should know about these options.

        Args:
            encrypted: Whether the address that they go with is encrypted.

        Returns:
            One sentence, or "".
        """
        if encrypted:
            return "TLS without verification of the plugin" if self.insecure_skip_verify else ""
        given = self.ca_file or self.cert_file or self.key_file
        if given or self.min_version or self.exclusive_root_pools:
            return "TLS options are given, but only https:// is encrypted: this is plain text"
        return ""


def check_tls(given: object) -> None:
    """Raise ``TypeError`` for ``tls_config`` that is neither ``TLSOptions`` nor ``None``."""
    if not (given is None or isinstance(given, TLSOptions)):
        # Not what it holds: a passphrase may be part of that.
        raise TypeError(f"tls_config takes TLSOptions, not a {type(given).__name__}")


@frozen
class ServerTLS:
    """How a served plugin speaks TLS with its hosts: for ``serve_tcp`` and ``plugin_server_tcp``.

    A frozen value. All but the passphrase are paths of PEM files of at most 1 MiB, opened when the
    server starts; where one cannot be used, ``start`` raises ``SpecError``.

    Args:
        cert_file: The plugin's certificate.
        key_file: Its key.
        ca_file: Written into the spec: what hosts verify the plugin by; without it, the system's
            roots.
        client_ca_file: Where given, a host must show a certificate signed by it.
        host_cert_file: Written into the spec: the certificate that hosts show.
        host_key_file: Written into the spec: its key.
        passphrase: Opens an encrypted ``key_file``; never shown.

    Raises:
        TypeError: For a value of another type.

    Examples:
        ```python
        from moby_plugins.serving import PluginApp, ServerTLS, plugin_server_tcp

        tls = ServerTLS("/etc/shelf/cert.pem", "/etc/shelf/key.pem", ca_file="/etc/shelf/ca.pem")
        app = PluginApp()  # of parts that implement subsystems
        server = plugin_server_tcp(app, "shelf", "0.0.0.0:8443", tls=tls)
        ```
    """

    cert_file: str = field(validator=is_of_its_type)
    key_file: str = field(validator=is_of_its_type)
    ca_file: str = field(default="", validator=is_of_its_type)
    client_ca_file: str = field(default="", validator=is_of_its_type)
    host_cert_file: str = field(default="", validator=is_of_its_type)
    host_key_file: str = field(default="", validator=is_of_its_type)
    passphrase: str = field(default="", repr=False, validator=is_of_its_type)
