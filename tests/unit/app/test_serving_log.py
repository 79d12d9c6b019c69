"""What a served plugin logs of calls that failed."""

import logging
from collections.abc import Iterator

import pytest

from moby_plugins import StatusError, WireError
from moby_plugins.adapters.server.answering import answer
from moby_plugins.app.serving import PluginApp
from moby_plugins.domain.http import Request, Response
from moby_plugins.ports import RunningCall
from moby_plugins.subsystems import GraphDriver, VolumeDriver

LONG = "\nCRITICAL sshd: \x1b[2J" * 10_000
REFUSALS = [StatusError(409, "M.x", LONG), ValueError(LONG), KeyError(LONG), OSError(LONG)]
MISTAKES = [RuntimeError(LONG), TypeError(LONG), ZeroDivisionError(LONG)]
REMOVE = Request("VolumeDriver.Remove", b'{"Name":"db"}')


class Failing(VolumeDriver):
    """Raises ``error``."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def remove(self, name: str) -> None:
        """Fail."""
        raise self.error


def written(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of all records."""
    return [
        line for record in caplog.records for line in logging.Formatter().format(record).split("\n")
    ]


def raw(error: Exception) -> None:
    """An application of one's own that raises, behind a server."""

    def app(_: Request) -> Response:
        raise error

    answer(app, "POST", lambda: REMOVE, RunningCall()).close()


def served(error: Exception) -> None:
    """A method of a subsystem that raises."""
    PluginApp(Failing(error))(REMOVE)


@pytest.mark.parametrize("call", [raw, served])
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_refused_call_is_logged_in_one_line(
    call: object, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The line is short and printable, however long the reason is."""
    assert callable(call)
    call(error)

    [line] = written(caplog)
    assert "VolumeDriver.Remove failed: " in line
    assert line.isprintable()
    assert len(line.encode()) < 4096


@pytest.mark.parametrize("call", [raw, served])
@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
def test_a_programming_error_is_logged_with_its_traceback(
    call: object, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Each line of the traceback is short and printable."""
    assert callable(call)
    call(error)

    lines = written(caplog)
    assert "Traceback (most recent call last):" in lines
    assert any("raise " in line for line in lines)
    assert all(line.isprintable() and len(line.encode()) < 4096 for line in lines)


def test_a_stream_that_breaks_off_is_logged_in_short_printable_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The host gets no reason, so the log names the method that failed."""

    class Layers(GraphDriver):
        def diff(self, id: str, parent: str = "") -> Iterator[bytes]:
            yield b"x" * 100_000
            raise OSError(LONG)

    body = PluginApp(Layers())(Request("GraphDriver.Diff", b'{"ID":"a"}')).body
    assert len(body.read(65_536) + body.read(65_536)) == 100_000
    with pytest.raises(WireError):
        body.read(1)

    lines = written(caplog)
    assert lines[0] == "GraphDriver.Diff failed in the middle of its response"
    assert all(line.isprintable() and len(line.encode()) < 4096 for line in lines)


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_the_host_gets_the_whole_error_text_up_to_a_bound(kind: type[Exception]) -> None:
    """A text of 20,000 characters is sent whole, and one of 8 MiB is cut."""
    told = PluginApp(Failing(kind("a\n" * 10_000)))(REMOVE)
    cut = PluginApp(Failing(kind("x" * (8 << 20))))(REMOVE)

    assert told.body.read(1 << 20) == b'{"Err":"' + b"a\\n" * 10_000 + b'"}\n'
    assert cut.body.read(1 << 20) == b'{"Err":"' + b"x" * 60_000 + b'\\u2026 of 8388608"}\n'
