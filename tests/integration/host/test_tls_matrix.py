"""Which plugins and hosts are refused under TLS, over each transport, and what the errors say."""

import datetime as dt
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from moby_plugins import Settings, TLSOptions, TransportError, new_client
from moby_plugins.serving import PluginApp, ServerTLS, plugin_server_tcp
from tests.dummy_plugin import DummyPlugin, keeps_answering
from tests.integration.certificates import Certificates
from tests.integration.serving.plugins import WAIT, Echo, Echoes

LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
FAR_OFF = dt.datetime(2101, 1, 1, tzinfo=dt.UTC)
OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]


@frozen
class Authorities:
    """A certificate authority that the host trusts, and one that it does not."""

    ours: Certificates
    stranger: Certificates

    def options(self, shown: Certificates | None = None) -> TLSOptions:
        """What a host verifies by, and what it shows."""
        cert, key = ("", "") if shown is None else shown.client()
        return TLSOptions(self.ours.ca_file, cert, key, exclusive_root_pools=True)


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    """Both, in directories of their own."""
    for name in ("ours", "stranger"):
        (tmp_path / name).mkdir()
    return Authorities(Certificates(tmp_path / "ours"), Certificates(tmp_path / "stranger"))


def at_most(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """The context of an end that speaks an old version and no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


# A plugin, the host's options, and what the host is told.
REFUSED: dict[
    str, tuple[Callable[[Authorities], ssl.SSLContext], Callable[[Authorities], TLSOptions], str]
] = {
    "another host": (
        lambda by: by.ours.server("elsewhere.example"),
        lambda by: by.options(),
        "Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    "another authority": (
        lambda by: by.stranger.server(),
        lambda by: by.options(),
        "unable to get local issuer certificate",
    ),
    "expired": (
        lambda by: by.ours.server(not_after=LONG_AGO),
        lambda by: by.options(),
        "certificate has expired",
    ),
    "not yet valid": (
        lambda by: by.ours.server(not_before=FAR_OFF, not_after=FAR_OFF + dt.timedelta(1)),
        lambda by: by.options(),
        "certificate is not yet valid",
    ),
    "self-signed": (
        lambda by: by.stranger.self_signed(),
        lambda by: by.options(),
        "self-signed certificate",
    ),
    "no client certificate": (
        lambda by: by.ours.server(asks_for_client=True),
        lambda by: by.options(),
        "certificate required",
    ),
    "a client certificate of another authority": (
        lambda by: by.ours.server(asks_for_client=True),
        lambda by: by.options(by.stranger),
        "unknown ca",
    ),
    "TLS 1.0": (
        lambda by: at_most(by.ours.server(), ssl.TLSVersion.TLSv1),
        lambda by: by.options(),
        "protocol version",
    ),
    "TLS 1.1": (
        lambda by: at_most(by.ours.server(), ssl.TLSVersion.TLSv1_1),
        lambda by: by.options(),
        "protocol version",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_plugin_that_cannot_be_trusted_is_refused(
    case: str, authorities: Authorities, once: Settings
) -> None:
    """No request reaches the plugin, and the error says what is wrong with its TLS."""
    server, options, reason = REFUSED[case]
    requests: list[bytes] = []
    with (
        DummyPlugin.on_tcp(keeps_answering(b"1", requests), server(authorities)) as plugin,
        new_client(plugin.addr, options(authorities), settings=once) as client,
        pytest.raises(TransportError) as caught,
    ):
        client.call("M.x", {}, timeout=WAIT)

    assert type(caught.value) is TransportError
    assert not caught.value.answered
    assert caught.value.reason.startswith("TLS: ")
    assert reason.lower() in caught.value.reason.lower()
    assert requests == []


def test_a_missing_client_certificate_is_reported_in_the_middle_of_an_upload(
    authorities: Authorities, once: Settings
) -> None:
    """The error is the plugin's reason, and not that the connection broke during sending."""

    def pieces() -> Iterator[bytes]:
        for _ in range(5):
            time.sleep(0.05)
            yield b"x" * 1000

    context = authorities.ours.server(asks_for_client=True)
    with (
        DummyPlugin.on_tcp(keeps_answering(b"1"), context) as plugin,
        new_client(plugin.addr, authorities.options(), settings=once) as client,
        pytest.raises(TransportError, match=r"(?i)certificate required"),
    ):
        client.send_file("M.x", pieces(), timeout=WAIT)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("asks", [False, True], ids=["asks for nothing", "asks for a certificate"])
def test_calls_of_a_plugin_that_can_be_trusted_succeed(
    version: ssl.TLSVersion, authorities: Authorities, once: Settings, *, asks: bool
) -> None:
    """TLS 1.2 and 1.3 both work, with and without a client certificate."""
    context = authorities.ours.server(asks_for_client=asks)
    context.minimum_version = context.maximum_version = version
    options = authorities.options(authorities.ours if asks else None)
    with (
        DummyPlugin.on_tcp(keeps_answering(b"1"), context) as plugin,
        new_client(plugin.addr, options, settings=once) as client,
    ):
        assert [client.call("M.x", {}, timeout=WAIT) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("version", OLD)
def test_a_served_plugin_refuses_tls_1_0_and_1_1(
    version: ssl.TLSVersion, authorities: Authorities, tmp_path: Path, once: Settings
) -> None:
    """A host that speaks only such a version is refused; other hosts are served."""
    tls = ServerTLS(*authorities.ours.server_files())
    old = at_most(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), version)
    old.load_verify_locations(authorities.ours.ca_file)
    app = PluginApp(Echoes())
    with plugin_server_tcp(app, "p", "localhost:0", tls=tls, specs_path=str(tmp_path)) as server:
        where = ("localhost", int(server.addr.rpartition(":")[2]))
        with socket.create_connection(where, WAIT) as sock, pytest.raises(ssl.SSLError):
            old.wrap_socket(sock, server_hostname="localhost")

        with new_client(server.addr, authorities.options(), settings=once) as client:
            assert Echo(client).say("hello") == "hello"


@pytest.mark.parametrize("shown", ["none", "stranger"])
def test_a_served_plugin_refuses_hosts_without_a_trusted_client_certificate(
    shown: str, authorities: Authorities, tmp_path: Path, once: Settings
) -> None:
    """Calls of such hosts fail with a TLS error; a host with a trusted certificate is served."""
    tls = ServerTLS(*authorities.ours.server_files(), client_ca_file=authorities.ours.ca_file)
    stranger = authorities.options(authorities.stranger if shown == "stranger" else None)
    app = PluginApp(Echoes())
    with plugin_server_tcp(app, "p", "localhost:0", tls=tls, specs_path=str(tmp_path)) as server:
        with (
            new_client(server.addr, stranger, settings=once) as client,
            pytest.raises(TransportError, match=r"TLS: ") as caught,
        ):
            Echo(client).say("hello")
        assert not caught.value.answered

        ours = authorities.options(authorities.ours)
        with new_client(server.addr, ours, settings=once) as client:
            assert Echo(client).say("hello") == "hello"
