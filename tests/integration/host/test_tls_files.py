"""TLS files that cannot be used: an error when the client is made, which names the file."""

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from moby_plugins import (
    Cancellation,
    RetryPolicy,
    SpecError,
    TLSOptions,
    TransportTimeoutError,
    WaitCancelledError,
    new_client,
    new_local_registry,
)
from moby_plugins.app.settings import BUILT_IN, Settings
from moby_plugins.serving import PluginApp, ServerTLS, plugin_server_tcp
from moby_plugins.testing import FakeClock
from tests.integration.certificates import Certificates
from tests.integration.serving.plugins import Echoes

ADDR = "https://localhost:1"
# Of umount2(): at once, whatever is in use.
MNT_DETACH = 2


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
    """A file that is not a PEM."""
    (tmp_path / "garbage").write_bytes(b"\x00\x01 no PEM \xff")
    return str(tmp_path / "garbage")


def test_a_missing_ca_file_is_a_spec_error(tmp_path: Path) -> None:
    """The error names the file, and the reason that the system gives."""
    path = str(tmp_path / "missing.pem")

    error = failure(TLSOptions(ca_file=path))

    assert str(error) == f"{path}: CAFile cannot be used: No such file or directory"
    assert error.file == path
    assert isinstance(error.__cause__, FileNotFoundError)


def test_a_ca_file_that_is_not_pem_is_a_spec_error(garbage: str) -> None:
    """The error names the file, and OpenSSL's reason in plain words."""
    error = failure(TLSOptions(ca_file=garbage))

    assert str(error) == f"{garbage}: CAFile cannot be used: no certificate or crl found"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_ca_file_that_may_not_be_read_is_a_spec_error(certificates: Certificates) -> None:
    """The error says that permission is denied."""
    Path(certificates.ca_file).chmod(0)
    os.seteuid(65534)
    try:
        error = failure(TLSOptions(ca_file=certificates.ca_file))
    finally:
        os.seteuid(0)

    assert error.reason == "CAFile cannot be used: Permission denied"


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=["NUL", "a surrogate"])
def test_a_tls_file_path_with_invalid_characters_is_a_spec_error(
    path: str, certificates: Certificates
) -> None:
    """A spec can hold a NUL or a surrogate, but the path of a file cannot."""
    cert_file, key_file = certificates.client()

    assert failure(TLSOptions(ca_file=path)).file == path
    assert failure(TLSOptions(certificates.ca_file, path, key_file)).file == path
    assert failure(TLSOptions(certificates.ca_file, cert_file, path)).file == cert_file


def test_exclusive_roots_without_a_ca_file_are_a_spec_error() -> None:
    """``exclusive_root_pools`` without ``ca_file`` would trust no certificate."""
    error = failure(TLSOptions(exclusive_root_pools=True))

    assert error.reason == "ExclusiveRootPools without a CAFile would trust no certificate"


@pytest.mark.parametrize("given", ["cert", "key"])
def test_a_client_certificate_and_its_key_must_be_given_together(
    given: str, certificates: Certificates
) -> None:
    """One of the two alone is a ``SpecError``, and not a client without a certificate."""
    cert_file, key_file = certificates.client()
    options = TLSOptions(
        certificates.ca_file,
        cert_file if given == "cert" else "",
        key_file if given == "key" else "",
    )

    error = failure(options)

    assert error.reason == "CertFile and KeyFile must be given together"
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


def test_a_certificate_or_key_that_is_not_pem_is_a_spec_error(
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
    """A client's ``key_file`` must belong to its ``cert_file``."""
    (tmp_path / "other").mkdir()
    _, other_key = Certificates(tmp_path / "other").client()
    cert_file, _ = certificates.client()

    error = failure(TLSOptions(certificates.ca_file, cert_file, other_key))

    assert error.reason.endswith("cannot be used: key values mismatch")


@pytest.mark.parametrize("passphrase", ["", "wrong", "x" * 2000])
def test_an_encrypted_key_without_its_passphrase_is_an_error_and_no_prompt(
    passphrase: str, certificates: Certificates
) -> None:
    """Without the right passphrase a client is refused at once; no terminal is asked."""
    cert_file, key_file = certificates.client(passphrase="open sesame")
    options = TLSOptions(certificates.ca_file, cert_file, key_file, passphrase=passphrase)

    error = failure(options)

    assert error.reason.startswith(f"CertFile and KeyFile {key_file} cannot be used: ")
    assert not passphrase or passphrase not in str(error)


def test_a_repr_of_options_does_not_show_the_passphrase() -> None:
    """Options and settings that are logged or printed do not reveal the passphrase."""
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


def test_a_tls_file_that_is_not_a_regular_file_is_a_spec_error_at_once(
    tmp_path: Path, certificates: Certificates
) -> None:
    """A FIFO, a device, a directory or a file of 10 GiB is not read, by hosts or by plugins."""
    fifo, large, pem = str(tmp_path / "fifo"), str(tmp_path / "large"), certificates.ca_file
    os.mkfifo(fifo)
    with open(large, "wb") as file:
        file.truncate(10 << 30)

    for path in (fifo, "/dev/zero", str(tmp_path)):
        assert str(failure(TLSOptions(ca_file=path))).endswith("not a regular file")
        assert "not a regular file" in str(failure(TLSOptions(cert_file=path, key_file=pem)))
        assert "not a regular file" in str(failure(TLSOptions(cert_file=pem, key_file=path)))
        for tls in (
            ServerTLS(cert_file=path, key_file=pem),
            ServerTLS(cert_file=pem, key_file=path),
        ):
            with pytest.raises(SpecError, match="not a regular file"):
                plugin_server_tcp(PluginApp(), "p", tls=tls, specs_path=str(tmp_path)).start()
    assert str(failure(TLSOptions(ca_file=large))).endswith("larger than 1048576 bytes")


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A file system at ``tmp_path / "gone"`` that answers nothing, until this is called."""
    libc = ctypes.CDLL(None, use_errno=True)
    directory = tmp_path / "gone"
    directory.mkdir()
    answers = [os.open("/dev/fuse", os.O_RDWR)]
    options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % answers[0]
    if libc.mount(b"fuse", bytes(directory), b"fuse", 0, options):
        os.close(answers[0])
        pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")

    def end() -> None:
        while answers:
            os.close(answers.pop())

    try:
        yield end
    finally:
        end()
        assert libc.umount2(bytes(directory), MNT_DETACH) == 0


needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="only root can mount, with FUSE"
)


def reading() -> int:
    """How many threads read TLS files."""
    return sum(thread.name == "moby-plugins-read" for thread in threading.enumerate())


@needs_fuse
@pytest.mark.parametrize("transport", sorted(BUILT_IN))
@pytest.mark.parametrize("which", ["ca_file", "cert_file", "key_file"])
def test_tls_files_on_a_file_system_that_hangs_do_not_outlast_the_time_out(
    which: str,
    transport: str,
    hung: Callable[[], None],
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    """One thread reads for all calls that wait; once the reading fails, the error says why."""
    cert_file, key_file = certificates.client()
    options = attrs.evolve(
        TLSOptions(certificates.ca_file, cert_file, key_file),
        **{which: str(tmp_path / "gone" / "file.pem")},  # type: ignore[arg-type]  # a path
    )
    settings = Settings(transports={"https": transport}, retry=RetryPolicy.never())
    with new_client(ADDR, options, timeout=0.2, settings=settings) as client:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(TransportTimeoutError):
                client.call("M.x")
            assert time.monotonic() - began < 2
        new_client(ADDR, options, settings=settings).close()
        assert reading() == 1

        hung()
        with pytest.raises(SpecError, match="cannot be used: Transport endpoint is not connected"):
            client.call("M.x", timeout=5.0)


@needs_fuse
def test_a_plugin_whose_tls_files_hang_holds_up_no_other(
    hung: Callable[[], None], tmp_path: Path
) -> None:
    """``get_all`` leaves the plugin out at its time-out; a ``get`` of it can be cancelled."""
    gone = str(tmp_path / "gone" / "ca.pem")
    spec = {"Addr": ADDR, "TLSConfig": {"CAFile": gone}}
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "hung.json").write_text(json.dumps(spec))
    with plugin_server_tcp(PluginApp(Echoes()), "well", specs_path=str(specs)):
        settings = Settings(
            sockets_path=str(specs), specs_paths=(str(specs),), activation_timeout=0.3
        )
        with new_local_registry(attrs.evolve(settings, retry=RetryPolicy.never())) as registry:
            failed: list[str] = []
            began = time.monotonic()
            found = registry.get_all(on_failure=lambda name, _: failed.append(name))
            assert time.monotonic() - began < 4
            assert [plugin.name for plugin in found] == ["well"]
            assert failed == ["hung"]

        with new_local_registry(attrs.evolve(settings, activation_timeout=60.0)) as registry:
            cancel = Cancellation()
            timer = threading.Timer(1.0, cancel.set)
            timer.start()
            began = time.monotonic()
            with pytest.raises(WaitCancelledError):
                registry.get("hung", cancel=cancel)
            assert time.monotonic() - began < 4
            timer.join()
