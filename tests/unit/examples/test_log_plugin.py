"""The example log driver, called in memory by a host's typed proxy (protocol.md B6)."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from examples.log_plugin import LONGEST, JsonLines
from moby_plugins.subsystems import (
    LogDriver,
    LogEntry,
    LogInfo,
    PartialLog,
    ReadConfig,
    encode_frame,
)
from moby_plugins.testing import MemoryRegistry

INFO = LogInfo(container_id="c0ffee")
PIECE = 16 << 10


@pytest.fixture
def driver(tmp_path: Path, plugin_registry: MemoryRegistry) -> LogDriver:
    """A host's proxy of a driver that writes to ``tmp_path``."""
    plugin_registry.add("lines", JsonLines(tmp_path))
    return LogDriver(plugin_registry.get("lines", "LogDriver").client)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[int]:
    """What an engine makes: a FIFO ``out`` in ``tmp_path``, open for both."""
    os.mkfifo(tmp_path / "out")
    descriptor = os.open(tmp_path / "out", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def log(driver: LogDriver, fifo: int, tmp_path: Path) -> Callable[..., None]:
    """Have the driver take entries, as a container that starts, prints them and stops."""

    def log(*entries: LogEntry) -> None:
        driver.start_logging(str(tmp_path / "out"), INFO)
        for entry in entries:
            os.write(fifo, encode_frame(entry))
        driver.stop_logging(str(tmp_path / "out"))

    return log


def line(number: int, text: bytes, source: str = "stdout") -> LogEntry:
    """A line as it comes from an engine."""
    return LogEntry(source, time_nano=number, line=text)


def pieces(text: bytes, name: str) -> list[LogEntry]:
    """A long line as it comes from an engine, marked to its last piece."""
    cut = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return [
        LogEntry("stdout", 7, part, True, PartialLog(number == len(cut), name, number))
        for number, part in enumerate(cut, start=1)
    ]


def read(driver: LogDriver, tail: int = -1) -> list[LogEntry]:
    """What the driver gives back."""
    return list(driver.read_logs(INFO, ReadConfig(tail=tail)))


def test_log_lines_are_written_as_json_to_a_file_of_the_container(
    log: Callable[..., None], tmp_path: Path
) -> None:
    """All lines that were sent before StopLogging are in the file once StopLogging returns."""
    log(line(1, b"one"), line(2, b"two", "stderr"))

    written = (tmp_path / "c0ffee.jsonl").read_text().splitlines()
    assert [json.loads(record) for record in written] == [
        {"time": 1, "source": "stdout", "line": "one"},
        {"time": 2, "source": "stderr", "line": "two"},
    ]


@pytest.mark.parametrize("text", [b"", b"plain", "ümläut ☃".encode(), b"\xff\x00\x80", b'"\\'])
def test_a_line_is_read_back_with_a_newline_at_its_end(
    driver: LogDriver, log: Callable[..., None], text: bytes
) -> None:
    """The bytes of the line are unchanged, also where they are not text (B11, trap 16)."""
    log(line(1, text))

    assert read(driver) == [line(1, text + b"\n")]


def test_the_pieces_of_a_long_line_are_joined(driver: LogDriver, log: Callable[..., None]) -> None:
    """The pieces become one line, even with another line between them."""
    text = bytes(range(97, 107)) * 4000
    first, *rest = pieces(text, "a")

    log(first, line(8, b"between", "stderr"), *rest)

    assert [entry.line for entry in read(driver)] == [b"between\n", text + b"\n"]


def test_pieces_without_metadata_are_joined_with_the_next_complete_entry(
    driver: LogDriver, log: Callable[..., None]
) -> None:
    """Some engines mark an entry as partial, without saying which line it is a piece of."""
    log(evolve(line(1, b"one "), partial=True), line(1, b"line"))

    assert [entry.line for entry in read(driver)] == [b"one line\n"]


def test_a_line_that_does_not_end_is_written_once_it_reaches_a_limit(
    driver: LogDriver, log: Callable[..., None]
) -> None:
    """The memory for one line is bounded, and no byte of the line is lost."""
    text = b"x" * (LONGEST + PIECE)

    log(*pieces(text, "a")[:-1])

    assert [len(entry.line) for entry in read(driver)] == [LONGEST + 1]


def test_an_unfinished_line_is_written_when_logging_stops(
    driver: LogDriver, log: Callable[..., None]
) -> None:
    """The container stopped in the middle of the line, after its first piece."""
    log(pieces(b"x" * 40_000, "a")[0])

    assert [len(entry.line) for entry in read(driver)] == [PIECE + 1]


@pytest.mark.parametrize(("tail", "expected"), [(-1, 5), (0, 0), (2, 2), (9, 5)])
def test_the_last_lines_alone_can_be_read(
    driver: LogDriver, log: Callable[..., None], tail: int, expected: int
) -> None:
    """A ``tail`` of N gives the last N lines, and -1 gives all lines."""
    log(*(line(number, b"text") for number in range(1, 6)))

    numbers = [entry.time_nano for entry in read(driver, tail)]

    assert numbers == [1, 2, 3, 4, 5][5 - expected :]


def test_a_container_that_is_restarted_appends_to_its_log_file(
    driver: LogDriver, log: Callable[..., None]
) -> None:
    """The lines of the container's first run can still be read."""
    log(line(1, b"first"))
    log(line(2, b"second"))

    assert [entry.line for entry in read(driver)] == [b"first\n", b"second\n"]


def test_stop_logging_without_start_logging_is_no_error(driver: LogDriver, tmp_path: Path) -> None:
    """This happens if the plugin is restarted while a container runs; no file is made."""
    driver.stop_logging(str(tmp_path / "out"))

    assert not list(tmp_path.glob("*.jsonl"))


def test_the_driver_reports_that_its_logs_can_be_read(driver: LogDriver) -> None:
    """An engine then keeps no copy of the logs for ``docker logs``."""
    assert driver.capabilities().read_logs


def test_a_fifo_that_is_gone_is_not_created_as_a_file(
    driver: LogDriver, fifo: int, tmp_path: Path
) -> None:
    """If the engine removes the FIFO before it calls StopLogging, no file appears in its place."""
    out = tmp_path / "out"
    driver.start_logging(str(out), INFO)
    os.write(fifo, encode_frame(line(1, b"a")) + encode_frame(LogEntry()))
    out.unlink()

    driver.stop_logging(str(out))

    assert not out.exists()
