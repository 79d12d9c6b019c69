"""LogDriver: table B6 of protocol.md."""

from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    LogCapabilities,
    LogDriver,
    LogEntry,
    LogInfo,
    PartialLog,
    ReadConfig,
    encode_frame,
)
from moby_plugins.testing import refused, status
from tests.cases import every
from tests.unit.app.subsystems.exchanges import (
    Exchange,
    Table,
    asked,
    client_to,
    part_of,
    replying,
)

INFO = LogInfo(
    {"max": "1"},
    "c1",
    "/web",
    "sh",
    ("-c", "x"),
    "sha256:1",
    "busybox",
    "2026-01-02T03:04:05Z",
    ("A=1",),
    {"l": "v"},
)
INFO_JSON = (
    '{"Config":{"max":"1"},"ContainerID":"c1","ContainerName":"/web","ContainerEntrypoint":"sh",'
    '"ContainerArgs":["-c","x"],"ContainerImageID":"sha256:1","ContainerImageName":"busybox",'
    '"ContainerCreated":"2026-01-02T03:04:05Z","ContainerEnv":["A=1"],'
    '"ContainerLabels":{"l":"v"},"LogPath":"","DaemonName":"docker"}'
)
FIFO = "/run/docker/logging/0a"
LINE = LogEntry("stdout", 1, b"one\n")


class TestB6(Table):
    """Table B6: the calls of a LogDriver."""

    kind = LogDriver
    apart = frozenset({"LogDriver.ReadLogs"})
    exchanges = (
        Exchange(
            "start_logging",
            (FIFO, INFO),
            "LogDriver.StartLogging",
            f'{{"File":"{FIFO}","Info":{INFO_JSON}}}',
            "{}",
        ),
        Exchange("stop_logging", (FIFO,), "LogDriver.StopLogging", f'{{"File":"{FIFO}"}}', "{}"),
        Exchange(
            "capabilities",
            (),
            "LogDriver.Capabilities",
            "",
            '{"Cap":{"ReadLogs":true}}',
            LogCapabilities(read_logs=True),
        ),
    )


@every("reply", [{}, {"Err": "no"}, {"ReadLogs": True}, {"Cap": 1}, status(404), refused()])
def test_a_log_driver_can_read_logs_only_if_its_capabilities_say_so(reply: Any) -> None:
    """B6: any failure means that it cannot; so does ReadLogs without Cap around it."""
    driver = replying(LogDriver, "Capabilities", reply)

    assert driver.capabilities() == LogCapabilities(read_logs=False)


def test_read_logs_streams_frames() -> None:
    """B6: the request has Info and Config, the response is a frame for each entry."""
    entries = (LINE, LogEntry("stderr", 2, b"two\n"))
    client, line = client_to({"LogDriver.ReadLogs": b"".join(map(encode_frame, entries))})
    config = ReadConfig("2026-01-01T00:00:00Z", tail=5, follow=True)

    read = list(LogDriver(client).read_logs(INFO, config))

    assert read == list(entries)
    assert line.requests[0].read().decode() == (
        f'{{"Info":{INFO_JSON},"Config":{{"Since":"2026-01-01T00:00:00Z",'
        '"Until":"0001-01-01T00:00:00Z","Tail":5,"Follow":true}}\n'
    )


def test_entries_that_the_plugin_yields_from_read_logs_arrive_at_the_host() -> None:
    """B6: the arguments of the host arrive at the plugin."""
    part, received = part_of(LogDriver, {"read_logs": iter([LINE, LINE])})
    client, _ = client_to(PluginApp(part))

    assert list(LogDriver(client).read_logs(INFO, ReadConfig())) == [LINE, LINE]
    assert received == [("read_logs", INFO, ReadConfig())]


def test_a_request_of_read_logs_without_config_means_all_lines() -> None:
    """B6: absent keys have the defaults of an engine: no time limits, no following."""
    part, received = part_of(LogDriver, {"read_logs": []})

    assert asked(PluginApp(part), "LogDriver.ReadLogs", '{"Info":{"ContainerID":"c"}}') == (
        200,
        "",
    )
    assert received == [
        (
            "read_logs",
            LogInfo(container_id="c"),
            ReadConfig("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", -1, follow=False),
        )
    ]


def test_a_log_driver_without_read_logs_responds_with_status_404() -> None:
    """B6: the host's iterator sends nothing, and raises nothing, before its first step."""
    part, _ = part_of(LogDriver, {"start_logging": None})
    client, line = client_to(PluginApp(part))

    entries = LogDriver(client).read_logs(INFO, ReadConfig())

    assert line.requests == []
    with pytest.raises(
        StatusError, match=r"this plugin has no method LogDriver\.ReadLogs"
    ) as caught:
        next(entries)
    assert caught.value.status == 404


def _broken(*entries: LogEntry) -> Iterator[LogEntry]:
    yield from entries
    raise OSError("the disk is gone")


def test_an_exception_before_the_first_log_entry_becomes_status_500() -> None:
    """B6: an error is reported by another status than 200."""
    part, _ = part_of(LogDriver, {"read_logs": _broken()})

    answer = asked(PluginApp(part), "LogDriver.ReadLogs", "{}")

    assert answer == (500, '{"Err":"the disk is gone"}')


def test_an_exception_after_a_log_entry_cuts_the_response_off() -> None:
    """B6: the host gets the entries so far and a WireError; the plugin goes on serving."""
    part, _ = part_of(LogDriver, {"read_logs": _broken(LINE), "stop_logging": None})
    client, _ = client_to(PluginApp(part))
    entries = LogDriver(client).read_logs(INFO, ReadConfig())

    assert next(entries) == LINE
    with pytest.raises(WireError, match="cut off"):
        next(entries)
    assert LogDriver(client).stop_logging(FIFO) is None


def test_closing_the_hosts_iterator_closes_the_iterator_of_the_plugin() -> None:
    """A plugin that follows a log stops when its host stops reading."""
    ended: list[bool] = []

    def following() -> Iterator[LogEntry]:
        try:
            while True:
                yield LINE
        finally:
            ended.append(True)

    class Driver(LogDriver):
        def read_logs(self, info: LogInfo, config: ReadConfig) -> Iterator[LogEntry]:
            return following()

    client, _ = client_to(PluginApp(Driver()))
    entries: Any = LogDriver(client).read_logs(INFO, ReadConfig(follow=True))

    first, second = next(entries), next(entries)
    entries.close()

    assert (first, second, ended) == (LINE, LINE, [True])


@every(
    ("entry", "line"),
    [
        (LogEntry("stdout", 1, b"a"), b"a\n"),
        (LogEntry("stdout", 1, b"a\n"), b"a\n"),
        (LogEntry("stdout", 1, b""), b"\n"),
        (LogEntry("stdout", 1, b"a", True, PartialLog(False, "i", 1)), b"a"),
        (LogEntry("stdout", 1, b"a", True, PartialLog(True, "i", 2)), b"a\n"),
        (LogEntry("stdout", 1, b"a", True), b"a"),
    ],
)
def test_a_line_that_is_read_ends_with_a_newline(entry: LogEntry, line: bytes) -> None:
    """B6: a missing newline is added, to a line in pieces only after the last one."""
    part, _ = part_of(LogDriver, {"read_logs": [entry]})
    client, _ = client_to(PluginApp(part))

    assert [read.line for read in LogDriver(client).read_logs(INFO, ReadConfig())] == [line]
