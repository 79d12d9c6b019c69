"""What a host gets as a response if an asynchronous application fails."""

import asyncio
import json
from typing import Any

import pytest

from moby_plugins.adapters.aio.answering import answer
from moby_plugins.aio import AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import WireError


@pytest.mark.parametrize("given", [None, "ok", (200, b"{}"), {"Err": ""}, AsyncResponse])
def test_an_app_that_returns_no_response_gets_status_500(
    given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An app may forget to return one; the error says what an app must return."""

    async def app(_: AsyncRequest) -> Any:
        return given

    async def read() -> AsyncRequest:
        return AsyncRequest("A.B", b"")

    async def main() -> tuple[int, bytes]:
        answered = await answer(app, "POST", read)
        await answered.aclose()
        return answered.head.status, answered.first

    status, body = asyncio.run(main())

    assert (status, len(caplog.records)) == (500, 1)
    assert json.loads(body)["Err"].startswith("an application returns an AsyncResponse, not ")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_a_stream_that_raises_system_exit_or_an_interrupt_is_cut_off(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Raised in a task it would end the event loop, so it becomes a ``WireError``."""

    class Pieces:
        async def read(self, size: int, /) -> bytes:
            pieces.append(size)
            if len(pieces) > 1:
                raise error
            return b"first"

        def close(self) -> None:
            pieces.append(0)

    async def app(_: AsyncRequest) -> AsyncResponse:
        return AsyncResponse(200, Pieces())

    async def main() -> None:
        answered = await answer(app, "POST", lambda: asyncio.sleep(0, AsyncRequest("A.b")))
        assert answered.first == b"first"
        with pytest.raises(WireError) as raised:
            _ = [part async for part in answered.rest()]
        assert raised.value.__cause__ is error
        await answered.aclose()

    pieces: list[int] = []
    asyncio.run(main())
    assert pieces[-1] == 0
    assert len(caplog.records) == 1
