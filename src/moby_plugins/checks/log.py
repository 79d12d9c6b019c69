"""Checks of LogDriver that log a container's output (protocol.md B6).

``Fifo`` and ``Container`` stand in for those of an engine.
"""

import os
import re
import select
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from attrs import field, frozen

from moby_plugins.checks.answer import folded, object_or_empty
from moby_plugins.checks.outcome import (
    NotPassedError,
    StalledError,
    check,
    require,
    skip,
    warn,
)
from moby_plugins.checks.session import Session, Target
from moby_plugins.domain.errors import StatusError
from moby_plugins.domain.http import OK
from moby_plugins.platforms import check_platform
from moby_plugins.subsystems import LogEntry, PartialLog, decode_frames, encode_frame

CAPABILITIES = "LogDriver.Capabilities"
START, STOP, READ = "LogDriver.StartLogging", "LogDriver.StopLogging", "LogDriver.ReadLogs"
UNSET = "0001-01-01T00:00:00Z"
# The time of the first line, in nanoseconds since 1970; each further line is a second later.
EPOCH, SECOND = 1_600_000_000 * 10**9, 10**9
LOCAL = ("", "localhost", "127.0.0.1", "::1")
SUBSYSTEM = "LogDriver"
FEW = 4
FIFO = "the FIFO of LogDriver"
# Seconds that a driver has to process what it has read from the FIFO.
SETTLE = 0.1
# How various systems and languages say that a file does not exist.
_MISSING = re.compile("no such file|does not exist|doesn't exist|ENOENT", re.IGNORECASE)


class Fifo:
    """A context manager that makes a FIFO and keeps it open for reading and writing.

    ``target.options.timeout`` is how many seconds the FIFO may stay full while a frame is written,
    and how many its reader may take to empty it after the last frame.
    """

    def __init__(self, path: Path, target: Target) -> None:
        self.path = path
        self._target = target
        self._timeout = target.options.timeout
        self._descriptor = -1

    def write(self, entries: Iterable[LogEntry]) -> None:
        """Write frames, and wait until they are read; fail the check if they are not.

        Then wait a moment longer, since a driver may pass the frames to other threads.
        """
        with self._target.patience(
            FIFO, "the FIFO was left unread before, and nothing more was written"
        ):
            self.write_only(entries)
            self._wait_until_read()
        self._target.clock.sleep(SETTLE)

    def write_only(self, entries: Iterable[LogEntry]) -> None:
        """Write frames without waiting for the reader; fail the check if the FIFO stays full."""
        for entry in entries:
            self._write(encode_frame(entry))

    def _write(self, data: bytes) -> None:
        ends = time.monotonic() + self._timeout
        while data:
            left = min(max(ends - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
            if not select.select([], [self._descriptor], [], left)[1]:
                raise StalledError(
                    FIFO,
                    "the FIFO is full and is not read: a container that logs would hang",
                )
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # there is space, but not enough
                time.sleep(0.001)

    def _wait_until_read(self) -> None:
        ends = time.monotonic() + self._timeout
        while unread := self._unread():
            if time.monotonic() >= ends:
                raise StalledError(FIFO, f"{unread} bytes are left in the FIFO and are not read")
            time.sleep(0.001)

    def _unread(self) -> int:
        from fcntl import ioctl
        from termios import FIONREAD

        size = bytearray(4)
        ioctl(self._descriptor, FIONREAD, size)
        return int.from_bytes(size, sys.byteorder)

    def __enter__(self) -> Self:
        check_platform("checking a log driver")
        os.mkfifo(self.path, 0o700)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self.path.unlink()


@frozen
class Container:
    """A simulated container that logs: its ID, its FIFO, and an engine's description of it."""

    id: str
    fifo: Fifo = field(eq=False)

    @property
    def info(self) -> dict[str, Any]:
        """The argument ``Info`` of StartLogging and ReadLogs."""
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
        """The path of the FIFO."""
        return str(self.fifo.path)


def container(plugin: Session, container_id: str = "") -> Container:
    """Return a container that does not log yet; its FIFO is removed when the check ends."""
    if plugin.target.address.host not in LOCAL:
        skip("the check needs a FIFO, and the plugin is on another machine")
    fifo = plugin.enter_context(Fifo(plugin.directory() / plugin.id(), plugin.target))
    if sees(plugin, fifo) is False:
        skip(f"the plugin's process does not see {fifo.path}: it has its own file system")
    return Container(container_id or plugin.id(), fifo)


def sees(plugin: Session, fifo: Fifo) -> bool | None:
    """Return whether the plugin's process sees the same FIFO at its path; ``None`` if unknown."""
    process = plugin.target.process
    return None if process is None else process.sees(fifo.path)


def logging(plugin: Session, container_id: str = "", info: Any = None) -> Container:
    """Call StartLogging for a container and return it; StopLogging follows when the check ends.

    ``info`` replaces values of its Info. Skip the check if the plugin does not see the FIFO.
    """
    logged_container = container(plugin, container_id)
    file = {"File": logged_container.file}
    try:
        plugin.make(START, file | {"Info": logged_container.info | (info or {})}, STOP, file)
    except NotPassedError as error:
        if _MISSING.search(str(error)) and not sees(plugin, logged_container.fifo):
            skip(f"the plugin does not see the FIFO {logged_container.file}: {error}")
        raise
    return logged_container


def lines(*texts: str, source: str = "stdout") -> list[LogEntry]:
    """Return log entries with the lines ``texts``, one second apart."""
    return [
        LogEntry(source, EPOCH + number * SECOND, text.encode())
        for number, text in enumerate(texts)
    ]


def pieces_of(*texts: bytes) -> list[LogEntry]:
    """Return log entries for the parts of one line that is too long for one entry."""
    return [
        LogEntry("stdout", EPOCH, text, True, PartialLog(number == len(texts), "check", number))
        for number, text in enumerate(texts, 1)
    ]


def logged(plugin: Session, *entries: LogEntry, container_id: str = "") -> Container:
    """Return a container that has logged ``entries`` and was stopped."""
    logged_container = logging(plugin, container_id)
    logged_container.fifo.write(entries)
    plugin.call(STOP, {"File": logged_container.file})
    return logged_container


def it_reads(plugin: Session) -> bool:
    """Return whether the driver has the capability ReadLogs; false if Capabilities fails."""
    answer = plugin.send(CAPABILITIES)
    cap = None if answer.error else answer.fields.get("cap")
    return bool(object_or_empty(cap, answer).get("readlogs"))


def skip_unless_it_reads(plugin: Session) -> None:
    """Skip the check for a driver without ReadLogs."""
    if not it_reads(plugin):
        skip("ReadLogs is not among its capabilities")


def read_request(logged_container: Container, **config: Any) -> dict[str, Any]:
    """Return arguments of ReadLogs, for all lines unless ``config`` changes that."""
    every = {"Since": UNSET, "Until": UNSET, "Tail": -1, "Follow": False}
    return {"Info": logged_container.info, "Config": every | config}


def read(plugin: Session, logged_container: Container, **config: Any) -> list[LogEntry]:
    """Return the entries that ReadLogs gives; skip the check for a driver without it."""
    skip_unless_it_reads(plugin)
    with plugin.stream(READ, read_request(logged_container, **config)) as stream:
        return list(decode_frames(stream.read))


def read_until(plugin: Session, logged_container: Container, count: int) -> list[LogEntry]:
    """Repeat ReadLogs until it gives ``count`` entries, and return them.

    Fail the check if it gives more, or still fewer after ``options.timeout`` seconds.
    """
    entries: list[LogEntry] = []

    def enough() -> bool:
        with suppress(StatusError):  # a driver may not know the container before its first line
            entries[:] = read(plugin, logged_container)
        return len(entries) >= count

    plugin.until(enough)
    require(len(entries) == count, f"{len(entries)} of {count} lines come back: {_brief(entries)}")
    return entries


def texts_of(entries: Sequence[LogEntry]) -> list[str]:
    """Return the text of each log entry, without the newline."""
    return [entry.line.decode(errors="replace").removesuffix("\n") for entry in entries]


def _brief(entries: Sequence[LogEntry]) -> str:
    return repr(texts_of(entries[:3]))


@check(SUBSYSTEM, source="B6, B11 trap 14", reads_only=True)
def capabilities(plugin: Session) -> None:
    """Capabilities returns Cap, an object whose ReadLogs is true or false."""
    answer = plugin.send(CAPABILITIES)
    warn(not answer.error, f"{answer}: engines assume no ReadLogs")
    cap = folded(
        answer.fields.get("cap"), f"{answer}: no object Cap, so engines assume no ReadLogs"
    )
    require(isinstance(cap.get("readlogs", False), bool), answer)


@check(SUBSYSTEM, source="B6")
def start_before_a_line(plugin: Session) -> None:
    """StartLogging succeeds while the FIFO is still empty."""
    logging(plugin)


@check(SUBSYSTEM, source="B0, B6")
def start_with_little_info(plugin: Session) -> None:
    """StartLogging accepts an Info whose lists and maps are null."""
    null = ("Config", "ContainerArgs", "ContainerEnv", "ContainerLabels")
    logging(plugin, info=dict.fromkeys(null))


@check(SUBSYSTEM, "start without a FIFO", source="B6")
def start_without_a_fifo(plugin: Session) -> None:
    """StartLogging without a FIFO is an error: the container must not start."""
    logged_container = container(plugin)
    missing = {"File": f"{logged_container.file}-missing"}
    answer = plugin.send(START, missing | {"Info": logged_container.info})
    if not answer.error:
        plugin.send(STOP, missing)
    require(answer.error, answer)


@check(SUBSYSTEM, source="B6")
def large_info(plugin: Session) -> None:
    """StartLogging accepts an Info of 256 KiB: a container may have a large environment."""
    large = [f"V{number}={'x' * 1000}" for number in range(256)]
    logging(plugin, info={"ContainerEnv": large})


@check(SUBSYSTEM, "stop while the FIFO is open", source="B11 trap 15")
def stop_while_the_fifo_is_open(plugin: Session) -> None:
    """StopLogging succeeds while the FIFO is open: the engine closes it only afterwards."""
    logged_container = logging(plugin)
    logged_container.fifo.write(lines("one", "two"))
    plugin.call(STOP, {"File": logged_container.file})


@check(SUBSYSTEM, source="B6")
def stop_of_unknown(plugin: Session) -> None:
    """StopLogging without an earlier StartLogging succeeds: a plugin that was restarted receives
    such a call.
    """
    answer = plugin.send(STOP, {"File": container(plugin).file})
    warn(not answer.error, f"{answer}: the engine does not remove the FIFO")


@check(SUBSYSTEM, "FIFO is read", source="B6")
def fifo_is_read(plugin: Session) -> None:
    """a FIFO is emptied while it is filled, here with 1 MiB; else the container hangs."""
    logged_container = logging(plugin)
    logged_container.fifo.write(lines(*(["x" * (16 << 10)] * 64)))
    plugin.call(STOP, {"File": logged_container.file})


@check(SUBSYSTEM, source="B6")
def unusual_lines(plugin: Session) -> None:
    """empty lines, any bytes, partial lines and unknown fields do not stop a driver."""
    logged_container = logging(plugin)
    logged_container.fifo.write_only(pieces_of(b"x" * 100, b"y"))
    logged_container.fifo.write_only([LogEntry("stderr", EPOCH, b"")])
    logged_container.fifo.write_only([LogEntry("stdout", EPOCH, bytes(range(256)))])
    logged_container.fifo.write_only([LogEntry("stdout", EPOCH, b"new", attrs={"a": "b"})])
    logged_container.fifo.write(lines(*(["x" * (16 << 10)] * 16)))  # more than a FIFO holds
    plugin.call(STOP, {"File": logged_container.file})


@check(SUBSYSTEM, source="B6")
def start_again(plugin: Session) -> None:
    """a container that starts again logs again, through another FIFO."""
    first = logged(plugin, *lines("one"))
    logged(plugin, *lines("two"), container_id=first.id)


@check(SUBSYSTEM, expects=f"{FEW} containers can log at once", source="B0, B6")
def containers_side_by_side(plugin: Session) -> None:
    plugin.side_by_side(*[partial(logged, plugin, *lines("one", "two"))] * FEW)


@check(SUBSYSTEM, source="B6", reads_only=True)
def no_reading_without_the_capability(plugin: Session) -> None:
    """a driver that does not read answers ReadLogs with another status than 200."""
    if it_reads(plugin):
        skip("ReadLogs is among its capabilities")
    args = {"Info": {"ContainerID": plugin.id()}, "Config": {"Tail": -1}}
    response = plugin.send(READ, args)
    require(response.status != OK, response)
