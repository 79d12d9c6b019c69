"""Checks of LogDriver that read logged lines back (protocol.md B6), for drivers with ReadLogs."""

from contextlib import suppress
from functools import partial

from moby_plugins.checks.log import (
    EPOCH,
    READ,
    STOP,
    container,
    lines,
    logged,
    logging,
    pieces_of,
    read,
    read_request,
    read_until,
    skip_unless_it_reads,
    texts_of,
)
from moby_plugins.checks.outcome import Check, CheckOutcome, check, require, warn
from moby_plugins.checks.session import Session
from moby_plugins.domain.errors import StatusError
from moby_plugins.subsystems import LogEntry, decode_frames

SUBSYSTEM = "LogDriver"
FEW = 4
# More than the usual number of threads of a plugin's server.
FOLLOWERS = 300
# Seconds in which a driver may still store lines that it has read.
LATE = 1.0
# The time of the second line.
SECOND_LINE = "2020-09-13T12:26:41Z"
SOURCES = ("stdout", "stderr")


@check(SUBSYSTEM, source="B6")
def lines_come_back(plugin: Session) -> None:
    """ReadLogs returns the lines of a stopped container, complete and in order."""
    wanted = [f"line {number} äöü" for number in range(100)]
    texts = texts_of(read_until(plugin, logged(plugin, *lines(*wanted)), len(wanted)))
    require(texts == wanted, f"{texts[:3]!r}… instead of {wanted[:3]!r}…")


@check(SUBSYSTEM, source="B11 trap 16")
def lines_end(plugin: Session) -> None:
    """each line of ReadLogs ends in a newline, unlike those in the FIFO; else they run together."""
    for entry in read_until(plugin, logged(plugin, *lines("one", "two")), 2):
        require(entry.line.endswith(b"\n"), repr(entry.line))
        warn(not entry.line.endswith(b"\n\n"), f"{entry.line!r}: an empty line follows")


@check(SUBSYSTEM, source="B11 trap 16")
def sources(plugin: Session) -> None:
    """each line of ReadLogs has its source, stdout or stderr; otherwise engines drop it."""
    wanted = [entry for source in SOURCES for entry in lines("one", source=source)]
    names = [entry.source for entry in read_until(plugin, logged(plugin, *wanted), 2)]
    require(names == list(SOURCES), f"{names!r}")


@check(SUBSYSTEM, source="B6")
def times(plugin: Session) -> None:
    """each line of ReadLogs has its original time, in nanoseconds."""
    wanted = [entry.time_nano for entry in lines("one", "two")]
    logged_container = logged(plugin, *lines("one", "two"))
    nanoseconds = [entry.time_nano for entry in read_until(plugin, logged_container, 2)]
    require(nanoseconds == wanted, f"{nanoseconds} instead of {wanted}")


@check(SUBSYSTEM, "bytes", source="B6", worst=CheckOutcome.WARNED)
def any_bytes(plugin: Session) -> None:
    """ReadLogs returns a line of any bytes unchanged."""
    line = bytes(sorted(set(range(256)) - {10}))
    (entry,) = read_until(plugin, logged(plugin, LogEntry("stdout", EPOCH, line)), 1)
    require(entry.line.removesuffix(b"\n") == line, repr(entry.line))


@check(SUBSYSTEM, source="B6")
def pieces_of_a_line(plugin: Session) -> None:
    """the parts of a line over 16 KiB come back in order, with nothing between them and none
    missing.
    """
    pieces = [b"a" * (16 << 10), b"b" * (16 << 10), b"c"]
    logged_container = logged(plugin, *pieces_of(*pieces))
    whole: list[bytes] = []

    def there() -> bool:
        whole[:] = [entry.line for entry in read(plugin, logged_container)]
        return b"".join(whole).endswith(b"c\n")

    plugin.until(there)
    require(b"".join(whole) == b"".join(pieces) + b"\n", f"{len(whole)} entries: {whole!r}")


@check(SUBSYSTEM, source="B6, B11 trap 14")
def tail(plugin: Session) -> None:
    """ReadLogs follows its Config: with Tail 2 it returns only the last two lines."""
    logged_container = logged(plugin, *lines("one", "two", "three"))
    read_until(plugin, logged_container, 3)
    texts = texts_of(read(plugin, logged_container, Tail=2))
    require(texts == ["two", "three"], f"{texts!r}")


def _bounded(name: str, expects: str, expected: slice) -> Check:
    @check(SUBSYSTEM, name.lower(), expects=expects, source="B6")
    def run_check(plugin: Session) -> None:
        logs = logged(plugin, *lines("one", "two", "three"))
        every = texts_of(read_until(plugin, logs, 3))
        texts = texts_of(read(plugin, logs, **{name: SECOND_LINE}))
        require(texts[expected] == every[expected], f"{texts!r}")

    return run_check


since: Check = _bounded(
    "Since",
    "ReadLogs returns all lines from Since on; engines drop earlier ones themselves",
    slice(-2, None),
)
until: Check = _bounded(
    "Until",
    "ReadLogs returns all lines up to Until; engines stop at the first later one themselves",
    slice(2),
)


@check(SUBSYSTEM, source="B6")
def logs_of_one_container(plugin: Session) -> None:
    """lines of containers that log at once are not mixed up."""
    logged_containers = plugin.side_by_side(
        *(partial(logged, plugin, *lines(str(n))) for n in range(FEW))
    )
    for number, each in enumerate(logged_containers):
        texts = texts_of(read_until(plugin, each, 1))
        require(texts == [str(number)], f"{texts!r} instead of [{str(number)!r}]")


@check(SUBSYSTEM, source="B6")
def logs_after_a_second_start(plugin: Session) -> None:
    """lines that a container logged before a restart are kept."""
    first = logged(plugin, *lines("one"))
    read_until(plugin, first, 1)
    second = logged(plugin, *lines("two"), container_id=first.id)
    texts = texts_of(read_until(plugin, second, 2))
    require(texts == ["one", "two"], f"{texts!r}")


@check(SUBSYSTEM, "docker logs of a stopped container", source="B6")
def logs_of_a_stopped_container(plugin: Session) -> None:
    """StartLogging with a new FIFO, ReadLogs and StopLogging succeed: this is how engines read logs
    of stopped containers.
    """
    first = logged(plugin, *lines("one"))
    read_until(plugin, first, 1)
    again = logging(plugin, first.id)
    texts = texts_of(read(plugin, again))
    plugin.call(STOP, {"File": again.file})
    require(texts == ["one"], f"{texts!r}")


@check(SUBSYSTEM, source="B6", worst=CheckOutcome.WARNED)
def stop_at_once(plugin: Session) -> None:
    """lines that are still in the FIFO at StopLogging are kept: engines do not wait until a driver
    has read them.
    """
    skip_unless_it_reads(plugin)
    logged_container = logging(plugin)
    wanted = ["one", "two", "three"]
    logged_container.fifo.write_only(lines(*wanted))
    plugin.call(STOP, {"File": logged_container.file})
    texts: list[str] = []

    def there() -> bool:
        with suppress(StatusError):
            texts[:] = texts_of(read(plugin, logged_container))
        return texts == wanted

    plugin.until(there, LATE)
    require(texts == wanted, f"{texts!r} come back of {wanted!r}")


@check(SUBSYSTEM, source="B6")
def logs_of_a_stranger(plugin: Session) -> None:
    """ReadLogs of a container that never logged returns no lines, or another status than 200."""
    try:
        entries = read(plugin, container(plugin))
    except StatusError:
        return
    require(not entries, f"{texts_of(entries)!r}")


@check(SUBSYSTEM, source="B6")
def follow(plugin: Session) -> None:
    """ReadLogs with Follow returns a new line while the container still runs."""
    skip_unless_it_reads(plugin)
    logged_container = logging(plugin)
    logged_container.fifo.write(lines("one"))
    with plugin.stream(READ, read_request(logged_container, Follow=True)) as stream:
        entries = decode_frames(stream.read)
        first = next(entries, None)
        logged_container.fifo.write(lines("one", "two")[1:])
        second = next(entries, None)
    texts = texts_of([entry for entry in (first, second) if entry])
    require(texts == ["one", "two"], f"{texts!r} instead of 'one' and 'two'")


@check(SUBSYSTEM, source="B11 trap 17")
def follow_cut_off(plugin: Session) -> None:
    """the driver still works after hosts closed the connection of a ReadLogs with Follow, as they
    do after a time-out.
    """
    skip_unless_it_reads(plugin)
    logged_container = logging(plugin)
    logged_container.fifo.write(lines("one"))
    for _ in range(3):
        with plugin.stream(READ, read_request(logged_container, Follow=True)) as stream:
            stream.read(1)
    logged_container.fifo.write(lines("one", "two")[1:])
    plugin.call(STOP, {"File": logged_container.file})
    read_until(plugin, logged_container, 2)


@check(SUBSYSTEM, source="B11 trap 17")
def follow_and_hang_up(plugin: Session) -> None:
    """StartLogging succeeds after 300 hosts closed the connection of a ReadLogs with Follow that
    had no new line to send, as each Ctrl-C of docker logs --follow does.
    """
    skip_unless_it_reads(plugin)
    logged_container = logging(plugin)
    logged_container.fifo.write(lines("one"))
    for _ in range(FOLLOWERS):
        with plugin.stream(READ, read_request(logged_container, Follow=True)) as stream:
            stream.read(1)
    logging(plugin)
