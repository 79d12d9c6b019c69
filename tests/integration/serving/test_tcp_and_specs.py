"""A plugin served over TCP, found by its spec."""

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from moby_plugins import (
    InvalidPluginNameError,
    Registry,
    RetryPolicy,
    Settings,
    SpecError,
    TransportError,
    new_client,
    new_local_registry,
)
from moby_plugins.serving import PluginApp, PluginServer, ServerTLS, plugin_server_tcp
from tests.integration.serving.plugins import WAIT, Echo, Echoes, post

APP = PluginApp(Echoes())


class Authority:
    """Certificates for a plugin and its hosts, as files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.ca_file = str(directory / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.plugin = self._issue(authority, directory, "localhost")
        self.host = self._issue(authority, directory, "host@example.org")

    def _issue(self, authority: trustme.CA, directory: Path, name: str) -> tuple[str, str]:
        issued = authority.issue_cert(name)
        cert, key = str(directory / f"{name}.pem"), str(directory / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        return cert, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all tests here, because keys take their time."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A host that looks into ``tmp_path`` and never tries again."""
    settings = Settings(
        sockets_path=str(tmp_path), specs_paths=(str(tmp_path),), retry=RetryPolicy.never()
    )
    with new_local_registry(settings) as made:
        yield made


def server_in(
    directory: Path, addr: str = "127.0.0.1:0", tls: ServerTLS | None = None
) -> PluginServer:
    """A server of a plugin that writes its spec into ``directory``, not started yet."""
    return plugin_server_tcp(APP, "echo", addr, tls=tls, specs_path=str(directory), drain=0.5)


@pytest.mark.parametrize("addr", ["127.0.0.1:0", "localhost:0"])
def test_a_host_finds_the_plugin_by_its_spec(tmp_path: Path, registry: Registry, addr: str) -> None:
    """The spec has the port that the system chose, and is removed when the plugin stops."""
    with server_in(tmp_path, addr) as server:
        assert (tmp_path / "echo.spec").read_text() == server.addr
        assert server.addr.startswith(f"tcp://{addr.removesuffix('0')}")
        assert Echo(registry.get("echo", "Echo").client).say("hello") == "hello"

    assert os.listdir(tmp_path) == []


def test_under_tls_the_spec_says_how_to_verify(
    tmp_path: Path, registry: Registry, authority: Authority
) -> None:
    """A host verifies the plugin by the CA file of the spec, whose address is https."""
    tls = ServerTLS(*authority.plugin, ca_file=authority.ca_file)

    with server_in(tmp_path, "localhost:0", tls) as server:
        assert server.addr.startswith("https://localhost:")
        assert os.listdir(tmp_path) == ["echo.json"]
        assert Echo(registry.get("echo", "Echo").client).say("hello") == "hello"

    assert os.listdir(tmp_path) == []


def test_a_plugin_can_require_a_client_certificate(
    tmp_path: Path, registry: Registry, authority: Authority
) -> None:
    """With ``client_ca_file``, a host with a certificate of that authority is served."""
    tls = ServerTLS(
        *authority.plugin,
        ca_file=authority.ca_file,
        client_ca_file=authority.ca_file,
        host_cert_file=authority.host[0],
        host_key_file=authority.host[1],
    )

    with server_in(tmp_path, "localhost:0", tls):
        assert Echo(registry.get("echo", "Echo").client).say("hello") == "hello"


def test_a_host_without_a_certificate_is_refused(
    tmp_path: Path, registry: Registry, authority: Authority
) -> None:
    """With ``client_ca_file``, a host that shows no certificate gets ``TransportError``."""
    tls = ServerTLS(*authority.plugin, ca_file=authority.ca_file, client_ca_file=authority.ca_file)

    with server_in(tmp_path, "localhost:0", tls), pytest.raises(TransportError):
        registry.get("echo", "Echo")


def test_clients_without_a_tls_handshake_do_not_block_other_hosts(
    tmp_path: Path, registry: Registry, authority: Authority
) -> None:
    """A silent client, and a client that sends plain text, take one thread each and no more."""
    tls = ServerTLS(*authority.plugin, ca_file=authority.ca_file)
    with server_in(tmp_path, "localhost:0", tls) as server:
        where = ("localhost", int(server.addr.rpartition(":")[2]))

        with socket.create_connection(where, WAIT), socket.create_connection(where, WAIT) as plain:
            plain.sendall(b"POST /Plugin.Activate HTTP/1.1\r\n\r\n")

            assert Echo(registry.get("echo", "Echo").client).say("hello") == "hello"


@pytest.mark.parametrize("size", [2000, 8192, 9000])
def test_a_second_request_in_the_same_tls_record_gets_its_response(
    tmp_path: Path, authority: Authority, size: int
) -> None:
    """Bytes that TLS has already decrypted are read, however many came with the first request."""
    tls = ServerTLS(*authority.plugin, ca_file=authority.ca_file)
    context = ssl.create_default_context(cafile=authority.ca_file)
    filler = size - len(post("Echo.Say", b'{"Text":"%b"}' % (b"x" * 4000))) + 4000
    first = post("Echo.Say", b'{"Text":"%b"}' % (b"x" * filler))
    assert len(first) == size
    second = post("Echo.Say", b'{"Text":"hello"}')
    with (
        server_in(tmp_path, "localhost:0", tls) as server,
        socket.create_connection(("localhost", int(server.addr.rpartition(":")[2]))) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.settimeout(WAIT)
        sock.sendall(first + second)
        received = b""
        while b'"hello"' not in received:
            more = sock.recv(1 << 16)
            assert more
            received += more
    assert received.count(b"HTTP/1.1 200") == 2


def test_a_certificate_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """The server does not start, and no spec is written."""
    with pytest.raises(SpecError, match=r"CertFile and KeyFile .*none\.key cannot be used"):
        server_in(tmp_path, tls=ServerTLS(f"{tmp_path}/none.pem", f"{tmp_path}/none.key")).start()

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "addr", ["", "localhost", ":80", "localhost:x", "tcp://a:1", "a:1/b", "a:65536"]
)
def test_an_address_that_is_not_host_and_port_is_refused(tmp_path: Path, addr: str) -> None:
    """The ``SpecError`` names the form that an address must have."""
    with pytest.raises(SpecError) as raised:
        server_in(tmp_path, addr).start()

    form = "HOST:PORT, with a port of at most 65535"
    assert str(raised.value) == f"{addr!r} is not of the form {form}"


@pytest.mark.parametrize("addr", ["no-such-host.invalid:80", "192.0.2.1:80"])
def test_an_address_of_another_machine_is_an_error(tmp_path: Path, addr: str) -> None:
    """A host or port at which this machine cannot listen is an error that says so."""
    with pytest.raises(SpecError, match=f"^cannot listen at {addr}: "):
        server_in(tmp_path, addr).start()


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    """The first plugin goes on, and keeps its spec."""
    with server_in(tmp_path) as first:
        addr = first.addr.removeprefix("tcp://")

        with pytest.raises(SpecError, match=f"^cannot listen at {addr}: Address already in use$"):
            server_in(tmp_path, addr).start()

        assert (tmp_path / "echo.spec").read_text() == first.addr


def test_a_plugin_whose_spec_cannot_be_written_does_not_listen(tmp_path: Path) -> None:
    """No host would find the plugin, so its start fails."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        addr = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "file").write_text("")

    with pytest.raises(SpecError, match="cannot be written"):
        server_in(tmp_path / "file", addr).start()

    with (
        new_client(f"tcp://{addr}", settings=Settings(retry=RetryPolicy.never())) as client,
        pytest.raises(TransportError, match="no process listens there"),
    ):
        client.call("Plugin.Activate")


def test_a_bad_name_is_an_error(tmp_path: Path) -> None:
    """A name is checked before any path is made of it."""
    with pytest.raises(InvalidPluginNameError):
        plugin_server_tcp(APP, "../echo", specs_path=str(tmp_path))


def test_ipv6_addresses_have_brackets(tmp_path: Path, registry: Registry) -> None:
    """The spec has the brackets, too, so that hosts can read the address."""
    with server_in(tmp_path, "[::1]:0") as server:
        assert server.addr.startswith("tcp://[::1]:")
        assert Echo(registry.get("echo", "Echo").client).say("hello") == "hello"


def test_an_address_that_no_host_can_read_is_refused(tmp_path: Path) -> None:
    """A spec with a zone in its address would be an error in every host."""
    with pytest.raises(SpecError, match="not an address that hosts can read"):
        plugin_server_tcp(APP, "echo", "[::1%lo]:0", specs_path=str(tmp_path)).start()

    assert list(tmp_path.iterdir()) == []


def test_the_error_of_a_very_long_address_is_cut_to_one_line(tmp_path: Path) -> None:
    """The error has no line ends and fewer than 900 characters of a long address."""
    with pytest.raises(SpecError, match="not an address that hosts can read") as caught:
        plugin_server_tcp(APP, "echo", "a\n" * 50_000 + ":0", specs_path=str(tmp_path)).start()

    assert len(str(caught.value)) < 900
    assert str(caught.value).isprintable()


def test_a_plugin_sends_no_session_tickets(tmp_path: Path) -> None:
    """No host resumes a session, and unread tickets can cause an early response to be lost."""
    authority = Authority(tmp_path)
    tls = ServerTLS(*authority.plugin, ca_file=authority.ca_file)
    context = ssl.create_default_context(cafile=authority.ca_file)
    with plugin_server_tcp(APP, "echo", specs_path=str(tmp_path), tls=tls) as server:
        where = ("127.0.0.1", int(server.addr.rpartition(":")[2]))
        with (
            socket.create_connection(where, WAIT) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(post("Echo.Say", b'{"Text":"hello"}'))
            assert sock.recv(1 << 16).startswith(b"HTTP/1.1 200")
            assert sock.version() == "TLSv1.3"
            assert sock.session is None or not sock.session.has_ticket
