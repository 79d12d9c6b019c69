"""LogDriver (protocol.md B6)."""

from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve, field, frozen

from moby_plugins.app.answer import Stream
from moby_plugins.app.log_frames import LogEntry, decode_frames, encode_frame
from moby_plugins.app.messages import wired
from moby_plugins.app.remote import remote
from moby_plugins.app.streamed import Streamed
from moby_plugins.app.subsystem import Subsystem

# A time that is not set.
NO_TIME = "0001-01-01T00:00:00Z"
# ``ReadConfig.tail`` for all lines.
ALL_LINES = -1
SOURCES = ("stdout", "stderr")


@frozen
class LogInfo:
    """The container whose output it is. ``container_name`` has a leading slash."""

    config: Mapping[str, str] = field(factory=dict)
    container_id: str = field(default="", metadata=wired("ContainerID"))
    container_name: str = ""
    container_entrypoint: str = ""
    container_args: tuple[str, ...] = ()
    container_image_id: str = field(default="", metadata=wired("ContainerImageID"))
    container_image_name: str = ""
    container_created: str = NO_TIME
    container_env: tuple[str, ...] = ()
    container_labels: Mapping[str, str] = field(factory=dict)
    log_path: str = ""
    daemon_name: str = "docker"


@frozen
class ReadConfig:
    """Which lines: ``since`` and ``until`` are RFC 3339, ``tail`` the last so many, -1 for all."""

    since: str = NO_TIME
    until: str = NO_TIME
    tail: int = ALL_LINES
    follow: bool = False


@frozen
class LogCapabilities:
    """Whether the driver answers ``read_logs``; an engine keeps its own copy otherwise."""

    read_logs: bool = False


class _Entries(Streamed):
    """A call whose answer is a stream of framed entries."""

    def read(self, stream: Stream) -> Iterator[LogEntry]:
        """The entries in frames."""
        return decode_frames(stream.read)

    def write(self, items: Iterable[LogEntry]) -> Iterator[bytes]:
        """The entries as frames, each in a form that an engine shows."""
        for entry in items:
            yield encode_frame(_readable(entry))


def _readable(entry: LogEntry) -> LogEntry:
    # An engine runs lines without a newline together, and drops other sources (trap 16).
    if entry.source not in SOURCES:
        raise ValueError(f"a log entry's source is stdout or stderr, not {entry.source!r}")
    piece = entry.partial_log_metadata
    ends = not entry.partial or (piece is not None and piece.last)
    if not ends or entry.line.endswith(b"\n"):
        return entry
    return evolve(entry, line=entry.line + b"\n")


class LogDriver(Subsystem):
    """Takes the output of containers from FIFOs, and gives it back."""

    @remote()
    def start_logging(self, file: str, info: LogInfo) -> None:
        """Read frames from the FIFO ``file`` until it ends; return once it is open.

        A FIFO that is full blocks the container.
        """
        raise NotImplementedError

    @remote()
    def stop_logging(self, file: str) -> None:
        """Stop reading; waiting for the FIFO's end here would never end (trap 15)."""
        raise NotImplementedError

    @remote(sends_body=False, result="Cap", failed=LogCapabilities())
    def capabilities(self) -> LogCapabilities:
        """What the driver can do; to a host any failure means it cannot read."""
        raise NotImplementedError

    @_Entries()
    def read_logs(self, info: LogInfo, config: ReadConfig) -> Iterator[LogEntry]:
        """The container's lines, each with its source; a newline that lacks is added (trap 16)."""
        raise NotImplementedError
