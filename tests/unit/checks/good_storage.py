"""Good plugins that keep what they are given: lines of logs, and layers."""

import select
import tarfile
import threading
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import Any

from attrs import evolve

from moby_plugins.app.bodies import Data
from moby_plugins.serving import hung_up
from moby_plugins.subsystems import (
    Change,
    GraphCapabilities,
    GraphDriver,
    InitRequest,
    LayerRequest,
    LogCapabilities,
    LogDriver,
    LogEntry,
    LogInfo,
    ReadConfig,
    decode_frames,
    encode_frame,
)

END = LogEntry()


class Logs(LogDriver):
    """A log driver that keeps lines by container."""

    def __init__(self) -> None:
        self._lines: dict[str, list[LogEntry]] = {}
        self._readers: dict[str, threading.Thread] = {}
        self._wakeup = threading.Condition()

    def start_logging(self, file: str, info: LogInfo) -> None:
        self._lines.setdefault(info.container_id, [])
        fifo = Path(file).open("rb", 0)  # noqa: SIM115  the thread closes it
        reader = threading.Thread(target=self._copy, args=(fifo, info.container_id), daemon=True)
        self._readers[file] = reader
        reader.start()

    def stop_logging(self, file: str) -> None:
        if reader := self._readers.pop(file, None):
            with Path(file).open("wb", 0) as fifo:
                fifo.write(encode_frame(END))
            reader.join()

    def capabilities(self) -> LogCapabilities:
        return LogCapabilities(read_logs=True)

    def read_logs(self, info: LogInfo, config: ReadConfig) -> Iterator[LogEntry]:
        if info.container_id not in self._lines:
            raise LookupError("no such container")
        lines = self._lines[info.container_id]
        at = max(len(lines) - config.tail, 0) if config.tail >= 0 else 0
        gone = hung_up()
        while not gone.is_set() and (at < len(lines) or config.follow):
            with self._wakeup:
                self._wakeup.wait_for(lambda: at < len(lines), timeout=0.1)
            yield from lines[at : (at := len(lines))]

    def _copy(self, fifo: Any, container: str) -> None:
        with fifo:
            for entry in takewhile(END.__ne__, decode_frames(fifo.read)):
                with self._wakeup:
                    self._lines[container].append(evolve(entry, attrs={}))
                    self._wakeup.notify_all()


class Asynchronous(Logs):
    """A log driver that at StopLogging leaves unread what is still in the FIFO."""

    def __init__(self) -> None:
        super().__init__()
        self._stops: dict[str, threading.Event] = {}

    def start_logging(self, file: str, info: LogInfo) -> None:
        self._lines.setdefault(info.container_id, [])
        stopped = threading.Event()
        self._stops[file] = stopped
        arguments = (Path(file).open("rb", 0), info.container_id, stopped)  # noqa: SIM115
        threading.Thread(target=self._read, args=arguments, daemon=True).start()

    def stop_logging(self, file: str) -> None:
        if stopped := self._stops.pop(file, None):
            stopped.set()

    def _read(self, fifo: Any, container: str, stopped: threading.Event) -> None:
        with fifo:
            while not stopped.is_set():
                if select.select([fifo], [], [], 0.01)[0] and not stopped.is_set():
                    entry = next(decode_frames(fifo.read))
                    self._lines[container].append(evolve(entry, attrs={}))


class Layers(GraphDriver):
    """A graph driver that keeps the archive of each layer."""

    def __init__(self) -> None:
        self._layers: dict[str, bytes] = {}

    def init(self, request: InitRequest) -> None:
        """There is nothing to prepare."""

    def capabilities(self) -> GraphCapabilities:
        return GraphCapabilities(reproduces_exact_diffs=True)

    def create(self, request: LayerRequest) -> None:
        self._layers[request.id] = b""

    def create_read_write(self, request: LayerRequest) -> None:
        self._layers[request.id] = self._layers[request.parent]

    def remove(self, id: str) -> None:
        del self._layers[id]

    def put(self, id: str) -> None:
        """Nothing was mounted."""

    def get(self, request: LayerRequest) -> str:
        if request.id not in self._layers:
            raise LookupError("no such layer")
        return f"/layers/{request.id}"

    def exists(self, id: str) -> bool:
        return id in self._layers

    def status(self) -> tuple[tuple[str, ...], ...]:
        return (("Layers", str(len(self._layers))),)

    def get_metadata(self, id: str) -> Mapping[str, str]:
        return {"bytes": str(len(self._layers[id]))}

    def cleanup(self) -> None:
        """Nothing is mounted."""

    def diff(self, id: str, parent: str) -> Iterator[bytes]:
        yield self._layers[id]

    def changes(self, id: str, parent: str) -> tuple[Change, ...]:
        with tarfile.open(fileobj=BytesIO(self._layers[id])) as tar:
            return tuple(Change(f"/{name}", 1) for name in tar.getnames())

    def apply_diff(self, id: str, parent: str, archive: Data) -> int:
        self._layers[id] = archive if isinstance(archive, bytes) else b"".join(archive)
        return len(self._layers[id])

    def diff_size(self, id: str, parent: str) -> int:
        return len(self._layers[id])
