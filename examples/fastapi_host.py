"""A host in FastAPI: which volumes the plugins of this machine have, over HTTP.

``uvicorn --app-dir examples fastapi_host:app``, then ``curl localhost:8000/plugins/shelf/volumes``.
One registry serves all requests; nothing blocks the event loop. A request whose caller has gone, or
that takes longer than ``SECONDS``, ends its own wait and no other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from moby_plugins import PluginError, is_not_found
from moby_plugins.aio import AsyncRegistry, AsyncVolumeDriver, new_local_registry

# For one request, the wait for a plugin that is being started included.
SECONDS = 5.0


def create_app(make_registry: Callable[[], AsyncRegistry] = new_local_registry) -> FastAPI:
    """Make the application, which opens its registry when it starts, and closes it at the end."""
    registries: list[AsyncRegistry] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with make_registry() as registry:
            registries.append(registry)
            yield

    app = FastAPI(title="volumes", lifespan=lifespan)

    @app.get("/plugins")
    async def plugins() -> list[str]:
        async with bounded():
            found = await registries[0].get_all("VolumeDriver")
            return [plugin.name for plugin in found]

    @app.get("/plugins/{name}/volumes")
    async def volumes(name: str) -> list[str]:
        async with bounded():
            driver = await registries[0].get(name, AsyncVolumeDriver)
            return [volume.name for volume in await driver.list()]

    return app


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Bound what a request does, and say over HTTP what went wrong."""
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError as error:
        raise HTTPException(504, f"no answer within {SECONDS:g} s") from error
    except PluginError as error:
        raise HTTPException(404 if is_not_found(error) else 502, str(error)) from error


app = create_app()
