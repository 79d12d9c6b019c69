"""The contract of transports, in memory and over sockets, as a pytest suite (``ports.py``).

``BEHAVIOURS`` has a plugin for each behaviour; fixtures of a suite create transports to them.
"""

import contextlib
import errno
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import pytest

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.app.bodies import Upload
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WireError
from moby_plugins.domain.http import CLOSED_EARLY, CUT_OFF, MALFORMED, TIMED_OUT, Request, Response
from moby_plugins.ports import Clock, Connect, Transport
from moby_plugins.testing import (
    FaultServer,
    drips,
    drops,
    drops_mid_body,
    hangs,
    malformed,
    not_json,
    refused,
    status,
)

# The behaviours of plugins; those that respond do so to every request.
Behaviour: TypeAlias = Literal[
    "answers",  # 200 and ANSWER
    "answers nothing",  # 200 and no body
    "echoes",  # 200 and the request's body
    "tells",  # 200 and the request as JSON: method, headers (names in lower case), body
    "fails",  # 500 and FAILURE
    "sends a page",  # 200 and something that begins with PAGE
    "sends much",  # 200 and MUCH bytes
    "refuses",  # nothing listens
    "hangs",  # reads the request and sends nothing
    "drops",  # reads the request and closes the connection
    "drops mid-body",  # 200, some of the body it announced, and closes the connection
    "drips",  # 200, and a byte of ANSWER every tenth of a second
    "is malformed",  # sends something that is not HTTP
]
"""What a plugin of the suite does with a request: ``"answers"``, ``"hangs"``, ``"drops"``, …"""
PluginThat: TypeAlias = Callable[[Behaviour], Transport]
"""The type of the fixture ``plugin_that``: returns a transport to a plugin with a behaviour."""

ANSWER = b'{"Volumes": [{"Name": "data"}, {"Name": "logs"}]}\n'
FAILURE = b'{"Err": "disk full"}'
PAGE = b"<!DOCTYPE html>"
MUCH = (5 << 20) + 1


def _tell(request: Request) -> Response:
    fields = {
        "method": request.method,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": request.read().decode(),
    }
    return Response(200, json.dumps(fields).encode())


BEHAVIOURS: dict[Behaviour, Any] = {
    "answers": lambda _: Response(200, ANSWER),
    "answers nothing": lambda _: Response(200, b""),
    "echoes": lambda request: Response(200, request.read()),
    "tells": _tell,
    "fails": status(500, "disk full"),
    "sends a page": not_json(),
    "sends much": lambda _: Response(200, iter([bytes(MUCH - 1), b"1"])),
    "refuses": refused(),
    "hangs": hangs(),
    "drops": drops(),
    "drops mid-body": drops_mid_body(),
    "drips": drips(ANSWER, every=0.1),
    "is malformed": malformed(),
}
"""For each behaviour the argument that gives it to a ``MemoryTransport`` or a ``FaultServer``."""


BODY = b'{"Name": "data"}\n' * 50_000
TIMEOUT = 0.2

BODIES: dict[str, Callable[[], Request]] = {
    "nothing": lambda: Request("M.x"),
    "bytes": lambda: Request("M.x", BODY),
    "a list": lambda: Request("M.x", [BODY[:10], BODY[10:]]),
    "a tuple": lambda: Request("M.x", (BODY[:2], BODY[2:])),
    "a generator": lambda: Request("M.x", (BODY[i : i + 999] for i in range(0, len(BODY), 999))),
    "empty chunks": lambda: Request("M.x", iter([b"", BODY[:10], b"", BODY[10:], b""])),
    "a length": lambda: Request("M.x", iter([BODY[:10], BODY[10:]]), length=len(BODY)),
}


def read_all(response: Response, size: int = 1 << 16) -> bytes:
    """Return the whole body, and close it; check that no read returns more than ``size`` bytes."""
    parts = list(iter(lambda: response.body.read(size), b""))
    response.body.close()
    assert all(len(part) <= size for part in parts)
    return b"".join(parts)


def origins(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, from the last to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class TransportContract:
    """The contract of every ``Transport``, as a suite for pytest: subclass it.

    The subclass has a fixture ``plugin_that`` and the constant ``REFUSED``.
    ``plugin_that(behaviour)`` returns a transport to a plugin with this behaviour (``BEHAVIOURS``
    has one for ``MemoryTransport`` and ``FaultServer``), and closes it at the test's end. A fixture
    ``clock`` may return the clock of time-outs, which is real time by default.

    Attributes:
        SLACK: Seconds by which a time-out may be late.
        REFUSED: The reason of the transport's error if nothing listens.
        REFUSED_ERRNO: The system's error number if nothing listens.

    Examples:
        ```python
        import pytest

        from moby_plugins.testing import FakeClock, MemoryTransport
        from moby_plugins.testing.contracts import BEHAVIOURS, TransportContract


        class TestMyTransport(TransportContract):
            REFUSED = "stale socket: it exists, but no process listens on it"

            @pytest.fixture
            def clock(self):
                return FakeClock()

            @pytest.fixture
            def plugin_that(self, clock):
                return lambda behaviour: MemoryTransport(BEHAVIOURS[behaviour], clock=clock)
        ```
    """

    # Seconds by which a time-out may be late.
    SLACK: ClassVar[float] = 0.25
    # The reason of the transport's error if nothing listens, and the system's error number.
    REFUSED: ClassVar[str]
    REFUSED_ERRNO: ClassVar[int] = errno.ECONNREFUSED

    @pytest.fixture
    def clock(self) -> Clock:
        """Return the clock of time-outs."""
        return SystemClock()

    def test_an_answer_has_its_status_and_an_unread_body(self, plugin_that: PluginThat) -> None:
        """A response has its status, and a body of which nothing was read yet."""
        response = plugin_that("answers").send(Request("M.x", b"{}"), None)

        first = response.body.read(3)
        assert response.status == 200
        assert 1 <= len(first) <= 3
        assert first + read_all(response, 7) == ANSWER

    def test_a_body_stays_at_its_end(self, plugin_that: PluginThat) -> None:
        """After a body's end, every further read returns ``b""``."""
        response = plugin_that("answers").send(Request("M.x"), None)

        while response.body.read(1 << 16):
            pass

        assert [response.body.read(1), response.body.read(1 << 16)] == [b"", b""]
        response.body.close()

    def test_an_empty_answer_is_empty(self, plugin_that: PluginThat) -> None:
        """The first read of a response without a body returns ``b""``."""
        assert read_all(plugin_that("answers nothing").send(Request("M.x"), None)) == b""

    @pytest.mark.parametrize("kind", BODIES)
    def test_a_request_body_arrives_whole(self, kind: str, plugin_that: PluginThat) -> None:
        """Bytes, and an iterable with or without a length, all arrive as they are."""
        request = BODIES[kind]()

        data = read_all(plugin_that("echoes").send(request, None))

        assert data == (b"" if kind == "nothing" else BODY)

    def test_a_file_arrives_from_where_it_stands(
        self, plugin_that: PluginThat, tmp_path: Path
    ) -> None:
        """A regular file is sent from its current position to its end, as ``FileContent``."""
        (tmp_path / "f").write_bytes(b"header" + BODY)
        with (tmp_path / "f").open("rb") as file:
            file.seek(6)
            upload = Upload(file)
            request = Request("M.x", upload, length=upload.length)

            assert read_all(plugin_that("echoes").send(request, None)) == BODY

    def test_method_and_headers_are_passed_on(self, plugin_that: PluginThat) -> None:
        """The plugin receives the method and the headers of the request."""
        request = Request("VolumeDriver.Get?a=b", b"{}", {"X-One": "1", "User-Agent": "me"})

        received = json.loads(read_all(plugin_that("tells").send(request, None)))

        assert (received["method"], received["body"]) == ("VolumeDriver.Get?a=b", "{}")
        assert (received["headers"]["x-one"], received["headers"]["user-agent"]) == ("1", "me")

    def test_any_status_is_an_answer(self, plugin_that: PluginThat) -> None:
        """A status other than 200 is returned like any other, not raised."""
        response = plugin_that("fails").send(Request("M.x"), None)

        assert response.status == 500
        assert read_all(response) == FAILURE

    def test_what_is_not_json_is_passed_on(self, plugin_that: PluginThat) -> None:
        """A transport does not look into a body."""
        data = read_all(plugin_that("sends a page").send(Request("M.x"), TIMEOUT * 10))

        assert data.startswith(PAGE)

    def test_a_large_body_comes_in_bits(self, plugin_that: PluginThat) -> None:
        """However much the plugin sends, no read returns more than requested."""
        response = plugin_that("sends much").send(Request("M.x"), None)

        assert len(read_all(response, 50_000)) == MUCH

    def test_refused_is_an_error_that_was_not_answered(self, plugin_that: PluginThat) -> None:
        """If nothing listens, the reason is ``REFUSED``, and the system's error is a cause."""
        transport = plugin_that("refuses")

        with pytest.raises(TransportError) as caught:
            transport.send(Request("M.x"), None)

        assert type(caught.value) is TransportError
        assert caught.value.reason == self.REFUSED
        assert not caught.value.answered
        assert self.REFUSED_ERRNO in {getattr(e, "errno", None) for e in origins(caught.value)}

    def test_a_plugin_that_hangs_ends_at_the_time_out(
        self, plugin_that: PluginThat, clock: Clock
    ) -> None:
        """A call of a plugin that never responds ends at the time-out."""
        transport = plugin_that("hangs")
        began = clock.now()

        with pytest.raises(TransportTimeoutError) as caught:
            transport.send(Request("M.x", b"{}"), TIMEOUT)

        assert TIMEOUT - 0.01 <= clock.now() - began <= TIMEOUT + self.SLACK
        assert caught.value.reason == TIMED_OUT
        assert not caught.value.answered

    @pytest.mark.parametrize("timeout", [3e6, 1e300])
    def test_a_time_out_may_be_longer_than_the_system_can_wait(
        self, timeout: float, plugin_that: PluginThat
    ) -> None:
        """A time-out that is too long for the system's functions is accepted."""
        response = plugin_that("answers").send(Request("M.x", b"{}"), timeout)

        assert read_all(response) == ANSWER

    def test_a_dripping_body_ends_at_the_time_out(
        self, plugin_that: PluginThat, clock: Clock
    ) -> None:
        """The time-out bounds the exchange as a whole, however slowly the body drips."""
        transport = plugin_that("drips")
        began = clock.now()

        response = transport.send(Request("M.x"), TIMEOUT)
        with pytest.raises(TransportTimeoutError) as caught:
            read_all(response)

        assert TIMEOUT - 0.01 <= clock.now() - began <= TIMEOUT + self.SLACK
        assert caught.value.reason == TIMED_OUT
        assert caught.value.answered
        response.body.close()

    def test_a_dropped_connection_was_not_answered(self, plugin_that: PluginThat) -> None:
        """If a plugin hangs up instead of responding, the error allows another attempt."""
        transport = plugin_that("drops")

        with pytest.raises(TransportError) as caught:
            transport.send(Request("M.x", b"{}"), None)

        assert type(caught.value) is TransportError
        assert caught.value.reason == CLOSED_EARLY
        assert not caught.value.answered

    def test_what_is_not_http_was_not_answered(self, plugin_that: PluginThat) -> None:
        """After something that is not HTTP, the error allows another attempt."""
        transport = plugin_that("is malformed")

        with pytest.raises(TransportError) as caught:
            transport.send(Request("M.x", b"{}"), None)

        assert type(caught.value) is TransportError
        assert caught.value.reason.startswith(MALFORMED)
        assert not caught.value.answered

    def test_a_body_that_is_cut_off_is_a_wire_error(self, plugin_that: PluginThat) -> None:
        """A body that ends before its announced end raises an error."""
        response = plugin_that("drops mid-body").send(Request("M.x"), None)

        with pytest.raises(WireError) as caught:
            read_all(response)

        assert response.status == 200
        assert caught.value.reason == CUT_OFF
        response.body.close()

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("no more"),
            OSError(errno.EIO, "disk"),
            BrokenPipeError(errno.EPIPE, "pipe"),
            ConnectionResetError(errno.ECONNRESET, "reset"),
            TimeoutError("slow disk"),
            HTTPException("from a download"),
            KeyboardInterrupt(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_an_exception_of_the_callers_iterator_passes_unchanged(
        self, error: BaseException, plugin_that: PluginThat
    ) -> None:
        """An exception of the caller's own iterator is raised unchanged: the same object."""

        def body() -> Iterable[bytes]:
            yield b"some"
            raise error

        with pytest.raises(type(error)) as caught:
            plugin_that("echoes").send(Request("M.x", body()), TIMEOUT * 5)

        assert caught.value is error

    def test_closing_twice_is_closing_once(self, plugin_that: PluginThat) -> None:
        """Bodies and transports may be closed more than once, read or not."""
        transport = plugin_that("answers")
        response = transport.send(Request("M.x"), None)

        for close in (response.body.close, transport.close):
            close()
            close()

    def test_a_body_left_unread_does_not_disturb_the_next_call(
        self, plugin_that: PluginThat
    ) -> None:
        """After a body is closed unread, the next response is that of the next request."""
        transport = plugin_that("echoes")
        transport.send(Request("M.x", BODY), None).body.close()

        assert read_all(transport.send(Request("M.x", b"second"), None)) == b"second"

    def test_each_kind_of_request_may_follow_each_other(self, plugin_that: PluginThat) -> None:
        """Bytes and iterables, small and large, are sent in any order over one transport."""
        transport = plugin_that("echoes")
        kinds: tuple[Callable[[bytes], Request], ...] = (
            lambda body: Request("M.x", body),
            lambda body: Request("M.x", iter([body])),
            lambda body: Request("M.x", iter([body]), length=len(body)),
        )
        requests = [(kind, body) for kind in kinds for body in (b"small", BODY)]

        for (first, one), (second, other) in product(requests, requests):
            assert read_all(transport.send(first(one), None)) == one
            assert read_all(transport.send(second(other), None)) == other

    def test_threads_share_a_transport(self, plugin_that: PluginThat) -> None:
        """Several threads may send at once, and each gets the response to its own request."""
        transport = plugin_that("echoes")
        bodies = [b"%d " % number * 1000 for number in range(32)]

        with ThreadPoolExecutor(8) as threads:
            echoes = threads.map(
                lambda body: read_all(transport.send(Request("M.x", body), None)), bodies
            )

            assert list(echoes) == bodies


Serve: TypeAlias = Callable[[Behaviour], FaultServer]
"""The type of the fixture ``serve``: returns a server, not started, with a behaviour."""


class SocketTransportContract(TransportContract):
    """The contract of HTTP transports over sockets: subclass it with a fixture ``connect``.

    The fixture returns the ``Connect`` under test. The plugins are on TCP, unless a fixture
    ``serve`` creates servers of another kind; then ``REFUSED`` must be the reason of the error for
    that kind. A fixture ``tls`` may return the options of the transport.

    Examples:
        ```python
        import pytest

        from moby_plugins import connect_by_name
        from moby_plugins.testing.contracts import SocketTransportContract


        class TestMyTransport(SocketTransportContract):
            @pytest.fixture
            def connect(self):
                return connect_by_name("urllib3")
        ```
    """

    REFUSED: ClassVar[str] = "connection refused: no process listens there"

    @pytest.fixture
    def tls(self) -> TLSOptions | None:
        """Return the TLS options of the transport."""
        return None

    @pytest.fixture
    def serve(self) -> Serve:
        """Return a function that creates the servers."""
        return lambda behaviour: FaultServer.tcp(BEHAVIOURS[behaviour])

    @pytest.fixture
    def plugin_that(
        self, connect: Connect, serve: Serve, tls: TLSOptions | None
    ) -> Iterator[PluginThat]:
        """Return a factory of transports to plugins on real sockets, closed when the test ends."""
        with contextlib.ExitStack() as stack:

            def start(behaviour: Behaviour) -> Transport:
                server = stack.enter_context(serve(behaviour))
                return stack.enter_context(contextlib.closing(connect(Address(server.addr), tls)))

            yield start
