"""Other HTTP clients in Python, for rounds of the same small call over the same socket."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import httpx
import requests
import requests_unixsocket
from docker.transport import UnixHTTPAdapter

from benchmarks.contest import Side, timed

METHOD = "VolumeDriver.Mount"
ARGS = {"Name": "books", "ID": "reader-1"}
MOUNTPOINT = "/mnt/books"


@contextmanager
def clients(path: Path, calls: int) -> Iterator[dict[str, Side]]:
    """Yield a side for each client, by the client's name; close all at the end."""
    with ExitStack() as stack:
        over_httpx = stack.enter_context(
            httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost")
        )
        unixsocket = stack.enter_context(requests_unixsocket.Session())
        docker = stack.enter_context(requests.Session())
        docker.mount("http+docker://", UnixHTTPAdapter(f"http+unix://{path}"))
        posts = {
            "httpx": lambda: over_httpx.post(f"/{METHOD}", json=ARGS).json(),
            "requests-unixsocket2": lambda: unixsocket.post(
                f"http+unix://{quote(str(path), safe='')}/{METHOD}", json=ARGS
            ).json(),
            "docker-py's adapter": lambda: docker.post(
                f"http+docker://localhost/{METHOD}", json=ARGS
            ).json(),
        }
        sides = {name: timed(_repeated(post, calls)) for name, post in posts.items()}
        yield sides | {"aiohttp": stack.enter_context(_aiohttp(path, calls))}


def _repeated(post: Callable[[], dict[str, str]], calls: int) -> Callable[[], None]:
    def rounds() -> None:
        for _ in range(calls):
            assert post()["Mountpoint"] == MOUNTPOINT

    return rounds


@contextmanager
def _aiohttp(path: Path, calls: int) -> Iterator[Side]:
    loop = asyncio.new_event_loop()

    async def start() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))

    session = loop.run_until_complete(start())

    async def rounds() -> None:
        for _ in range(calls):
            async with session.post(f"http://localhost/{METHOD}", json=ARGS) as answer:
                told = await answer.json(content_type=None)
            assert told["Mountpoint"] == MOUNTPOINT

    try:
        yield timed(lambda: loop.run_until_complete(rounds()))
    finally:
        loop.run_until_complete(session.close())
        loop.close()
