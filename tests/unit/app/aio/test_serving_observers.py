"""What is reported to observers of asynchronous apps is what the hosts of these apps get."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from moby_plugins import WireError
from moby_plugins.adapters.aio.answering import AsyncStartedResponse, answer
from moby_plugins.aio import (
    AsyncLogDriver,
    AsyncPluginApp,
    AsyncRequest,
    AsyncResponse,
    AsyncVolumeDriver,
    observed,
)
from moby_plugins.domain.http import CHUNK_BYTES, CUT_OFF
from moby_plugins.ports import RequestEnded, RunningCall
from moby_plugins.subsystems import LogEntry
from tests.observers import Notes
from tests.unit.app.aio.test_observed_client import Pieces
from tests.unit.app.test_serving_observers import caused
from tests.unit.domain.test_outgoing import BAD_HEADS, STREAMED_BAD_HEADS


@pytest.fixture
def notes() -> Notes:
    """What was told."""
    return Notes()


class Closing(Pieces):
    """A body that tells whether it was closed."""

    closed = False

    def close(self) -> None:
        """Now it is."""
        self.closed = True


def returning(response: Callable[[], Any]) -> Any:
    """An app that returns what ``response`` makes."""

    async def app(_: AsyncRequest) -> AsyncResponse:
        made: AsyncResponse = response()
        return made

    return app


async def sent(app: Any) -> AsyncStartedResponse:
    """The response that a server sends."""

    async def read() -> AsyncRequest:
        return AsyncRequest("M.x")

    return await answer(app, "POST", read)


async def refused(app: Any) -> None:
    """Expect the server to send 500 instead of what the app returns."""
    with RunningCall():
        started = await sent(app)
        assert started.head.status == 500
        await started.aclose()


@pytest.mark.parametrize("kind", BAD_HEADS)
def test_a_response_that_the_server_cannot_send_is_reported_as_status_500(
    notes: Notes, kind: str
) -> None:
    """The event has the server's error, and does not say that the host hung up."""
    status, headers, body, message = BAD_HEADS[kind]
    app = returning(lambda: AsyncResponse(status, body, headers))

    asyncio.run(refused(observed(app, [notes])))

    [ended] = notes.of(RequestEnded)
    assert (ended.status, ended.hung_up, ended.sent_bytes) == (500, False, 0)
    assert message in str(ended.error)


@pytest.mark.parametrize("kind", STREAMED_BAD_HEADS)
def test_a_stream_that_the_server_cannot_send_is_closed_and_reported_as_status_500(
    notes: Notes, kind: str
) -> None:
    """The event has the server's error, and does not say that the host hung up."""
    status, headers, chunk, message = BAD_HEADS[kind]
    body = Closing(chunk)
    app = returning(lambda: AsyncResponse(status, body, headers))

    asyncio.run(refused(observed(app, [notes])))

    [ended] = notes.of(RequestEnded)
    assert (ended.status, ended.hung_up, ended.sent_bytes) == (500, False, 0)
    assert message in str(ended.error)
    assert body.closed


@pytest.mark.parametrize(
    ("status", "headers", "chunk"),
    [(204, {}, b"x"), (200, {"Content-Length": "1"}, b"xy"), (200, {"Content-Length": "1"}, b"")],
)
def test_a_stream_with_an_invalid_first_chunk_is_reported_as_status_500(
    notes: Notes, status: int, headers: dict[str, str], chunk: bytes
) -> None:
    """The chunk does not fit the status, or the ``Content-Length`` of the response."""
    app = observed(returning(lambda: AsyncResponse(status, Pieces(chunk), headers)), [notes])

    asyncio.run(refused(app))

    [ended] = notes.of(RequestEnded)
    assert (ended.status, type(ended.error), ended.hung_up) == (500, ValueError, False)


def test_a_stream_that_the_program_closes_is_not_reported_as_a_hang_up(notes: Notes) -> None:
    """The program calls ``close`` of the body, or ``aclose`` of the response."""
    inner: Any = observed(returning(lambda: AsyncResponse(200, Pieces(b"one", b"two"))), [notes])

    async def main() -> None:
        with RunningCall():
            for number in range(2):
                response = await inner(AsyncRequest("M.x"))
                await response.body.read(3)
                if number:
                    response.body.close()
                await response.aclose()

    asyncio.run(main())

    ends = notes.of(RequestEnded)
    assert [(ended.status, ended.hung_up, ended.sent_bytes) for ended in ends] == [
        (200, False, 3)
    ] * 2


def test_the_request_of_a_large_response_ends_when_all_of_it_was_sent(notes: Notes) -> None:
    """A host that leaves in the middle of the body is reported to have hung up."""
    whole = bytes(3 * CHUNK_BYTES)
    app = observed(returning(lambda: AsyncResponse(200, whole)), [notes])

    async def main() -> None:
        with RunningCall():
            started = await sent(app)
            assert started.head.headers == {"Content-Length": str(len(whole))}
            assert len(started.first) == CHUNK_BYTES
            assert notes.of(RequestEnded) == []
            assert sum([len(chunk) async for chunk in started.rest()]) == 2 * CHUNK_BYTES
            await started.aclose()
        call = RunningCall()
        with call:
            left = await sent(app)
            call.hang_up()
            await left.aclose()

    asyncio.run(main())

    read, abandoned = notes.of(RequestEnded)
    assert (read.status, read.sent_bytes, read.hung_up) == (200, len(whole), False)
    assert (abandoned.status, abandoned.sent_bytes, abandoned.hung_up) == (200, CHUNK_BYTES, True)


@pytest.mark.parametrize("error", [KeyError("late"), WireError("malformed"), WireError(CUT_OFF)])
def test_the_reported_error_is_the_exception_that_the_app_raised(
    notes: Notes, error: Exception
) -> None:
    """The cause of the exception is not reported instead, for methods, streams and functions."""
    raised = caused(error, OSError("below"))

    class Fails(AsyncVolumeDriver):
        async def list(self) -> Any:
            raise raised

    class Logs(AsyncLogDriver):
        async def read_logs(self, info: Any, config: Any) -> Any:
            yield LogEntry("stdout", 0, b"one")
            raise raised

    def failing() -> AsyncResponse:
        raise raised

    async def read(app: Any, method: str) -> None:
        response = await app(AsyncRequest(method, b"{}"))
        while await response.body.read(CHUNK_BYTES):
            pass

    async def main() -> None:
        await read(AsyncPluginApp(Fails(), observers=[notes]), "VolumeDriver.List")
        for app in (
            AsyncPluginApp(Logs(), observers=[notes]),
            observed(returning(failing), [notes]),
            observed(returning(lambda: AsyncResponse(200, Pieces(b"one", raised))), [notes]),
            observed(returning(lambda: AsyncResponse(200, Pieces(raised))), [notes]),
        ):
            with suppress(Exception):
                await read(app, "LogDriver.ReadLogs")

    asyncio.run(main())

    assert [ended.error for ended in notes.of(RequestEnded)] == [raised] * 5
