"""A log driver for asyncio, like ``log_plugin.py``, with a task for each follower.

    python async_log_plugin.py /run/docker/plugins/alines.sock /var/log/alines
    docker run --name hello --log-driver alines busybox echo hello
    docker logs --follow hello

Reading a FIFO blocks, so each FIFO has a thread, which notifies the event loop of each line.
``docker logs --follow`` waits for that; when its host closes the connection, the wait is cancelled.
"""

import argparse
import asyncio
import json
import os
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from moby_plugins.aio import AsyncLogDriver, AsyncPluginApp, serve_unix
from moby_plugins.subsystems import (
    LogCapabilities,
    LogEntry,
    LogInfo,
    ReadConfig,
    decode_frames,
    encode_frame,
    whole_lines,
)

END = LogEntry()
# How many bytes are read at once.
LONGEST = 1 << 20


class AsyncJsonLines(AsyncLogDriver):
    """Writes ``root/CONTAINER.jsonl``, and returns all lines: the engine selects them by time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # By FIFO: its container, and an event that is set once the FIFO was read to its end.
        self._running: dict[str, tuple[str, asyncio.Event]] = {}
        # By container: an event that is set when a line was written, or at the end.
        self._changed: dict[str, asyncio.Event] = {}

    async def start_logging(self, file: str, info: LogInfo) -> None:
        # The engine already has the FIFO open, so this does not block; the thread closes both.
        fifo = await asyncio.to_thread(open, file, "rb", 0)
        output = await asyncio.to_thread(open, self._file(info.container_id), "ab", 0)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._running[file] = (info.container_id, ended)

        def read() -> None:
            with fifo, output:
                for entry in whole_lines(takewhile(END.__ne__, decode_frames(fifo.read))):
                    output.write(record_of(entry))
                    loop.call_soon_threadsafe(self._tell, info.container_id)
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=read, daemon=True).start()

    async def stop_logging(self, file: str) -> None:
        container, ended = self._running.get(file, ("", None))
        if ended is not None and not ended.is_set():
            # The engine closes the FIFO only after this call, so an end marker is written.
            with suppress(FileNotFoundError):
                await asyncio.to_thread(write_end, file)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 10)
        self._running.pop(file, None)
        self._tell(container)

    async def capabilities(self) -> LogCapabilities:
        return LogCapabilities(read_logs=True)

    async def read_logs(self, info: LogInfo, config: ReadConfig) -> AsyncIterator[LogEntry]:
        file = await asyncio.to_thread(open, self._file(info.container_id), "rb")
        try:
            last = config.tail if config.tail >= 0 else None
            for entry in deque(await asyncio.to_thread(read_entries, file), last):
                yield entry
            going = config.follow
            while going:
                # Taken before reading, so that a line written during the reading sets this event.
                changed = self._changed.setdefault(info.container_id, asyncio.Event())
                going = any(info.container_id == each for each, _ in self._running.values())
                for entry in await asyncio.to_thread(read_entries, file):
                    yield entry
                if going:
                    await changed.wait()
        finally:
            file.close()

    def _file(self, container: str) -> Path:
        return self._root / f"{Path(container).name}.jsonl"

    def _tell(self, container: str) -> None:
        changed = self._changed.pop(container, None)
        if changed is not None:
            changed.set()


def write_end(file: str) -> None:
    """Write an end marker to a FIFO; raise if it no longer exists, rather than make a file."""
    with open(file, "r+b", 0) as fifo:
        fifo.write(encode_frame(END))


def record_of(entry: LogEntry) -> bytes:
    """Return a line in the format of the file."""
    line = entry.line.decode(errors="surrogateescape")
    record = {"time": entry.time_nano, "source": entry.source, "line": line}
    return json.dumps(record).encode() + b"\n"


def read_entries(file: BinaryIO) -> "list[LogEntry]":
    """Return the next entries in a file; an incomplete line is left for the next call."""
    entries = []
    while lines := file.readlines(LONGEST):
        if not lines[-1].endswith(b"\n"):
            file.seek(-len(lines.pop()), os.SEEK_CUR)
        for record in map(json.loads, lines):
            content = record["line"].encode(errors="surrogateescape") + b"\n"
            entries.append(LogEntry(record["source"], record["time"], content))
        if not lines:
            break
    return entries


async def serve(socket: str, directory: Path) -> None:
    """Serve until SIGTERM, which cancels the task."""
    serving = asyncio.ensure_future(serve_unix(AsyncPluginApp(AsyncJsonLines(directory)), socket))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Containers' output as JSON lines, on a loop.")
    parser.add_argument("socket", help="the plugin's name, or the path of its socket")
    parser.add_argument("directory", type=Path, help="where the files are written")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.socket, arguments.directory))
