"""The example host in FastAPI: its HTTP responses while plugins start late, hang or are missing."""

import asyncio
import json
from typing import Any

from fastapi import FastAPI

from examples.fastapi_host import create_app
from moby_plugins.testing import AsyncMemoryRegistry, FakeTimeLoop, hangs

TABLE = {"VolumeDriver.List": {"Volumes": [{"Name": "books"}]}}


async def get(app: FastAPI, path: str) -> tuple[int, Any]:
    """What the application answers: its status, and its JSON."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body)


def test_a_fastapi_host_waits_up_to_five_seconds_for_a_plugin(fake_loop: FakeTimeLoop) -> None:
    """A plugin that starts after 3 s gives status 200, a hung or missing one 504 after 5 s."""
    registry = AsyncMemoryRegistry()
    registry.add("hung", {**TABLE, "VolumeDriver.List": hangs()})
    fake_loop.at(3, lambda: registry.add("shelf", TABLE))
    app = create_app(lambda: registry)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            answers = await asyncio.gather(
                *(get(app, f"/plugins/{name}/volumes") for name in ("shelf", "shelf", "hung", "no"))
            )
            late = (504, {"detail": "no answer within 5 s"})
            assert [*answers] == [(200, ["books"]), (200, ["books"]), late, late]
            assert fake_loop.time() == 5.0
            assert await get(app, "/plugins") == (200, ["hung", "shelf"])
            registry.add("dumb", {"Plugin.Activate": b"no json"})
            status, said = await get(app, "/plugins/dumb/volumes")
            assert status == 502
            assert "dumb" in said["detail"]

    fake_loop.run(main())
