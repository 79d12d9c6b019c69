"""What is received from an ASGI server and sent to it, while a host sends or hangs up."""

import asyncio
from typing import Any

import pytest

from moby_plugins.adapters.aio.asgi import MAX_AHEAD, asgi
from moby_plugins.adapters.server.answering import InFlight
from moby_plugins.aio import AsyncRequest, AsyncResponse, observed
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.ports import RequestEnded
from moby_plugins.serving import hung_up
from moby_plugins.testing import FakeTimeLoop
from tests.observers import Notes
from tests.unit.app.aio.in_tasks import LOOPS

CHUNKED = [(b"transfer-encoding", b"chunked")]
LEFT = {"type": "http.disconnect"}
WHOLE = {"type": "http.request", "body": b"", "more_body": False}


def part(size: int) -> dict[str, Any]:
    """The next bytes of a body that goes on."""
    return {"type": "http.request", "body": bytes(size), "more_body": True}


class Server:
    """An ASGI server of one request, which gives its messages one after the other, then waits."""

    def __init__(self, *messages: Any, headers: Any = CHUNKED) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        for message in messages:
            self.messages.put_nowait(message)
        self.headers = headers
        self.received = 0
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> Any:
        """The next message."""
        message = await self.messages.get()
        self.received += 1
        if isinstance(message, BaseException):
            raise message
        return message

    async def send(self, message: Any) -> None:
        """Keep it."""
        self.sent.append(message)

    async def serve(self, app: AsyncApp) -> None:
        """One request."""
        scope = {"type": "http", "method": "POST", "path": "/M.x", "headers": self.headers}
        await asgi(app, InFlight())(scope, self.receive, self.send)

    @property
    def body(self) -> bytes:
        """What was sent of the response's body."""
        return b"".join(message.get("body", b"") for message in self.sent)


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Any:
    """A loop of each kind, in fake time."""
    made: FakeTimeLoop = LOOPS[request.param]()
    yield made
    made.close()


class Waiting:
    """An app that reads nothing, waits, and keeps how it ended."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, bool]] = []

    async def __call__(self, request: AsyncRequest) -> AsyncResponse:
        gone, how = hung_up(), "cancelled"
        try:
            await asyncio.sleep(100)
            how = "answered"
        finally:
            self.ended.append((how, gone.is_set()))
        return AsyncResponse(200, b"done")


@pytest.mark.parametrize("ahead", [[], [part(5)], [part(MAX_AHEAD - 1)], [WHOLE]])
def test_a_handler_is_cancelled_on_a_hang_up_although_its_request_is_unread(
    loop: FakeTimeLoop, ahead: list[Any]
) -> None:
    """Observers receive the hang-up, and for the server it is no error."""
    app, server, notes = Waiting(), Server(*ahead, LEFT), Notes()

    loop.run(server.serve(observed(app, [notes])))

    assert app.ended == [("cancelled", True)]
    assert server.sent == []
    assert notes.of(RequestEnded)[0].hung_up


def test_only_a_bounded_part_of_a_request_is_received_before_the_app_reads(
    loop: FakeTimeLoop,
) -> None:
    """A hang-up that comes behind more than ``MAX_AHEAD`` bytes is seen once the app reads on."""
    server = Server(*[part(MAX_AHEAD // 2)] * 8, WHOLE)
    ahead: list[int] = []

    async def app(request: AsyncRequest) -> AsyncResponse:
        await asyncio.sleep(10)
        ahead.append(server.received)
        size = len(await request.read())
        ahead.append(server.received)
        return AsyncResponse(200, str(size).encode())

    loop.run(server.serve(app))

    assert ahead == [2, 9]
    assert server.body == str(4 * MAX_AHEAD).encode()


def test_a_host_that_leaves_while_its_request_is_read_ends_the_reading(loop: FakeTimeLoop) -> None:
    """The app's task is cancelled, and another task that reads the request gets an error."""
    server, ended = Server(part(5)), list[BaseException]()

    async def app(request: AsyncRequest) -> AsyncResponse:
        async def read() -> None:
            try:
                await request.read()
            except BaseException as error:
                ended.append(error)

        reading = asyncio.create_task(read())
        await asyncio.sleep(10)
        server.messages.put_nowait(LEFT)
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.wait([reading])
        return AsyncResponse(200, b"")

    loop.run(server.serve(app))

    assert [str(error) for error in ended] == ["the request's body cannot be read: it is cut off"]


def test_a_body_after_expect_100_continue_is_received_once_the_app_reads_it(
    loop: FakeTimeLoop,
) -> None:
    """A server asks the host for the body as soon as the application receives."""
    server = Server(part(5), WHOLE, headers=[*CHUNKED, (b"expect", b"100-continue")])
    received: list[int] = []

    async def app(request: AsyncRequest) -> AsyncResponse:
        await asyncio.sleep(10)
        received.append(server.received)
        return AsyncResponse(200, await request.read())

    loop.run(server.serve(app))

    assert received == [0]
    assert server.body == bytes(5)


def test_an_exception_that_the_server_raises_in_receive_is_raised_to_the_server(
    loop: FakeTimeLoop,
) -> None:
    """The app gets an error of reading, and its host a response with status 400."""

    async def app(request: AsyncRequest) -> AsyncResponse:
        return AsyncResponse(200, await request.read())

    server = Server(part(5), ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        loop.run(server.serve(app))

    assert server.sent[0]["status"] == 400


@pytest.mark.parametrize("leaves", [False, True])
def test_a_cancellation_by_the_server_ends_its_task_as_cancelled(
    loop: FakeTimeLoop, *, leaves: bool
) -> None:
    """This holds also if the host hangs up at the same time."""
    server, app = Server(part(5)), Waiting()

    async def main() -> None:
        task = asyncio.create_task(server.serve(app))
        await asyncio.sleep(1)
        if leaves:
            server.messages.put_nowait(LEFT)
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    loop.run(main())

    assert app.ended == [("cancelled", leaves)]


@pytest.mark.parametrize("size", [0, 1 << 16, (1 << 16) + 1, 200_000])
def test_a_response_is_sent_whole(loop: FakeTimeLoop, size: int) -> None:
    """It has its length, and takes as many messages as needed."""

    async def app(request: AsyncRequest) -> AsyncResponse:
        return AsyncResponse(200, bytes(size))

    server = Server(WHOLE)
    loop.run(server.serve(app))

    assert (b"Content-Length", str(size).encode()) in server.sent[0]["headers"]
    assert server.body == bytes(size)
    assert [message["more_body"] for message in server.sent[1:]][-1] is False
