"""What is answered to a host where an asynchronous application fails."""

import asyncio
import json
from typing import Any

import pytest

from moby_plugins.adapters.aio.answering import answer
from moby_plugins.aio import AsyncRequest, AsyncResponse


@pytest.mark.parametrize("given", [None, "ok", (200, b"{}"), {"Err": ""}, AsyncResponse])
def test_what_is_no_response_is_500(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Such as that of an application that forgets to return it: the error says what is wanted."""

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
