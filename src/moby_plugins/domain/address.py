"""Addresses of plugins and their TLS options, as spec files hold them (protocol.md A2, A3).

This module only parses. ``adapters/http/dialing.py`` resolves host names and connects.
"""

import errno
import re

from attrs import field, frozen

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import HIDDEN, MAX_TEXT, is_encodable, quoted, shown
from moby_plugins.domain.typed import is_of_its_type

UNIX_HOST = "plugin.moby.localhost"
DEFAULT_PORTS = {"tcp": 80, "http": 80, "https": 443}

_FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_BY_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|unix:", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# A path of which no character has to be escaped, and the address of such a socket.
_UNESCAPED = re.compile(r"[A-Za-z0-9_.~/-]*")
_PLAIN_SOCKET = re.compile(r"unix://([A-Za-z0-9_.~/-]+)")
# What ends the path of a socket.
_QUERY = re.compile(r"[?#]")

# The patterns below are compiled on first use, to keep commands fast: most addresses are of UNIX
# sockets and need none of them.
_HOST_AND_PORT = r"[\w.-]+:[0-9]+(/|$)"
_HOST = r"[^\s\[\]:/?#@<>\"\\^`{|}%\x00-\x1f\x7f]*"
# What Go accepts before the "@" of an address.
_USER_INFO = r"(?a:[\w.~!$&'()*+,;=%:@-]*)"
# An "@", its escape, or a character that looks like it.
_AT = "(?:[@\uff20\ufe6b]|%40)"
# The text before it, in a text that is not a valid address.
_PRIVATE = rf"(?is)((?:[A-Za-z][A-Za-z0-9+.-]*:/|(?:unix|tcp|https?):)?/*)?.*{_AT}"
# A path, in which "@" has no special meaning. In the first directory it has: ``//user@host`` is an
# address without its scheme.
_ABSOLUTE = rf"/++(?![^/]*{_AT})"
_PATH = rf"(?i)unix:/(?://)?[^/]|{_ABSOLUTE}"
# A text that was probably meant as an address.
_LIKELY = r"[A-Za-z][A-Za-z0-9+.-]*:/|/|[\w.-]+:[0-9]"
# How many characters are shown of any other text, which may be the content of an unrelated file.
_MAX_UNLIKELY = 20
_AUTHORITY = rf"(?P<host>\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|{_HOST})(?::(?P<port>[0-9]*))?"

# Explanations of the operating system's errors, by kind of address.
_REFUSALS = {
    ("unix", errno.ENOENT): "no socket there; is the plugin running?",
    ("unix", errno.ECONNREFUSED): "stale socket: it exists, but no process listens on it",
    ("unix", errno.ENOTSOCK): "it exists, but is not a socket",
    ("unix", errno.EACCES): "no permission to connect to the socket",
    ("unix", errno.EPROTOTYPE): "a socket of another kind, which takes no streams",
    ("unix", errno.EPERM): "no permission to connect to the socket",
    ("tcp", errno.ECONNREFUSED): "connection refused: no process listens there",
}

# Possible values of the minimum version, encoded as in TLS itself (protocol.md A2).
TLS_1_2 = 0x0303
TLS_1_3 = 0x0304


CREDENTIALS = "the user name and password in the address are left out: they are never sent"


@frozen
class Address:
    """A plugin's address: ``Address("unix:///run/x.sock")``, ``Address("tcp://host:port")``.

    A frozen value; nothing is resolved or opened. Addresses with the same ``text`` are equal.

    Args:
        text: The address. It is kept as given, except that a user name and password are removed.

    Attributes:
        text: The address without credentials.
        scheme: The scheme, in lower case.
        path: The socket's path for ``unix``; the text after ``//`` for schemes that are not built
            in.
        host: The host in ASCII, without brackets, for ``tcp``, ``http`` and ``https``; "" for
            other schemes. A path after the host is ignored (protocol.md A3).
        port: The port, for the same three schemes; 0 for others.
        concern: A warning that credentials were removed; "" if there were none.

    Raises:
        SpecError: If ``text`` is not a valid address.
        TypeError: If ``text`` is not a string.
    """

    text: str
    scheme: str = field(init=False, eq=False)
    path: str = field(init=False, eq=False, default="")
    host: str = field(init=False, eq=False, default="")
    port: int = field(init=False, eq=False, default=0)
    concern: str = field(init=False, eq=False, repr=False, default="")

    def __attrs_post_init__(self) -> None:
        unchecked: object = self.text  # callers may not be type-checked
        if not isinstance(unchecked, str):
            raise TypeError(f"an address must be a string, not {quoted(unchecked)}")
        plain = _PLAIN_SOCKET.fullmatch(self.text)
        if plain is not None:  # most addresses, to which the rules below make no difference
            object.__setattr__(self, "scheme", "unix")
            object.__setattr__(self, "path", plain[1])
            return
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
            path: The socket's path, which may hold any bytes but NUL.

        Returns:
            The address, in which special characters are percent-encoded.

        Raises:
            SpecError: If ``path`` is empty, or holds NUL or an unpaired surrogate.
        """
        return cls(of_path(path))

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS: only for ``https``, with or without TLSConfig."""
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        """The value of the ``Host`` header (protocol.md A4)."""
        if not self.host:
            return UNIX_HOST
        # The zone of an IPv6 address has a meaning only on this machine, and is not sent.
        host = self.host.partition("%")[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def explain(self, error: OSError) -> str:
        """Explain a failed attempt to connect to this address.

        Args:
            error: The operating system's error.

        Returns:
            A text such as "no socket there; is the plugin running?".
        """
        kind = "tcp" if self.host else "unix"
        explanation = _REFUSALS.get((kind, error.errno or 0))
        return explanation or shown(error.strerror or str(error)) or type(error).__name__


def is_address(text: str) -> bool:
    """Return whether ``text`` is meant as an address rather than as a plugin's name.

    Only the scheme decides, since names of managed plugins have slashes too.
    """
    return _BY_SCHEME.match(text) is not None


def of_path(path: str) -> str:
    """Return the text of ``Address.of_socket(path)``, without building the address."""
    if _UNESCAPED.fullmatch(path):  # most paths: spare ``quote``, and its import
        return f"unix://{path}"
    if not is_encodable(path):
        raise SpecError(f"{quoted(path)} is not the path of a socket: it has an unpaired surrogate")
    # In a relative path an "@" would end a user name.
    safe = "/:!$&'()*+,;= " + ("@" if path.startswith("/") else "")
    from urllib.parse import quote

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
    meant = f"tcp://{text}" if plain else of_path(text) if re.match(_ABSOLUTE, text) else ""
    hint = f"; did you mean {shown(meant)}?" if meant else ""
    raise SpecError(f"address {_public(text)} is not of the form scheme://… or unix:/path{hint}")


def _without_credentials(text: str, scheme: str, rest: str) -> str:
    # As in Go, credentials end at the last "@" before the first of these characters.
    if "@" not in rest or not rest.startswith("//"):
        return rest
    authority = re.split(r"[/?#]", rest.removeprefix("//"))[0]
    credentials, at, _ = authority.rpartition("@")
    if not at or scheme not in {"unix", *DEFAULT_PORTS}:
        return rest
    if not re.fullmatch(_USER_INFO, credentials):
        raise SpecError(
            f"address {_public(text)} has a character before the @ that must be escaped"
        )
    return "//" + rest[len("//") + len(credentials) + len(at) :]


def _public(text: str) -> str:
    """Return ``text`` for an error, without anything that may be a user name or a secret."""
    private = None if re.match(_PATH, text) else re.match(_PRIVATE, text)
    hidden = f"{private[1] or ''}{HIDDEN}@{text[private.end() :]}" if private else text
    return quoted(hidden, MAX_TEXT if re.match(_LIKELY, text) else _MAX_UNLIKELY)


def _socket_path(text: str, rest: str) -> str:
    path = _QUERY.split(rest.removeprefix("//"), 1)[0]
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path, errors="surrogateescape")
    if not path or "\0" in path or not is_encodable(path):
        raise SpecError(f"address {_public(text)} has no valid path of a socket")
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
        raise SpecError(f"address {_public(text)} has a host that is not a domain name") from error
    # IDNA encoding may yield characters that a host cannot hold: U+2100 becomes "a/c".
    if not name.isascii() or not re.fullmatch(_HOST, name):
        raise SpecError(f"address {_public(text)} has a host that is not a domain name")
    return name or "localhost"


def _ipv6(text: str, host: str) -> str:
    from ipaddress import IPv6Address

    try:
        IPv6Address(host)
    except ValueError as error:
        raise SpecError(f"address {_public(text)} names no valid host and port") from error
    return host


def _known_version(_: object, __: object, value: int) -> None:
    if value not in {0, TLS_1_2, TLS_1_3}:
        raise SpecError(
            f"MinVersion {shown(value)} is not supported: use 771 (TLS 1.2), 772 (TLS 1.3) or 0"
        )


@frozen
class TLSOptions:
    """TLS options for a plugin at an ``https`` address: Moby's ``tlsconfig.Options``.

    A frozen value. Files are PEM, of at most 1 MiB; they are opened when a transport is made, not
    here. For an unencrypted address the options have no effect, and a warning is logged.

    Args:
        ca_file: Certificates to verify the plugin's certificate with, besides the system's; "" for
            the system's alone.
        cert_file: The certificate that the host presents to the plugin.
        key_file: The private key of ``cert_file``.
        insecure_skip_verify: Whether the plugin's certificate is accepted without verification.
        exclusive_root_pools: Whether only the certificates in ``ca_file`` are trusted, not the
            system's. If ``ca_file`` is "", making a transport then raises ``SpecError``, unless
            ``insecure_skip_verify`` is true.
        min_version: The oldest TLS version to accept: 0 or 771 for 1.2, 772 for 1.3.
        passphrase: The passphrase of an encrypted key; never shown, and never read from a spec.

    Raises:
        SpecError: If ``min_version`` is not 0, 771 or 772.
        TypeError: If a value has the wrong type.

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
        """Return a warning about these options for an administrator.

        Args:
            encrypted: Whether the options are used with an encrypted address.

        Returns:
            One sentence; "" if there is nothing to warn of.
        """
        if encrypted:
            return "TLS without verification of the plugin" if self.insecure_skip_verify else ""
        files = self.ca_file or self.cert_file or self.key_file
        if files or self.min_version or self.exclusive_root_pools:
            return "TLS options are given, but only https:// is encrypted: this is plain text"
        return ""


def warnings_about(address: Address, tls: TLSOptions | None) -> tuple[str, ...]:
    """Return the warnings that a host logs before it connects to ``address``; () if none."""
    concern = "" if tls is None else tls.concerns(encrypted=address.encrypted)
    if not (concern or address.concern):  # asked twice in each activation, and hardly ever given
        return ()
    return tuple(filter(None, (concern, address.concern)))


def check_tls(value: object) -> None:
    """Raise ``TypeError`` if a ``tls_config`` is neither ``TLSOptions`` nor ``None``."""
    if not (value is None or isinstance(value, TLSOptions)):
        # The value is not shown, since it may hold a passphrase.
        raise TypeError(f"tls_config takes TLSOptions, not a {type(value).__name__}")


@frozen
class ServerTLS:
    """TLS options of a served plugin, for ``serve_tcp`` and ``plugin_server_tcp``.

    A frozen value. All but the passphrase are paths of PEM files. ``cert_file``, ``key_file`` and
    ``client_ca_file``, of at most 1 MiB each, are opened when the server starts; if one cannot be
    used, ``start`` raises ``SpecError``. The other three are only written into the spec, as
    absolute paths: hosts open them.

    Args:
        cert_file: The plugin's certificate.
        key_file: The private key of ``cert_file``.
        ca_file: Written into the spec: the certificates that hosts verify the plugin with; "" for
            the system's roots.
        client_ca_file: If given, hosts must present a certificate that one of its certificates
            has signed.
        host_cert_file: Written into the spec: the certificate that hosts present.
        host_key_file: Written into the spec: the private key of ``host_cert_file``.
        passphrase: The passphrase of an encrypted ``key_file``; never shown.

    Raises:
        TypeError: If a value has the wrong type.

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
