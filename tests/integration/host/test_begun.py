"""The built-in transports begin calls without waiting; ``PollSelector`` waits for many at once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path

import pytest

from moby_plugins.adapters.http import httptools, urllib3
from moby_plugins.adapters.http.exchanges import MOST_BYTES, PollSelector
from moby_plugins.adapters.http.pool import MOST_BEGUN_BYTES
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import TransportError
from moby_plugins.domain.http import Request
from moby_plugins.ports import BeginningTransport, Connect, Selector, Transport
from moby_plugins.testing import FaultServer
from moby_plugins.testing.contracts import (
    BEHAVIOURS,
    BeginningTransportContract,
    BegunTransport,
    Behaviour,
    PluginThat,
)
from moby_plugins.testing.contracts.beginning import begun
from tests.dummy_plugin import Conversation, DummyPlugin
from tests.integration.host import test_transports as transports

ENGINES = {"httptools": httptools.connect, "urllib3": urllib3.connect}


def begun_by(connect: Connect) -> Connect:
    """What makes transports whose exchanges are all begun."""

    def begun(address: Address, tls: TLSOptions | None) -> Transport:
        transport = connect(address, tls)
        assert isinstance(transport, BeginningTransport)
        return BegunTransport(transport, PollSelector)

    return begun


class TestBegunByUrllib3OverTCP(transports.TestUrllib3OverTCP):
    @pytest.fixture
    def connect(self) -> Connect:
        return begun_by(urllib3.connect)


class TestBegunByHttptoolsOverTCP(transports.TestHttptoolsOverTCP):
    @pytest.fixture
    def connect(self) -> Connect:
        return begun_by(httptools.connect)


class TestBegunByUrllib3OverUnixSocket(
    TestBegunByUrllib3OverTCP, transports.TestUrllib3OverUnixSocket
):
    pass


class TestBegunByHttptoolsOverUnixSocket(
    TestBegunByHttptoolsOverTCP, transports.TestHttptoolsOverUnixSocket
):
    pass


class TestBeginning(BeginningTransportContract):
    @pytest.fixture(params=sorted(ENGINES))
    def connect(self, request: pytest.FixtureRequest) -> Connect:
        return ENGINES[request.param]

    @pytest.fixture(params=["tcp", "unix"])
    def plugin_that(
        self, request: pytest.FixtureRequest, connect: Connect, short_path: Path
    ) -> Iterator[PluginThat]:
        numbers = count()
        with ExitStack() as stack:

            def start(behaviour: Behaviour) -> Transport:
                server = (
                    FaultServer.tcp(BEHAVIOURS[behaviour])
                    if request.param == "tcp"
                    else FaultServer.unix(
                        BEHAVIOURS[behaviour], short_path / f"{next(numbers)}.sock"
                    )
                )
                stack.enter_context(server)
                return stack.enter_context(closing(connect(Address(server.addr), None)))

            yield start

    @pytest.fixture
    def new_selector(self) -> Callable[[], Selector]:
        return PollSelector

    @pytest.mark.parametrize("body", [b"x" * (MOST_BEGUN_BYTES + 1), iter([b"x"])])
    def test_a_request_whose_sending_might_block_is_not_begun(
        self, body: bytes, plugin_that: PluginThat
    ) -> None:
        """``begin`` returns ``None`` for a large body and for one of unknown size."""
        transport = plugin_that("answers")
        assert isinstance(transport, BeginningTransport)

        assert transport.begin(Request("M.x", body), None) is None


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_an_endless_response_head_is_read_up_to_a_limit_only(engine: str, short_path: Path) -> None:
    """The call ends with an error, and little is kept before the HTTP library parses the head."""

    def flood(conversation: Conversation) -> None:
        conversation.read_request()
        with suppress(OSError):
            conversation.sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                conversation.sock.sendall(b"x" * MOST_BYTES)

    address = Address(f"unix://{short_path}/p.sock")
    with (
        DummyPlugin.on_unix(short_path / "p.sock", flood),
        closing(ENGINES[engine](address, None)) as transport,
        closing(begun(transport, selector := PollSelector(), timeout=2)) as pending,
    ):
        assert selector.wait() == [pending]
        assert not pending.is_whole
        with pytest.raises(TransportError, match="malformed"):
            pending.finish()


def test_a_call_that_needs_a_name_look_up_or_tls_is_not_begun() -> None:
    """``begin`` returns ``None`` for a host name and for an https address, as both can block."""
    for addr in ("tcp://localhost:1", "https://127.0.0.1:1"):
        transport = urllib3.connect(Address(addr), None)
        assert transport.begin(Request("M.x"), None) is None
        transport.close()
