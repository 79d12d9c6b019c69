"""LogDriver: containers' output is taken (protocol.md B6)."""

from functools import partial

from moby_plugins.checks.answer import folded
from moby_plugins.checks.check import advise, check, require, skip
from moby_plugins.checks.log_container import (
    CAPABILITIES,
    EPOCH,
    READ,
    START,
    STOP,
    container,
    it_reads,
    lines,
    logged,
    logging,
    pieces_of,
)
from moby_plugins.checks.probe import Probe
from moby_plugins.domain.http import OK
from moby_plugins.subsystems import LogEntry

SUBSYSTEM = "LogDriver"
FEW = 4


@check(
    SUBSYSTEM,
    "capabilities",
    expects="Capabilities answers Cap, an object with ReadLogs, true or false",
    source="B6, B11 trap 14",
    reads_only=True,
)
def capabilities(plugin: Probe) -> None:
    answer = plugin.send(CAPABILITIES)
    advise(not answer.error, f"{answer}; taken for a driver that does not read")
    cap = folded(answer.fields.get("cap"), f"{answer}: no Cap, so it is taken not to read")
    require(isinstance(cap.get("readlogs", False), bool), answer)


@check(
    SUBSYSTEM,
    "start before a line",
    expects="StartLogging is answered while the FIFO is empty",
    source="B6",
)
def start_before_a_line(plugin: Probe) -> None:
    logging(plugin)


@check(
    SUBSYSTEM,
    "start with little info",
    expects="StartLogging takes an Info whose lists and maps are null",
    source="B0, B6",
)
def start_with_little_info(plugin: Probe) -> None:
    null = ("Config", "ContainerArgs", "ContainerEnv", "ContainerLabels")
    logging(plugin, info=dict.fromkeys(null))


@check(
    SUBSYSTEM,
    "start without a FIFO",
    expects="StartLogging is an error where there is no FIFO: the container must not start",
    source="B6",
)
def start_without_a_fifo(plugin: Probe) -> None:
    made = container(plugin)
    missing = {"File": f"{made.file}-missing"}
    answer = plugin.send(START, missing | {"Info": made.info})
    if not answer.error:
        plugin.send(STOP, missing)
    require(answer.error, answer)


@check(
    SUBSYSTEM,
    "large info",
    expects="StartLogging takes an Info of 256 KiB: a container may have a large environment",
    source="B6",
)
def large_info(plugin: Probe) -> None:
    large = [f"V{number}={'x' * 1000}" for number in range(256)]
    logging(plugin, info={"ContainerEnv": large})


@check(
    SUBSYSTEM,
    "stop while the FIFO is open",
    expects="StopLogging is answered before the FIFO ends: the engine closes it only afterwards",
    source="B11 trap 15",
)
def stop_while_the_fifo_is_open(plugin: Probe) -> None:
    made = logging(plugin)
    made.fifo.write(lines("one", "two"))
    plugin.call(STOP, {"File": made.file})


@check(
    SUBSYSTEM,
    "stop of unknown",
    expects="StopLogging of a file that nobody started is answered: a restarted plugin meets one",
    source="B6",
)
def stop_of_unknown(plugin: Probe) -> None:
    answer = plugin.send(STOP, {"File": container(plugin).file})
    advise(not answer.error, f"{answer}: the engine keeps the FIFO")


@check(
    SUBSYSTEM,
    "FIFO is read",
    expects="a FIFO is emptied as it is filled: 1 MiB goes through, or the container stands still",
    source="B6",
)
def fifo_is_read(plugin: Probe) -> None:
    made = logging(plugin)
    made.fifo.write(lines(*(["x" * (16 << 10)] * 64)))
    plugin.call(STOP, {"File": made.file})


@check(
    SUBSYSTEM,
    "unusual lines",
    expects="empty lines, any bytes, pieces of a line and fields that are new do not stop a driver",
    source="B6",
)
def unusual_lines(plugin: Probe) -> None:
    made = logging(plugin)
    made.fifo.write(pieces_of(b"x" * 100, b"y"))
    made.fifo.write([LogEntry("stderr", EPOCH, b""), LogEntry("stdout", EPOCH, bytes(range(256)))])
    made.fifo.write([LogEntry("stdout", EPOCH, b"new", attrs={"a": "b"})])
    made.fifo.write(lines(*(["x" * (16 << 10)] * 16)))  # more than a FIFO holds
    plugin.call(STOP, {"File": made.file})


@check(
    SUBSYSTEM,
    "start again",
    expects="a container that starts again logs again, through another FIFO",
    source="B6",
)
def start_again(plugin: Probe) -> None:
    first = logged(plugin, *lines("one"))
    logged(plugin, *lines("two"), container_id=first.id)


@check(
    SUBSYSTEM,
    "containers side by side",
    expects=f"{FEW} containers log at once",
    source="B0, B6",
)
def containers_side_by_side(plugin: Probe) -> None:
    plugin.side_by_side(*[partial(logged, plugin, *lines("one", "two"))] * FEW)


@check(
    SUBSYSTEM,
    "no reading without the capability",
    expects="a driver that does not read answers ReadLogs with another status than 200",
    source="B6",
    reads_only=True,
)
def no_reading_without_the_capability(plugin: Probe) -> None:
    if it_reads(plugin):
        skip("it does read")
    asked = {"Info": {"ContainerID": plugin.id()}, "Config": {"Tail": -1}}
    told = plugin.send(READ, asked)
    require(told.status != OK, told)
