"""TLS as a spec writes it; what an adapter makes of it is in ``adapters/http/tcp.py``."""

from attrs import field, frozen, validators

from moby_plugins.domain.errors import SpecError

# The versions that a minimum can name, as TLS itself writes them (protocol.md A2).
TLS_1_2 = 0x0303
TLS_1_3 = 0x0304


def _known_version(_: object, __: object, value: int) -> None:
    if value not in {0, TLS_1_2, TLS_1_3}:
        raise SpecError(f"MinVersion {value} is not a TLS version that can be asked for: 771, 772")


@frozen
class TLSOptions:
    """How to speak TLS with a plugin: Moby's ``tlsconfig.Options``.

    ``ca_file``, ``cert_file`` and ``key_file`` are paths of PEM files; they are
    opened when a transport is made, not here. ``exclusive_root_pools`` trusts
    ``ca_file`` alone, otherwise the system's roots count too. ``min_version`` is
    0 (TLS 1.2), 771 (1.2) or 772 (1.3); anything else raises ``SpecError``.
    ``passphrase`` opens an encrypted key; it is never shown and never read from
    a spec.
    """

    ca_file: str = field(default="", validator=validators.instance_of(str))
    cert_file: str = field(default="", validator=validators.instance_of(str))
    key_file: str = field(default="", validator=validators.instance_of(str))
    insecure_skip_verify: bool = field(default=False, validator=validators.instance_of(bool))
    exclusive_root_pools: bool = field(default=False, validator=validators.instance_of(bool))
    min_version: int = field(default=0, validator=[validators.instance_of(int), _known_version])
    passphrase: str = field(default="", repr=False, validator=validators.instance_of(str))

    def concerns(self, *, encrypted: bool) -> str:
        """What an administrator should know about these options for such an address, or ""."""
        if encrypted:
            return "TLS without verification of the plugin" if self.insecure_skip_verify else ""
        given = self.ca_file or self.cert_file or self.key_file
        if given or self.min_version or self.exclusive_root_pools:
            return "TLS options are given, but only https:// is encrypted: this is plain text"
        return ""


@frozen
class ServerTLS:
    """How a plugin speaks TLS with its hosts; all are paths of PEM files, opened at the start.

    ``cert_file`` and ``key_file`` are the plugin's own; ``passphrase`` opens an
    encrypted key. With ``client_ca_file`` hosts must show a certificate signed by
    it. The rest is for the spec: ``ca_file`` is what hosts verify the plugin by
    (without it, the system's roots), ``host_cert_file`` and ``host_key_file`` what
    they show.
    """

    cert_file: str
    key_file: str
    ca_file: str = ""
    client_ca_file: str = ""
    host_cert_file: str = ""
    host_key_file: str = ""
    passphrase: str = field(default="", repr=False)
