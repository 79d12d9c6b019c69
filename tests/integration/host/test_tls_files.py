"""TLS files that cannot be used: an error when the client is made, which names the file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import SpecError, TLSOptions, new_client, new_local_registry
from moby_plugins.app.settings import Settings
from moby_plugins.testing import FakeClock
from tests.integration.certificates import Certificates

ADDR = "https://localhost:1"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An authority and its files."""
    return Certificates(tmp_path)


def failure(options: TLSOptions) -> SpecError:
    """Why no client can be made with ``options``."""
    with pytest.raises(SpecError) as caught:
        new_client(ADDR, options)
    return caught.value


@pytest.fixture
def garbage(tmp_path: Path) -> str:
    """A file that is no PEM."""
    (tmp_path / "garbage").write_bytes(b"\x00\x01 no PEM \xff")
    return str(tmp_path / "garbage")


def test_a_missing_ca_file_is_a_spec_error(tmp_path: Path) -> None:
    """The message names the file and the reason."""
    path = str(tmp_path / "missing.pem")

    error = failure(TLSOptions(ca_file=path))

    assert str(error) == f"{path}: CAFile cannot be used: No such file or directory"
    assert error.file == path
    assert isinstance(error.__cause__, FileNotFoundError)


def test_a_ca_file_that_is_no_pem_is_a_spec_error(garbage: str) -> None:
    """A file without a certificate is named, with OpenSSL's reason in plain words."""
    error = failure(TLSOptions(ca_file=garbage))

    assert str(error) == f"{garbage}: CAFile cannot be used: no certificate or crl found"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_ca_file_without_permission_is_a_spec_error(certificates: Certificates) -> None:
    """A file that may not be read is named for that."""
    Path(certificates.ca_file).chmod(0)
    os.seteuid(65534)
    try:
        error = failure(TLSOptions(ca_file=certificates.ca_file))
    finally:
        os.seteuid(0)

    assert error.reason == "CAFile cannot be used: Permission denied"


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=["NUL", "a surrogate"])
def test_a_path_that_cannot_be_one_is_a_spec_error(path: str, certificates: Certificates) -> None:
    """What no file can be called, but a spec may say, is an error of the spec."""
    cert_file, key_file = certificates.client()

    assert failure(TLSOptions(ca_file=path)).file == path
    assert failure(TLSOptions(certificates.ca_file, path, key_file)).file == path
    assert failure(TLSOptions(certificates.ca_file, cert_file, path)).file == cert_file


def test_exclusive_roots_without_a_ca_file_are_a_spec_error() -> None:
    """To trust a file alone, there must be a file."""
    error = failure(TLSOptions(exclusive_root_pools=True))

    assert error.reason == "ExclusiveRootPools without a CAFile trusts nobody"


@pytest.mark.parametrize("given", ["cert", "key"])
def test_a_certificate_goes_with_a_key(given: str, certificates: Certificates) -> None:
    """One of the two without the other is an error, not a client without a certificate."""
    cert_file, key_file = certificates.client()
    options = TLSOptions(
        certificates.ca_file,
        cert_file if given == "cert" else "",
        key_file if given == "key" else "",
    )

    error = failure(options)

    assert error.reason == "CertFile and KeyFile go together"
    assert error.file == (cert_file if given == "cert" else key_file)


def test_a_missing_certificate_or_key_is_a_spec_error(certificates: Certificates) -> None:
    """A client certificate that is not there is an error that names both of its files."""
    cert_file, key_file = certificates.client()
    missing = cert_file + ".missing"

    for cert, key in ((missing, key_file), (cert_file, missing)):
        error = failure(TLSOptions(certificates.ca_file, cert, key))

        assert error.file == cert
        assert error.reason == (
            f"CertFile and KeyFile {key} cannot be used: No such file or directory"
        )


def test_a_certificate_or_key_that_is_no_pem_is_a_spec_error(
    certificates: Certificates, garbage: str
) -> None:
    """A client certificate that cannot be read is an error that names both of its files."""
    cert_file, key_file = certificates.client()

    for cert, key in ((garbage, key_file), (cert_file, garbage)):
        error = failure(TLSOptions(certificates.ca_file, cert, key))

        assert error.file == cert
        assert error.reason.startswith(f"CertFile and KeyFile {key} cannot be used: ")


def test_a_key_of_another_certificate_is_a_spec_error(
    certificates: Certificates, tmp_path: Path
) -> None:
    """A key must be its certificate's."""
    (tmp_path / "other").mkdir()
    _, other_key = Certificates(tmp_path / "other").client()
    cert_file, _ = certificates.client()

    error = failure(TLSOptions(certificates.ca_file, cert_file, other_key))

    assert error.reason.endswith("cannot be used: key values mismatch")


@pytest.mark.parametrize("passphrase", ["", "wrong", "x" * 2000])
def test_an_encrypted_key_asks_nobody_for_its_passphrase(
    passphrase: str, certificates: Certificates
) -> None:
    """Without the right passphrase the key is an error at once; no terminal is asked."""
    cert_file, key_file = certificates.client(passphrase="open sesame")
    options = TLSOptions(certificates.ca_file, cert_file, key_file, passphrase=passphrase)

    error = failure(options)

    assert error.reason.startswith(f"CertFile and KeyFile {key_file} cannot be used: ")
    assert not passphrase or passphrase not in str(error)


def test_a_passphrase_shows_in_no_repr() -> None:
    """What is logged or printed of the options does not hold the passphrase."""
    options = TLSOptions("ca.pem", passphrase="open sesame")

    assert "sesame" not in f"{options!r} {options} {Settings()!r}"


def test_a_tls_file_that_cannot_be_used_is_not_retried(tmp_path: Path) -> None:
    """``get`` raises at once where a spec names a CA file that is not there."""
    missing = tmp_path / "missing.pem"
    (tmp_path / "p.json").write_text(
        '{"Addr": "%s", "TLSConfig": {"CAFile": "%s"}}' % (ADDR, missing)  # noqa: UP031  JSON's braces
    )
    clock = FakeClock()
    settings = Settings(sockets_path=str(tmp_path), specs_paths=(str(tmp_path),))
    with (
        new_local_registry(settings, clock=clock) as registry,
        pytest.raises(SpecError, match="CAFile cannot be used") as caught,
    ):
        registry.get("p", "VolumeDriver")

    assert caught.value.file == str(missing)
    assert (clock.now(), clock.sleeps) == (0.0, [])


@pytest.mark.parametrize("given", ["ca_file", "cert_file", "key_file"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["FIFO", "directory"])
def test_what_is_no_file_is_not_waited_for(
    given: str, make: Callable[[Path], object], certificates: Certificates, tmp_path: Path
) -> None:
    """OpenSSL would wait for a writer to a FIFO, without an end."""
    make(tmp_path / "odd")
    cert, key = certificates.client()
    files: dict[str, Any] = {"ca_file": certificates.ca_file, "cert_file": cert, "key_file": key}

    error = failure(TLSOptions(**(files | {given: str(tmp_path / "odd")})))

    assert "it is no regular file" in str(error)
