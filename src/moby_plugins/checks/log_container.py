"""A container that logs through the driver under check (protocol.md B6)."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from attrs import field, frozen

from moby_plugins.checks.answer import folded
from moby_plugins.checks.check import require, skip
from moby_plugins.checks.log_fifo import Fifo
from moby_plugins.checks.probe import Probe
from moby_plugins.domain.errors import StatusError
from moby_plugins.subsystems import LogEntry, PartialLog, decode_frames

CAPABILITIES = "LogDriver.Capabilities"
START, STOP, READ = "LogDriver.StartLogging", "LogDriver.StopLogging", "LogDriver.ReadLogs"
UNSET = "0001-01-01T00:00:00Z"
# The time of the first line, in nanoseconds since 1970; each has the next second.
EPOCH, SECOND = 1_600_000_000 * 10**9, 10**9
LOCAL = ("", "localhost", "127.0.0.1", "::1")


@frozen
class Container:
    """A container that logs: its id, its FIFO, and what an engine tells of it."""

    id: str
    fifo: Fifo = field(eq=False)

    @property
    def info(self) -> dict[str, Any]:
        """``Info`` of StartLogging and ReadLogs."""
        return {
            "Config": {},
            "ContainerID": self.id,
            "ContainerName": f"/moby-plugins-check-{self.id[:12]}",
            "ContainerEntrypoint": "sh",
            "ContainerArgs": ["-c", "true"],
            "ContainerImageID": f"sha256:{self.id}",
            "ContainerImageName": "moby-plugins-check",
            "ContainerCreated": "2020-09-13T12:26:40.5Z",
            "ContainerEnv": ["PATH=/bin"],
            "ContainerLabels": {"moby-plugins-check": "1"},
            "LogPath": "",
            "DaemonName": "docker",
        }

    @property
    def file(self) -> str:
        """The FIFO's path."""
        return str(self.fifo.path)


def container(plugin: Probe, container_id: str = "") -> Container:
    """A container that does not log yet; its FIFO goes away at the end."""
    if plugin.subject.address.host not in LOCAL:
        skip("it needs a FIFO, and the plugin is on another machine")
    path = plugin.directory() / plugin.id()
    fifo = plugin.lend(Fifo(path, plugin.setup.timeout))
    return Container(container_id or plugin.id(), fifo)


def logging(plugin: Probe, container_id: str = "", info: Any = None) -> Container:
    """A container that logs; StopLogging comes at the end."""
    made = container(plugin, container_id)
    file = {"File": made.file}
    plugin.make(START, file | {"Info": made.info | (info or {})}, STOP, file)
    return made


def lines(*texts: str, source: str = "stdout") -> list[LogEntry]:
    """Entries with these lines, a second apart."""
    return [
        LogEntry(source, EPOCH + number * SECOND, text.encode())
        for number, text in enumerate(texts)
    ]


def pieces_of(*texts: bytes) -> list[LogEntry]:
    """Entries for the pieces of one line."""
    return [
        LogEntry("stdout", EPOCH, text, True, PartialLog(number == len(texts), "check", number))
        for number, text in enumerate(texts, 1)
    ]


def logged(plugin: Probe, *entries: LogEntry, container_id: str = "") -> Container:
    """A container that has logged ``entries``, and was stopped."""
    made = logging(plugin, container_id)
    made.fifo.write(entries)
    plugin.call(STOP, {"File": made.file})
    return made


def it_reads(plugin: Probe) -> bool:
    """Whether the driver has the capability ReadLogs; none, if it cannot tell."""
    answer = plugin.send(CAPABILITIES)
    cap = {} if answer.error else answer.fields.get("cap") or {}
    return bool(folded(cap, answer).get("readlogs"))


def skip_unless_it_reads(plugin: Probe) -> None:
    """End the check for a driver that does not read."""
    if not it_reads(plugin):
        skip("ReadLogs is not among its capabilities")


def read_request(made: Container, **config: Any) -> dict[str, Any]:
    """The arguments of ReadLogs: all lines, unless ``config`` says otherwise."""
    every = {"Since": UNSET, "Until": UNSET, "Tail": -1, "Follow": False}
    return {"Info": made.info, "Config": every | config}


def read(plugin: Probe, made: Container, **config: Any) -> list[LogEntry]:
    """What ReadLogs gives; skips the check for a driver that does not read."""
    skip_unless_it_reads(plugin)
    with plugin.stream(READ, read_request(made, **config)) as stream:
        return list(decode_frames(stream.read))


def read_until(plugin: Probe, made: Container, count: int) -> list[LogEntry]:
    """What ReadLogs gives, once it is as many entries; the check fails if it never is."""
    found: list[LogEntry] = []

    def enough() -> bool:
        with suppress(StatusError):  # a driver may not know it before its first line is there
            found[:] = read(plugin, made)
        return len(found) >= count

    plugin.until(enough)
    require(len(found) == count, f"{len(found)} of {count} lines come back: {_brief(found)}")
    return found


def texts_of(entries: Sequence[LogEntry]) -> list[str]:
    """Their lines, without newlines."""
    return [entry.line.decode(errors="replace").removesuffix("\n") for entry in entries]


def _brief(entries: Sequence[LogEntry]) -> str:
    return repr(texts_of(entries[:3]))
