"""TLS options as values."""

import pytest

from moby_plugins.domain.address import ServerTLS, TLSOptions
from moby_plugins.domain.errors import SpecError
from tests.cases import every

PLAIN_TEXT = "TLS options are given, but only https:// is encrypted: this is plain text"


def test_tls_options_without_arguments_verify_against_the_systems_certificates() -> None:
    """The defaults verify, trust the system's roots, and present no certificate."""
    options = TLSOptions()

    assert not options.insecure_skip_verify
    assert not options.exclusive_root_pools
    assert (options.ca_file, options.cert_file, options.key_file) == ("", "", "")
    assert options.min_version == 0


@pytest.mark.parametrize("version", [0, 771, 772])
def test_a_known_minimum_version_is_kept(version: int) -> None:
    """TLS 1.2 and 1.3 can be asked for by their numbers on the wire; 0 asks for no minimum."""
    assert TLSOptions(min_version=version).min_version == version


@every("version", [-1, 1, 2, 768, 769, 770, 773])
def test_an_unknown_minimum_version_is_refused(version: int) -> None:
    """Versions that are too old or unknown raise an error that names the supported ones."""
    with pytest.raises(SpecError) as caught:
        TLSOptions(min_version=version)

    assert str(caught.value) == (
        f"MinVersion {version} is not supported: use 771 (TLS 1.2), 772 (TLS 1.3) or 0"
    )


@every(
    ("option", "value"),
    [
        ("ca_file", None),
        ("cert_file", b"/c.pem"),
        ("key_file", 1),
        ("insecure_skip_verify", 1),
        ("exclusive_root_pools", "yes"),
        ("min_version", "1.2"),
        ("passphrase", None),
    ],
)
def test_an_option_of_the_wrong_type_is_refused(option: str, value: object) -> None:
    """No option is taken for true, or for a path, by accident."""
    with pytest.raises(TypeError, match=option):
        TLSOptions(**{option: value})  # type: ignore[arg-type]  # that is the point


def test_server_tls_options_are_compared_by_value_and_cannot_be_changed() -> None:
    """No option can be changed behind a running server's back."""
    tls = ServerTLS("/cert", "/key", client_ca_file="/hosts")

    assert tls == ServerTLS("/cert", "/key", client_ca_file="/hosts")
    assert (tls.ca_file, tls.host_cert_file, tls.host_key_file) == ("", "", "")
    with pytest.raises(AttributeError):
        tls.key_file = "/other"  # type: ignore[misc]  # that is the point


def test_a_passphrase_is_never_shown() -> None:
    """The text form of the options, which ends up in logs, leaves the passphrase out."""
    assert "hunter2" not in repr(TLSOptions(passphrase="hunter2"))
    assert "hunter2" not in repr(ServerTLS("/cert", "/key", passphrase="hunter2"))


@every(
    "options",
    [
        TLSOptions(ca_file="/ca.pem"),
        TLSOptions(cert_file="/c.pem"),
        TLSOptions(key_file="/k.pem"),
        TLSOptions(min_version=772),
        TLSOptions(exclusive_root_pools=True),
    ],
)
def test_tls_options_for_a_plain_text_address_lead_to_a_warning(options: TLSOptions) -> None:
    """``concerns`` returns the text of the warning; for an https address it is empty."""
    assert options.concerns(encrypted=False) == PLAIN_TEXT
    assert options.concerns(encrypted=True) == ""


def test_tls_without_verification_leads_to_a_warning() -> None:
    """``concerns`` warns for an https address only, since other addresses verify nothing anyway."""
    options = TLSOptions(insecure_skip_verify=True)

    assert options.concerns(encrypted=True) == "TLS without verification of the plugin"
    assert options.concerns(encrypted=False) == ""
