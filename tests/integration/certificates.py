"""Certificates for tests of TLS, signed by an authority of each test's own."""

import datetime as dt
import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)


class Certificates:
    """An authority, and the files and contexts that it vouches for, in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self.ca_file = str(directory / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def server(
        self,
        host: str = "localhost",
        *,
        asks_for_client: bool = False,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
    ) -> ssl.SSLContext:
        """What a plugin serves as ``host`` with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued = self._authority.issue_cert(host, not_before=not_before, not_after=not_after)
        issued.configure_cert(context)
        if asks_for_client:
            self._authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def server_files(self, host: str = "localhost") -> tuple[str, str]:
        """A certificate for a plugin that serves as ``host``, and its key."""
        issued = self._authority.issue_cert(host)
        cert, key = self._directory / "server.pem", self._directory / "server-key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return str(cert), str(key)

    def self_signed(self) -> ssl.SSLContext:
        """The options of a plugin that serves with a self-signed certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        path = self._directory / "self-signed.pem"
        path.write_bytes(self._authority.private_key_pem.bytes() + self._authority.cert_pem.bytes())
        context.load_cert_chain(path)
        return context

    def client(self, passphrase: str = "") -> tuple[str, str]:
        """A certificate to show to a plugin, and its key, encrypted if there is a passphrase."""
        issued = self._authority.issue_cert("host@example.org")
        cert, key = self._directory / "cert.pem", self._directory / "key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        pem = issued.private_key_pem.bytes()
        if passphrase:
            pem = load_pem_private_key(pem, None).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode())
            )
        key.write_bytes(pem)
        return str(cert), str(key)
