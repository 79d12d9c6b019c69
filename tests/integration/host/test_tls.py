"""TLS: which plugins and hosts are trusted or refused, and what the errors say."""

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins import (
    RetryPolicy,
    Settings,
    TLSOptions,
    TransportError,
    TransportTimeoutError,
    WireError,
    new_client,
)
from moby_plugins.adapters.http.dialing import TLSDialer
from moby_plugins.adapters.http.tls import ssl_context
from moby_plugins.domain.address import Address
from tests.dummy_plugin import (
    Behaviour,
    Conversation,
    DummyPlugin,
    answering,
    http,
    keeps_answering,
)
from tests.integration.certificates import Certificates

ONCE = Settings(retry=RetryPolicy.never())


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An authority and its files."""
    return Certificates(tmp_path)


@contextlib.contextmanager
def plugin(context: ssl.SSLContext) -> Iterator[DummyPlugin]:
    """A plugin on TLS that answers 1 to all it is asked."""
    with DummyPlugin.on_tcp(keeps_answering(b"1"), context) as running:
        yield running


def call(addr: str, options: TLSOptions | None, timeout: float = 5) -> object:
    """What one call to ``addr`` comes to."""
    with new_client(addr, options, settings=ONCE) as client:
        return client.call("M.x", {}, timeout=timeout)


def refusal(addr: str, options: TLSOptions | None) -> str:
    """Why one call to ``addr`` fails, not having been answered."""
    with pytest.raises(TransportError) as caught:
        call(addr, options)
    assert type(caught.value) is TransportError
    assert not caught.value.answered
    return caught.value.reason


def test_a_plugin_of_a_private_authority_is_verified(certificates: Certificates) -> None:
    """With ``ca_file`` a plugin whose certificate that authority signed is trusted."""
    with plugin(certificates.server()) as running:
        assert call(running.addr, TLSOptions(ca_file=certificates.ca_file)) == 1


def test_a_connection_is_kept_over_tls(certificates: Certificates) -> None:
    """One handshake serves several calls."""
    options = TLSOptions(ca_file=certificates.ca_file)
    with (
        plugin(certificates.server()) as running,
        new_client(running.addr, options, settings=ONCE) as client,
    ):
        assert [client.call("M.x", {}) for _ in range(3)] == [1, 1, 1]
        assert running.connections == 1


def test_an_ip_address_is_verified(certificates: Certificates) -> None:
    """A certificate for an IP address is good for that address."""
    with plugin(certificates.server("127.0.0.1")) as running:
        addr = running.addr.replace("localhost", "127.0.0.1")
        assert call(addr, TLSOptions(ca_file=certificates.ca_file)) == 1


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_plugin_of_another_authority_is_refused(
    certificates: Certificates, tmp_path: Path, *, exclusive: bool
) -> None:
    """A certificate that a stranger signed is not trusted, with or without the system's roots."""
    (tmp_path / "stranger").mkdir()
    stranger = Certificates(tmp_path / "stranger")
    options = TLSOptions(ca_file=certificates.ca_file, exclusive_root_pools=exclusive)

    with plugin(stranger.server()) as running:
        assert "certificate verify failed" in refusal(running.addr, options)


def test_a_certificate_for_another_host_is_refused(certificates: Certificates) -> None:
    """A certificate must name the plugin's host; the error says which name is missing."""
    with plugin(certificates.server("elsewhere.example")) as running:
        reason = refusal(running.addr, TLSOptions(ca_file=certificates.ca_file))

    assert reason.startswith("TLS: ")
    assert "'localhost'" in reason


def test_without_options_a_private_authority_is_refused(certificates: Certificates) -> None:
    """``https`` without options verifies against the system's roots alone."""
    with plugin(certificates.server()) as running:
        assert "certificate verify failed" in refusal(running.addr, None)


def test_a_self_signed_certificate_is_refused(certificates: Certificates) -> None:
    """A self-signed certificate is not trusted, and the error says so."""
    with plugin(certificates.self_signed()) as running:
        assert "self-signed certificate" in refusal(running.addr, None)


def test_an_expired_certificate_is_refused(certificates: Certificates) -> None:
    """A certificate whose time has passed is not trusted."""
    expired = certificates.server(not_after=dt.datetime(2001, 1, 1, tzinfo=dt.UTC))

    with plugin(expired) as running:
        reason = refusal(running.addr, TLSOptions(ca_file=certificates.ca_file))

    assert "certificate has expired" in reason


def test_a_refused_plugin_is_sent_nothing(certificates: Certificates) -> None:
    """No request is sent before the plugin's certificate is verified."""
    requests: list[bytes] = []
    behaviour = answering(http(b"1"), requests=requests)
    with DummyPlugin.on_tcp(behaviour, certificates.server()) as running:
        refusal(running.addr, None)

    assert requests == []


@pytest.mark.parametrize("host", ["localhost", "elsewhere.example"])
def test_insecure_skip_verify_accepts_any_certificate(
    host: str, certificates: Certificates
) -> None:
    """With ``insecure_skip_verify`` neither the signer nor the name matters."""
    with plugin(certificates.server(host)) as running:
        assert call(running.addr, TLSOptions(insecure_skip_verify=True)) == 1


def test_the_systems_root_certificates_are_trusted_beside_a_ca_file(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``exclusive_root_pools`` makes the file's authorities the only ones."""
    (tmp_path / "system").mkdir()
    system = Certificates(tmp_path / "system")
    monkeypatch.setenv("SSL_CERT_FILE", system.ca_file)
    ours = certificates.ca_file

    with plugin(system.server()) as running:
        assert call(running.addr, None) == 1
        assert call(running.addr, TLSOptions(ca_file=ours)) == 1
        exclusive = TLSOptions(ca_file=ours, exclusive_root_pools=True)
        assert "certificate verify failed" in refusal(running.addr, exclusive)


def test_a_client_certificate_is_shown_to_a_plugin_that_asks(certificates: Certificates) -> None:
    """A plugin that requires a client certificate responds to a host that has one."""
    cert_file, key_file = certificates.client()
    options = TLSOptions(certificates.ca_file, cert_file, key_file)

    with plugin(certificates.server(asks_for_client=True)) as running:
        assert call(running.addr, options) == 1


def test_a_host_without_a_required_client_certificate_is_refused(
    certificates: Certificates,
) -> None:
    """A plugin that requires a client certificate sends no response to such a host."""
    with (
        plugin(certificates.server(asks_for_client=True)) as running,
        pytest.raises(TransportError) as caught,
    ):
        call(running.addr, TLSOptions(certificates.ca_file))

    assert not caught.value.answered


def test_an_encrypted_key_is_opened_with_its_passphrase(certificates: Certificates) -> None:
    """``passphrase`` opens the key of the client's certificate."""
    cert_file, key_file = certificates.client(passphrase="open sesame")
    options = TLSOptions(certificates.ca_file, cert_file, key_file, passphrase="open sesame")

    with plugin(certificates.server(asks_for_client=True)) as running:
        assert call(running.addr, options) == 1


def test_a_minimum_version_refuses_an_older_plugin(certificates: Certificates) -> None:
    """A plugin that speaks TLS 1.2 at most is refused only where 1.3 is asked for."""
    old = certificates.server()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with plugin(old) as running:
        ours = certificates.ca_file
        assert refusal(running.addr, TLSOptions(ours, min_version=772)).startswith("TLS: ")
        assert call(running.addr, TLSOptions(ours, min_version=771)) == 1
        assert call(running.addr, TLSOptions(ours)) == 1


def test_a_plugin_that_speaks_no_tls_is_refused() -> None:
    """A plain-text plugin at an ``https`` address is a TLS error."""
    with DummyPlugin.on_tcp(lambda conversation: conversation.send(b"hello there\n")) as running:
        addr = running.addr.replace("tcp://", "https://")
        assert refusal(addr, TLSOptions(insecure_skip_verify=True)).startswith("TLS: ")


def test_a_tls_handshake_that_hangs_ends_at_the_time_out() -> None:
    """A plugin that accepts and sends nothing makes the call take its time-out and no more."""
    with DummyPlugin.on_tcp(lambda conversation: conversation.hang()) as running:
        addr = running.addr.replace("tcp://", "https://")
        began = time.monotonic()

        with pytest.raises(TransportTimeoutError) as caught:
            call(addr, TLSOptions(insecure_skip_verify=True), timeout=0.2)

        assert 0.19 <= time.monotonic() - began <= 1.2
    assert not caught.value.answered


def test_a_tls_dial_may_have_no_time_out(certificates: Certificates) -> None:
    """The socket of such a dial has no time-out either."""
    with plugin(certificates.server()) as running:
        context = ssl_context(TLSOptions(certificates.ca_file))

        with TLSDialer(Address(running.addr), context)(None) as sock:
            assert sock.gettimeout() is None
            assert sock.version() == "TLSv1.3"


def test_connecting_and_tls_handshake_share_the_time_out() -> None:
    """A handshake after a slow connection gets the rest of the time-out, not all of it."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as filler:
        filler.connect(listener.getsockname())
        # Makes room for the system's second try to connect, which comes after one second.
        accept = threading.Timer(0.3, lambda: taken.append(listener.accept()[0]))
        accept.start()
        began = time.monotonic()

        with pytest.raises(TransportTimeoutError):
            call(
                f"https://127.0.0.1:{listener.getsockname()[1]}",
                TLSOptions(insecure_skip_verify=True),
                timeout=1.3,
            )

        # All of it again would end after 2.3 seconds.
        assert 1.29 <= time.monotonic() - began <= 2.2
        accept.join()
        taken[0].close()


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n1"


def says_goodbye(conversation: Conversation) -> None:
    """End the connection as TLS has it."""
    with contextlib.suppress(OSError):  # our host does not say it too
        assert isinstance(conversation.sock, ssl.SSLSocket)
        conversation.sock.unwrap()


def is_cut_off(conversation: Conversation) -> None:
    """End it as an attacker between the two could."""
    conversation.sock.shutdown(socket.SHUT_RDWR)


def until_close(end: Behaviour) -> Behaviour:
    """A plugin whose response ends with its connection."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(UNTIL_CLOSE)
        end(conversation)

    return behave


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 200_000])
def test_a_body_that_is_cut_off_under_tls_is_an_error(
    version: ssl.TLSVersion, size: int, certificates: Certificates, once: Settings
) -> None:
    """A body that ends with its connection is complete only after a TLS close_notify."""
    context = certificates.server()
    context.maximum_version = version
    options = TLSOptions(ca_file=certificates.ca_file)
    data = bytes(size)  # larger ones are sent in several steps
    for end, whole in ((says_goodbye, True), (is_cut_off, False)):
        with (
            DummyPlugin.on_tcp(until_close(end), context) as running,
            new_client(running.addr, options, settings=once) as client,
        ):
            if whole:
                assert client.send_file("M.x", data, timeout=5) == 1
            else:
                with pytest.raises(WireError, match="cut off"):
                    client.send_file("M.x", data, timeout=5)
