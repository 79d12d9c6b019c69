"""What observers see of a stream or an upload is what its caller gets: in threads and tasks."""

from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins import (
    Observer,
    Request,
    Response,
    TransportError,
    WaitCancelledError,
    WireError,
)
from moby_plugins.aio import AsyncRequest, AsyncResponse
from moby_plugins.app.aio.observed_client import AsyncObservedClient
from moby_plugins.app.observed_client import ObservedClient
from moby_plugins.app.observing import Observers
from moby_plugins.domain.address import Address
from moby_plugins.ports import CallEnded, CallStarted, OnCallEnded
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeClock,
    MemoryTransport,
    drips,
    drops_mid_body,
)
from tests.observers import Failing, Notes
from tests.unit.app.hosts import AnyClock, DrivenClient
from tests.unit.app.in_memory import TCP


class Texts(Observer):
    """Keeps the text of each error as it is when the observer is called."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def call_started(self, _: CallStarted, /) -> OnCallEnded:
        """Keep that of the end."""
        return lambda ended: self.texts.append(f"{ended.error} in {vars(ended.error)['method']}")


def client_of(reply: Any, clock: AnyClock, *observers: Observer) -> Any:
    """A client of plugin ``p`` that replies so to ``M.x``."""
    named: dict[str, Any] = {"name": "p", "observers": Observers(observers)}
    if isinstance(clock, FakeClock):
        plugin = MemoryTransport({"M.x": reply}, clock=clock, addr=TCP)
        return ObservedClient(plugin, Address(TCP), clock=clock, **named)
    transport = AsyncMemoryTransport({"M.x": reply}, addr=TCP)
    return DrivenClient(AsyncObservedClient(transport, Address(TCP), **named), clock)


@pytest.fixture
def notes() -> Notes:
    """What was told."""
    return Notes()


def test_closing_a_client_while_its_stream_is_read_reports_the_end_of_the_stream(
    notes: Notes, clock: AnyClock
) -> None:
    """The event has the error that the reader gets, and the time of the closing."""
    client = client_of(drips(b"abc"), clock, notes)
    clock.at(1.5, client.close)

    with client.stream("M.x") as stream:
        assert stream.read() == b"a"
        with pytest.raises(WaitCancelledError, match="this client is closed") as caught:
            stream.read()
        with pytest.raises(WaitCancelledError):
            stream.read()

    [ended] = notes.of(CallEnded)
    assert ended.error is caught.value
    assert isinstance(ended.error.__cause__, TransportError)
    assert (ended.seconds, ended.received_bytes) == (1.5, 1)


def test_closing_a_client_reports_the_end_of_its_open_streams(
    notes: Notes, clock: AnyClock
) -> None:
    """The event has the error of a later read; closing the stream reports no second end."""
    client = client_of(drips(b"abc"), clock, notes)
    stream, left = client.stream("M.x"), client.stream("M.x")
    stream.read()
    clock.advance(3)
    assert notes.of(CallEnded) == []

    client.close()

    assert [type(ended.error) for ended in notes.of(CallEnded)] == [WaitCancelledError] * 2
    assert [ended.seconds for ended in notes.of(CallEnded)] == [4.0, 4.0]
    with pytest.raises(WaitCancelledError) as caught:
        stream.read()
    stream.close()
    left.close()
    client.close()
    assert len(notes.of(CallEnded)) == 2
    assert caught.value in [ended.error for ended in notes.of(CallEnded)]


def test_closing_a_client_reports_no_second_end_of_a_stream_that_has_ended(
    notes: Notes, clock: AnyClock
) -> None:
    """A stream that was read to its end or was closed is reported once."""
    client = client_of(drips(b"ab"), clock, notes)
    with client.stream("M.x") as stream:
        assert b"".join(stream) == b"ab"
    with client.stream("M.x"):
        pass
    client.close()

    assert [ended.error for ended in notes.of(CallEnded)] == [None, None]


def test_an_observer_sees_an_error_of_a_stream_with_its_method(clock: AnyClock) -> None:
    """When the observer is called, the error has the plugin and the address, too."""
    texts = Texts()
    client = client_of(drops_mid_body(b"half"), clock, texts)
    with client.stream("M.x") as stream, pytest.raises(WireError) as caught:
        list(stream)

    assert texts.texts == [f"{caught.value} in M.x"]


def test_all_open_streams_are_reported_as_ended_even_if_an_observer_is_interrupted(
    notes: Notes, clock: AnyClock
) -> None:
    """Closing the client reports all streams, and then raises the KeyboardInterrupt."""
    client = client_of(drips(b"abc"), clock, Failing(KeyboardInterrupt()), notes)
    streams = [client.stream("M.x") for _ in range(2)]

    with pytest.raises(KeyboardInterrupt):
        client.close()

    assert len(notes.of(CallEnded)) == 2
    with pytest.raises(WaitCancelledError):
        streams[0].read()


class Wrapping:
    """A transport whose own error replaces that of the data which it reads."""

    def send(self, request: Request, _: float | None) -> Response:
        try:
            b"".join(request.body)  # type: ignore[arg-type]  # an iterable
        except ZeroDivisionError as error:
            raise TransportError("cannot send") from error
        raise AssertionError("never reached")

    def close(self) -> None:
        """Nothing is open."""


class AsyncWrapping:
    """The same for asyncio."""

    async def send(self, request: AsyncRequest, _: float | None) -> AsyncResponse:
        try:
            async for _chunk in request.body:  # type: ignore[union-attr]  # an iterable
                pass
        except ZeroDivisionError as error:
            raise TransportError("cannot send") from error
        raise AssertionError("never reached")

    def close(self) -> None:
        """Nothing is open."""


def test_an_exception_of_the_callers_data_is_reported_whatever_the_transport_raises(
    notes: Notes, clock: AnyClock
) -> None:
    """The event has the exception that the caller gets, and not the transport's."""

    def data() -> Iterator[bytes]:
        yield b"1"
        raise ZeroDivisionError

    named: dict[str, Any] = {"name": "p", "observers": Observers([notes])}
    if isinstance(clock, FakeClock):
        client: Any = ObservedClient(Wrapping(), Address(TCP), clock=clock, **named)
    else:
        client = DrivenClient(AsyncObservedClient(AsyncWrapping(), Address(TCP), **named), clock)

    with client, pytest.raises(ZeroDivisionError) as caught:
        client.send_file("M.x", data())

    [ended] = notes.of(CallEnded)
    assert ended.error is caught.value
