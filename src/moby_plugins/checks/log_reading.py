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
    """ReadLogs gives the lines of a stopped container, whole and in order."""
    wanted = [f"line {number} äöü" for number in range(100)]
    found = texts_of(read_until(plugin, logged(plugin, *lines(*wanted)), len(wanted)))
    require(found == wanted, f"{found[:3]!r}… instead of {wanted[:3]!r}…")


@check(SUBSYSTEM, source="B11 trap 16")
def lines_end(plugin: Session) -> None:
    """each line of ReadLogs ends in a newline, unlike those in the FIFO; else they run together."""
    for entry in read_until(plugin, logged(plugin, *lines("one", "two")), 2):
        require(entry.line.endswith(b"\n"), repr(entry.line))
        warn(not entry.line.endswith(b"\n\n"), f"{entry.line!r}: an empty line follows")


@check(SUBSYSTEM, source="B11 trap 16")
def sources(plugin: Session) -> None:
    """each line of ReadLogs has the source that it came from, stdout or stderr; else it
    vanishes.
    """
    wanted = [entry for source in SOURCES for entry in lines("one", source=source)]
    found = [entry.source for entry in read_until(plugin, logged(plugin, *wanted), 2)]
    require(found == list(SOURCES), f"{found!r}")


@check(SUBSYSTEM, source="B6")
def times(plugin: Session) -> None:
    """each line of ReadLogs has the time that it came with, in nanoseconds."""
    wanted = [entry.time_nano for entry in lines("one", "two")]
    made = logged(plugin, *lines("one", "two"))
    found = [entry.time_nano for entry in read_until(plugin, made, 2)]
    require(found == wanted, f"{found} instead of {wanted}")


@check(SUBSYSTEM, "bytes", source="B6", worst=CheckOutcome.WARNED)
def any_bytes(plugin: Session) -> None:
    """a line of any bytes comes back as it was."""
    line = bytes(sorted(set(range(256)) - {10}))
    (found,) = read_until(plugin, logged(plugin, LogEntry("stdout", EPOCH, line)), 1)
    require(found.line.removesuffix(b"\n") == line, repr(found.line))


@check(SUBSYSTEM, source="B6")
def pieces_of_a_line(plugin: Session) -> None:
    """the pieces of a line over 16 KiB come back in order, with nothing between or lost."""
    pieces = [b"a" * (16 << 10), b"b" * (16 << 10), b"c"]
    made = logged(plugin, *pieces_of(*pieces))
    whole: list[bytes] = []

    def there() -> bool:
        whole[:] = [entry.line for entry in read(plugin, made)]
        return b"".join(whole).endswith(b"c\n")

    plugin.until(there)
    require(b"".join(whole) == b"".join(pieces) + b"\n", f"{len(whole)} entries: {whole!r}")


@check(SUBSYSTEM, source="B6, B11 trap 14")
def tail(plugin: Session) -> None:
    """Config of ReadLogs is heeded: with Tail 2 only the last two lines come."""
    made = logged(plugin, *lines("one", "two", "three"))
    read_until(plugin, made, 3)
    found = texts_of(read(plugin, made, Tail=2))
    require(found == ["two", "three"], f"{found!r}")


def _bounded(name: str, expects: str, kept: slice) -> Check:
    @check(SUBSYSTEM, name.lower(), expects=expects, source="B6")
    def made(plugin: Session) -> None:
        logs = logged(plugin, *lines("one", "two", "three"))
        every = texts_of(read_until(plugin, logs, 3))
        found = texts_of(read(plugin, logs, **{name: SECOND_LINE}))
        require(found[kept] == every[kept], f"{found!r}")

    return made


since: Check = _bounded(
    "Since",
    "Since does not lose a line that is later; engines leave out others themselves",
    slice(-2, None),
)
until: Check = _bounded(
    "Until",
    "Until does not lose a line that is earlier; engines stop at the first after it",
    slice(2),
)


@check(SUBSYSTEM, source="B6")
def logs_of_one_container(plugin: Session) -> None:
    """containers that log at once are told apart."""
    made = plugin.side_by_side(*(partial(logged, plugin, *lines(str(n))) for n in range(FEW)))
    for number, each in enumerate(made):
        found = texts_of(read_until(plugin, each, 1))
        require(found == [str(number)], f"{found!r} instead of [{str(number)!r}]")


@check(SUBSYSTEM, source="B6")
def logs_after_a_second_start(plugin: Session) -> None:
    """what a container logged before it was started again is kept."""
    first = logged(plugin, *lines("one"))
    read_until(plugin, first, 1)
    second = logged(plugin, *lines("two"), container_id=first.id)
    found = texts_of(read_until(plugin, second, 2))
    require(found == ["one", "two"], f"{found!r}")


@check(SUBSYSTEM, "docker logs of a stopped container", source="B6")
def logs_of_a_stopped_container(plugin: Session) -> None:
    """StartLogging with a new FIFO, ReadLogs, StopLogging: so engines read what has stopped."""
    first = logged(plugin, *lines("one"))
    read_until(plugin, first, 1)
    again = logging(plugin, first.id)
    found = texts_of(read(plugin, again))
    plugin.call(STOP, {"File": again.file})
    require(found == ["one"], f"{found!r}")


@check(SUBSYSTEM, source="B6", worst=CheckOutcome.WARNED)
def stop_at_once(plugin: Session) -> None:
    """lines that are still in the FIFO when StopLogging comes are kept: engines do not wait."""
    skip_unless_it_reads(plugin)
    made = logging(plugin)
    wanted = ["one", "two", "three"]
    made.fifo.write_only(lines(*wanted))
    plugin.call(STOP, {"File": made.file})
    found: list[str] = []

    def there() -> bool:
        with suppress(StatusError):
            found[:] = texts_of(read(plugin, made))
        return found == wanted

    plugin.until(there, LATE)
    require(found == wanted, f"{found!r} come back of {wanted!r}")


@check(SUBSYSTEM, source="B6")
def logs_of_a_stranger(plugin: Session) -> None:
    """ReadLogs of a container that never logged is an error by status, or gives nothing."""
    try:
        found = read(plugin, container(plugin))
    except StatusError:
        return
    require(not found, f"{texts_of(found)!r}")


@check(SUBSYSTEM, source="B6")
def follow(plugin: Session) -> None:
    """with Follow a line comes while the container still runs."""
    skip_unless_it_reads(plugin)
    made = logging(plugin)
    made.fifo.write(lines("one"))
    with plugin.stream(READ, read_request(made, Follow=True)) as stream:
        entries = decode_frames(stream.read)
        first = next(entries, None)
        made.fifo.write(lines("one", "two")[1:])
        second = next(entries, None)
    found = texts_of([entry for entry in (first, second) if entry])
    require(found == ["one", "two"], f"{found!r}, and then the end")


@check(SUBSYSTEM, source="B11 trap 17")
def follow_cut_off(plugin: Session) -> None:
    """after a host broke off a ReadLogs that follows, the driver goes on: time-outs do that."""
    skip_unless_it_reads(plugin)
    made = logging(plugin)
    made.fifo.write(lines("one"))
    for _ in range(3):
        with plugin.stream(READ, read_request(made, Follow=True)) as stream:
            stream.read(1)
    made.fifo.write(lines("one", "two")[1:])
    plugin.call(STOP, {"File": made.file})
    read_until(plugin, made, 2)


@check(SUBSYSTEM, source="B11 trap 17")
def follow_and_hang_up(plugin: Session) -> None:
    """after 300 hosts hung up on a quiet ReadLogs that follows, StartLogging is answered: each
    Ctrl-C of docker logs --follow is one.
    """
    skip_unless_it_reads(plugin)
    made = logging(plugin)
    made.fifo.write(lines("one"))
    for _ in range(FOLLOWERS):
        with plugin.stream(READ, read_request(made, Follow=True)) as stream:
            stream.read(1)
    logging(plugin)
