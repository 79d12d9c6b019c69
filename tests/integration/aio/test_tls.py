"""TLS in an event loop: handshakes, files, and what TLS itself sends."""

import asyncio
import os
import ssl
import time
from pathlib import Path

import pytest

from moby_plugins import TLSOptions
from moby_plugins.adapters.aio.transport import AsyncSocketTransport, connect
from moby_plugins.adapters.http.dialing import Lookups
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import SpecError, TransportError, TransportTimeoutError
from moby_plugins.testing.contracts import Run
from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering
from tests.integration.aio.calls import called, echoes, failed
from tests.integration.certificates import Certificates
from tests.integration.descriptors import descriptors, soon


@pytest.fixture
def certificates(short_path: Path) -> Certificates:
    """An authority."""
    return Certificates(short_path)


def over_tls(plugin: DummyPlugin, options: TLSOptions | None) -> AsyncSocketTransport:
    """A transport to ``plugin``, which speaks TLS or does not."""
    return connect(Address(plugin.addr.replace("tcp:", "https:")), options)


def test_a_tls_handshake_without_a_reply_ends_at_the_deadline(
    run: Run, certificates: Certificates
) -> None:
    """A cancellation or ``close`` ends the handshake at once, and no descriptor is left."""

    async def test() -> None:
        before = descriptors()
        transport = over_tls(plugin, TLSOptions(certificates.ca_file))
        began = time.monotonic()
        assert isinstance(await failed(called(transport, timeout=0.3)), TransportTimeoutError)
        assert 0.29 < time.monotonic() - began < 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await called(transport)
        waiting = asyncio.create_task(failed(called(transport)))
        await asyncio.sleep(0.1)
        transport.close()
        assert type(await waiting) is TransportError
        assert await asyncio.to_thread(soon, before) <= before

    with DummyPlugin.on_tcp(lambda conversation: conversation.hang()) as plugin:
        run(test())


def test_the_certificate_of_a_plugin_is_verified(run: Run, certificates: Certificates) -> None:
    """A certificate of another authority or another host is refused, and the error says why."""

    async def test(options: TLSOptions | None, addr: str, reason: str) -> None:
        transport = connect(Address(addr), options)
        error = await failed(called(transport, timeout=5.0))
        transport.close()
        assert type(error) is TransportError
        assert reason in str(error)

    with DummyPlugin.on_tcp(echoes, certificates.server()) as plugin:
        run(test(None, plugin.addr, "certificate verify failed"))
        options = TLSOptions(certificates.ca_file)
        other = plugin.addr.replace("localhost", "127.0.0.1")
        run(test(options, other, "IP address mismatch"))


def test_a_plugin_that_does_not_speak_tls_is_an_error(run: Run, certificates: Certificates) -> None:
    """Plain text in place of a handshake, or a hang-up during it, is a ``TransportError``."""

    async def test() -> None:
        transport = over_tls(plugin, TLSOptions(certificates.ca_file))
        error = await failed(called(transport, timeout=5.0))
        transport.close()
        assert type(error) is TransportError
        assert not error.answered

    for behave in (
        lambda conversation: conversation.send(b"220 mail ready\r\n" * 100),
        lambda conversation: conversation.sock.recv(100),
    ):
        with DummyPlugin.on_tcp(behave) as plugin:
            run(test())


def test_a_client_certificate_is_shown_to_a_plugin_that_asks(
    run: Run, certificates: Certificates
) -> None:
    """The call of a host without a certificate is an error, and not a time-out."""

    async def test(options: TLSOptions) -> object:
        transport = over_tls(plugin, options)
        try:
            return await called(transport, b"a", timeout=5.0)
        finally:
            transport.close()

    cert, key = certificates.client()
    with DummyPlugin.on_tcp(echoes, certificates.server(asks_for_client=True)) as plugin:
        assert run(test(TLSOptions(certificates.ca_file, cert, key))) == b"a"
        with pytest.raises(TransportError) as caught:
            run(test(TLSOptions(certificates.ca_file)))
    assert not isinstance(caught.value, TransportTimeoutError)


def test_tls_session_tickets_are_not_taken_for_a_response(
    run: Run, certificates: Certificates
) -> None:
    """A connection on which TLS sends tickets while it is idle serves the next calls."""
    connections: list[Conversation] = []

    def behave(conversation: Conversation) -> None:
        connections.append(conversation)
        keeps_answering(b"1")(conversation)

    async def test() -> None:
        transport = over_tls(plugin, TLSOptions(certificates.ca_file))
        for _ in range(5):
            assert await called(transport, timeout=5.0) == b"1"
            await asyncio.sleep(0.02)
        transport.close()

    for versions in ((ssl.TLSVersion.TLSv1_3,) * 2, (ssl.TLSVersion.TLSv1_2,) * 2):
        context = certificates.server()
        context.minimum_version, context.maximum_version = versions
        connections.clear()
        with DummyPlugin.on_tcp(behave, context) as plugin:
            run(test())
        assert len(connections) == 1


def test_a_response_that_arrives_with_the_end_of_the_handshake_is_received(
    run: Run, certificates: Certificates
) -> None:
    """The response is read although the socket does not become readable another time."""

    async def test() -> None:
        address = Address(plugin.addr.replace("tcp://127.0.0.1", "https://localhost"))
        transport = connect(address, TLSOptions(certificates.ca_file))
        for _ in range(3):
            assert await called(transport, timeout=5.0) == b"1"
        transport.close()

    context = certificates.server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where the plugin ends the handshake

    def at_once(conversation: Conversation) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                conversation.send(outgoing.read())
                incoming.write(conversation.sock.recv(1 << 16))
        tls.write(http(b"1").replace(b"X\r\n", b"X\r\nConnection: close\r\n", 1))
        conversation.send(outgoing.read())
        conversation.hang()

    with DummyPlugin.on_tcp(at_once) as plugin:
        run(test())


def test_tls_files_are_checked_when_the_transport_is_made(certificates: Certificates) -> None:
    """A FIFO, a missing file and a file that is not PEM are a ``SpecError`` at once."""
    directory = Path(certificates.ca_file).parent
    os.mkfifo(directory / "fifo")
    (directory / "text").write_text("no PEM")
    began = time.monotonic()
    for name in ("fifo", "none", "text"):
        with pytest.raises(SpecError, match="CAFile cannot be used"):
            connect(Address("https://localhost:1"), TLSOptions(str(directory / name)))
    assert time.monotonic() - began < 1


def test_tls_files_that_were_not_read_in_time_are_read_by_the_first_dial(
    run: Run, certificates: Certificates
) -> None:
    """The transport can be made all the same, and its calls get their responses."""

    class Slow(Lookups):
        """Lookups in which no TLS file is read in time."""

        def context(self, *_: object) -> ssl.SSLContext:
            raise TimeoutError("as on a file system that has gone away")

    async def test() -> None:
        for _ in range(2):
            assert await called(transport, timeout=5.0) == b"1"

    with DummyPlugin.on_tcp(answering(http(b"1"), http(b"1")), certificates.server()) as plugin:
        options = TLSOptions(certificates.ca_file)
        transport = connect(Address(plugin.addr), options, lookups=Slow())
        run(test())
        transport.close()
