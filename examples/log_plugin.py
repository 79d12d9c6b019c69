"""A log driver that writes each container's output as JSON lines to a separate file.

    python log_plugin.py /run/docker/plugins/lines.sock /var/log/lines
    docker run --name hello --log-driver lines busybox echo hello
    docker logs hello

The engine splits lines over 16 KiB, which are joined again here. It names a container's FIFO only
once, so restart this plugin only while no container logs through it.
"""

import argparse
import json
import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from moby_plugins.serving import PluginApp, hung_up, serve_unix
from moby_plugins.subsystems import (
    LogCapabilities,
    LogDriver,
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


class JsonLines(LogDriver):
    """Writes ``root/CONTAINER.jsonl``, and returns all lines: the engine selects them by time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._readers: dict[str, tuple[str, threading.Thread]] = {}
        self._lock = threading.Lock()  # so that no incomplete line is read

    def start_logging(self, file: str, info: LogInfo) -> None:
        # The engine already has the FIFO open, so this does not block; the thread closes both.
        fifo, output = open(file, "rb", 0), open(self._file(info.container_id), "ab", 0)  # noqa: SIM115
        reader = threading.Thread(target=self._copy, args=(fifo, output), daemon=True)
        self._readers[file] = (info.container_id, reader)
        reader.start()

    def stop_logging(self, file: str) -> None:
        if file in self._readers and self._readers[file][1].is_alive():
            # The engine closes the FIFO only after this call, so write an end marker after all
            # lines. "r+b" does not create a file if the FIFO no longer exists.
            with suppress(FileNotFoundError), open(file, "r+b", 0) as fifo:
                fifo.write(encode_frame(END))
            self._readers[file][1].join(timeout=10)
        self._readers.pop(file, None)

    def capabilities(self) -> LogCapabilities:
        return LogCapabilities(read_logs=True)

    def read_logs(self, info: LogInfo, config: ReadConfig) -> Iterator[LogEntry]:
        with self._file(info.container_id).open("rb") as file:
            yield from deque(self._read(file), config.tail if config.tail >= 0 else None)
            going, gone = config.follow, hung_up()
            while going:
                # Checked before reading, so that lines written before the end are still read.
                going = any(info.container_id == running for running, _ in self._readers.values())
                yield from self._read(file)
                if gone.wait(0.1):  # Ctrl-C on a quiet container's ``docker logs --follow``
                    return

    def _file(self, container: str) -> Path:
        return self._root / f"{Path(container).name}.jsonl"

    def _copy(self, fifo: BinaryIO, output: BinaryIO) -> None:
        with fifo, output:
            for entry in whole_lines(takewhile(END.__ne__, decode_frames(fifo.read))):
                line = entry.line.decode(errors="surrogateescape")
                record = {"time": entry.time_nano, "source": entry.source, "line": line}
                with self._lock:
                    output.write(json.dumps(record).encode() + b"\n")

    def _read(self, file: BinaryIO) -> Iterator[LogEntry]:
        while True:
            with self._lock:
                lines = file.readlines(LONGEST)
            for record in map(json.loads, lines):
                content = record["line"].encode(errors="surrogateescape") + b"\n"
                yield LogEntry(record["source"], record["time"], content)
            if not lines:
                return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Containers' output as JSON lines.")
    parser.add_argument("socket", help="the plugin's name, or the path of its socket")
    parser.add_argument("directory", type=Path, help="where the files are written")
    arguments = parser.parse_args()
    logging.basicConfig()
    serve_unix(PluginApp(JsonLines(arguments.directory)), arguments.socket)
