"""What the urllib3 transport decides before it dials."""

import pytest

from moby_plugins.adapters.http.urllib3 import connect
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import SpecError


@pytest.mark.parametrize("scheme", ["npipe", "ssh"])
def test_a_scheme_that_cannot_be_dialled_is_a_spec_error(scheme: str) -> None:
    """The message names the schemes that can be dialled."""
    with pytest.raises(SpecError) as caught:
        connect(Address(f"{scheme}://somewhere"), None)

    known = "http, https, tcp, unix"
    reason = f"{scheme}:// cannot be dialled; the schemes that can be are {known}"
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "addr", ["unix:///nonexistent/p.sock", "tcp://p.invalid:1", "https://p.invalid:1"]
)
def test_a_transport_is_made_without_dialling(addr: str) -> None:
    """The plugin need not exist yet; closing an unused transport, even twice, is no error."""
    transport = connect(Address(addr), TLSOptions(insecure_skip_verify=True))

    transport.close()
    transport.close()


def test_tls_files_are_opened_only_for_https_addresses() -> None:
    """For ``https`` a missing CA file is an error at once; for plain text it is not looked at."""
    options = TLSOptions(ca_file="/nonexistent/ca.pem")

    connect(Address("tcp://localhost:1"), options).close()
    with pytest.raises(SpecError, match=r"^/nonexistent/ca\.pem: CAFile cannot be used: "):
        connect(Address("https://localhost:1"), options)
