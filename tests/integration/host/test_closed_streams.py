"""A stream that one thread closes while another reads it: each transport ends the read alike."""

import threading
from collections.abc import Iterator

import pytest
import requests

from moby_plugins import Response, Settings, Stream, TransportError, connect_by_requests, new_client
from moby_plugins.domain.http import Request
from moby_plugins.ports import CallEnded
from moby_plugins.testing import FaultServer
from tests.observers import Notes

WAIT = 10.0


@pytest.fixture(params=[True, False], ids=["a length", "chunks"])
def plugin(request: pytest.FixtureRequest) -> Iterator[FaultServer]:
    """One whose body stops in the middle, and goes on when the test has ended."""
    goes_on = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"a"
        goes_on.wait(WAIT)
        yield b"b"

    def app(_: Request) -> Response:
        headers = {"Content-Length": "2"} if request.param else {}
        return Response(200, chunks(), headers)

    with FaultServer.tcp(app) as served:
        yield served
        goes_on.set()


def check_read(plugin: FaultServer, settings: Settings) -> None:
    """Close a stream while a thread waits in its ``read``, and see what that raises, and when."""
    notes = Notes()
    raised: list[BaseException] = []

    def read(stream: Stream) -> None:
        try:
            stream.read()
        except BaseException as error:
            raised.append(error)

    with new_client(plugin.addr, settings=settings, observers=[notes]) as client:
        stream = client.stream("Shelf.Read")
        assert stream.read() == b"a"
        reader = threading.Thread(target=read, args=[stream])
        reader.start()
        reader.join(0.1)
        stream.close()
        reader.join(WAIT / 2)

    [error] = raised
    assert isinstance(error, TransportError)
    assert (error.answered, error.method, error.address) == (True, "Shelf.Read", plugin.addr)
    [ended] = notes.of(CallEnded)
    assert (ended.status, ended.error) == (200, None)


def test_a_read_of_a_stream_that_another_thread_closes_raises_transport_error(
    plugin: FaultServer, settings: Settings
) -> None:
    """The HTTP library's own error does not get through; for observers the call has no error."""
    check_read(plugin, settings)


def test_a_read_over_a_session_of_requests_raises_the_same_error_when_closed(
    plugin: FaultServer,
) -> None:
    """The read raises ``TransportError``, although the connection belongs to the session."""
    with requests.Session() as session:
        check_read(plugin, Settings(transports={"tcp": connect_by_requests(session)}))
