"""The plugins of the soak, each a process: ``python -m tests.soak.plugins KIND SOCKET``.

Each response has the number of its call, and the number decides which fault the call has.
"""

import asyncio
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

from moby_plugins import aio
from moby_plugins.serving import PluginApp, serve_unix
from moby_plugins.subsystems import GraphDriver
from tests.dummy_plugin import Conversation, DummyPlugin, http
from tests.integration.serving.async_plugins import AsyncEcho
from tests.integration.serving.plugins import Echo
from tests.soak.faults import BREAKS, HANGS, LATE, RAISES, RAW, SERVED, Ended, fault_of

_NUMBER = re.compile(rb'"Text":"(\d+)"')
PIECES = 5


class Echoes(Echo):
    """Returns the number of a call, or has the fault of that number."""

    def say(self, text: str) -> str:
        fault = fault_of(int(text), SERVED)
        if fault is RAISES:
            raise LookupError(text)
        if fault is HANGS:
            time.sleep(LATE)
        return text


class Layers(GraphDriver):
    """``diff`` streams the number several times, and ``apply_diff`` counts the archive."""

    def diff(self, id: str, parent: str = "") -> Iterator[bytes]:
        for piece in range(PIECES):
            if piece == PIECES - 1 and fault_of(int(id), SERVED) is BREAKS:
                raise OSError("disk error")
            yield f"{id},".encode()

    def apply_diff(self, id: str, parent: str, archive: Iterator[bytes]) -> int:  # type: ignore[override]
        return int(id) + sum(map(len, archive))


class AsyncEchoes(AsyncEcho):
    """``Echoes``, in an event loop."""

    async def say(self, text: str) -> str:
        fault = fault_of(int(text), SERVED)
        if fault is RAISES:
            raise LookupError(text)
        if fault is HANGS:
            await asyncio.sleep(LATE)
        return text


class AsyncLayers(aio.AsyncGraphDriver):
    """``Layers``, in an event loop."""

    async def diff(self, id: str, parent: str = "") -> AsyncIterator[bytes]:
        for piece in Layers().diff(id, parent):
            yield piece
            await asyncio.sleep(0)

    async def apply_diff(self, id: str, parent: str, archive: AsyncIterator[bytes]) -> int:  # type: ignore[override]
        return int(id) + sum([len(part) async for part in archive])


def converse(conversation: Conversation) -> None:
    """Respond to each request, or have the fault of its number."""
    with suppress(Ended, OSError):
        while request := conversation.read_request():
            found = _NUMBER.search(request)
            if found is None:
                conversation.send(http(b'{"Implements":["Echo"]}'))
                continue
            answer = http(b'{"Said":"%b","Err":""}' % found[1])
            fault = fault_of(int(found[1]), tuple(RAW))
            (RAW[fault] if fault is not None else Conversation.send)(conversation, answer)


def serve_raw(path: str) -> None:
    """Serve over a raw socket until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with DummyPlugin.on_unix(Path(path), converse):
        while not stop.wait(1.0):
            pass


def serve_app(path: str) -> None:
    """Serve with this library until SIGTERM."""
    serve_unix(PluginApp(Echoes(), Layers()), path)


def serve_async_app(path: str) -> None:
    """Serve with this library in an event loop, until SIGTERM."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await aio.serve_unix(aio.AsyncPluginApp(AsyncEchoes(), AsyncLayers()), path)

    with suppress(asyncio.CancelledError):
        asyncio.run(main())


if __name__ == "__main__":
    kinds = {"raw": serve_raw, "served": serve_app, "awaited": serve_async_app}
    kinds[sys.argv[1]](sys.argv[2])
