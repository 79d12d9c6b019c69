"""A host in FastAPI that serves the volumes of this machine's plugins over HTTP.

``uvicorn --app-dir examples fastapi_host:app``, then ``curl localhost:8000/plugins/shelf/volumes``.
All requests share one registry, and nothing blocks the event loop. A request that is cancelled, or
that takes longer than ``SECONDS``, does not affect other requests.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from moby_plugins import PluginError, is_not_found
from moby_plugins.aio import AsyncRegistry, AsyncVolumeDriver, new_local_registry

# For one request, including the wait for a plugin that is starting.
SECONDS = 5.0


def create_app(make_registry: Callable[[], AsyncRegistry] = new_local_registry) -> FastAPI:
    """Return the application, which opens a registry when it starts and closes it at the end."""
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
    """Limit the time of a request, and turn errors into HTTP responses."""
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError as error:
        raise HTTPException(504, f"no answer within {SECONDS:g} s") from error
    except PluginError as error:
        raise HTTPException(404 if is_not_found(error) else 502, str(error)) from error


app = create_app()
