"""``moby-plugins serve``: what it logs, and how it reloads the app when a file changes."""

import re
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.integration.cli.machine import SECONDS, Machine

LOGGING = """
import logging
from moby_plugins import Response
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver


class Shelves(VolumeDriver):
    def list(self):
        logging.getLogger("mine").debug("some detail")
        logging.getLogger("mine").info("an event")
        return ()

    def remove(self, name):
        raise ValueError("in use")


def streamed(request):
    return Response(200, iter([b"a" * 700, b"b" * 300]))


def failing(request):
    raise ValueError("no")
"""
ASYNC_LOGGING = """
from moby_plugins.aio import AsyncResponse, AsyncVolumeDriver


class Shelves(AsyncVolumeDriver):
    async def list(self):
        return ()

    async def remove(self, name):
        raise ValueError("in use")


async def streamed(request):
    async def chunks():
        yield b"a" * 700
        yield b"b" * 300
    return AsyncResponse(200, chunks())


async def failing(request):
    raise ValueError("no")
"""
either = pytest.mark.parametrize("source", [LOGGING, ASYNC_LOGGING], ids=["threads", "loop"])
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@pytest.fixture
def module(machine: Machine) -> Path:
    """A module in the directory where the command is run."""
    path = machine.root / "shelves.py"
    path.write_text(LOGGING)
    return path


def logged(machine: Machine, app: str, calls: list[list[str]], *words: str) -> str:
    """What is on standard error of a plugin that was called so."""
    with machine.running(machine.command("serve", app, "--name", "p", *words)) as process:
        assert process.stderr is not None
        process.stderr.readline()
        for call in calls:
            machine.run("call", "p", *call)
        process.terminate()
        process.wait(SECONDS)
        return process.stderr.read()


def test_each_log_line_has_its_time_and_its_level(machine: Machine, module: Path) -> None:
    """Records of the level INFO and above are logged, unless ``--log-level`` says otherwise."""
    text = logged(machine, "shelves:Shelves", [["VolumeDriver.List"]])

    assert re.fullmatch(rf"{_TIME} INFO an event\n", text)


@pytest.mark.parametrize(
    ("level", "events"), [("debug", ["detail", "event"]), ("WARNING", []), ("info", ["event"])]
)
def test_the_log_level_can_be_chosen(
    machine: Machine, module: Path, level: str, events: list[str]
) -> None:
    """``--log-level`` takes a level in upper or lower case."""
    words = ("--log-level", level)
    text = logged(machine, "shelves:Shelves", [["VolumeDriver.List"]], *words)

    assert re.findall("detail|event", text) == events


def test_an_unknown_log_level_is_refused(machine: Machine, module: Path) -> None:
    """The message lists the levels that there are."""
    ran = machine.run("serve", "shelves:Shelves", "--log-level", "loud")

    assert (ran.returncode, "'debug', 'info'" in ran.stderr) == (2, True)


@either
def test_the_access_log_has_a_line_for_each_call(
    machine: Machine, module: Path, source: str
) -> None:
    """Method, status, bytes and time are logged at any log level, and no bodies."""
    module.write_text(source)
    calls = [["VolumeDriver.List"], ["VolumeDriver.Remove", '{"Name": "secret"}'], ["No.Such"]]
    text = logged(machine, "shelves:Shelves", calls, "--access-log", "--log-level", "critical")

    lines = text.splitlines()
    assert len(lines) == 3
    for line, told in zip(
        lines,
        ("VolumeDriver.List 200 15 bytes", "VolumeDriver.Remove 500", "No.Such 404"),
        strict=True,
    ):
        assert re.fullmatch(rf"{_TIME} INFO {re.escape(told)}.* \d+\.\d ms", line), line
    assert "secret" not in text


@either
def test_a_streamed_response_is_logged_at_its_end(
    machine: Machine, module: Path, source: str
) -> None:
    """The line counts all bytes of the response; an app that raises is logged as a 500."""
    module.write_text(source)
    streamed = logged(machine, "shelves:streamed", [["A.B", "--raw"]], "--access-log")
    failing = logged(machine, "shelves:failing", [["A.B"]], "--access-log")

    assert "A.B 200 1000 bytes" in streamed
    assert "A.B 500 0 bytes" in failing


@either
def test_observers_are_named_by_an_option_or_a_variable(
    machine: Machine, module: Path, source: str
) -> None:
    """They observe classes and functions, in threads and on asyncio."""
    module.write_text(source)
    calls = [["VolumeDriver.List"]]
    text = logged(machine, "shelves:Shelves", calls, "--observer", "logging")
    assert re.search(rf"{_TIME} INFO VolumeDriver.List: 200, 15 bytes in \d", text)

    function = logged(machine, "shelves:streamed", [["A.B", "--raw"]], "--observer", "logging")
    assert "A.B: 200, 1000 bytes" in function
    failing = logged(machine, "shelves:failing", [["A.B"]], "--observer", "logging")
    assert "A.B: 500" in failing

    machine.environment["MOBY_PLUGINS_OBSERVERS"] = "logging"
    assert "VolumeDriver.List: 200" in logged(machine, "shelves:Shelves", calls)


def test_an_unknown_observer_is_refused(machine: Machine, module: Path) -> None:
    """The message lists the observers that there are."""
    ran = machine.run("serve", "shelves:Shelves", "--observer", "nonsense")

    assert ran.returncode != 0
    assert "no observer is called 'nonsense'; there are: logging, opentelemetry" in ran.stderr


def got(address: str, path: str) -> tuple[int, str]:
    """The status and the text of what is at ``path``."""
    connection = HTTPConnection(address, timeout=SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_metrics_and_health_have_an_address_of_their_own(machine: Machine, module: Path) -> None:
    """The address is on the loopback interface, is logged, and closes with the plugin."""
    command = machine.command("serve", "shelves:Shelves", "--name", "p", "--metrics", "0")
    with machine.running(command) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline(), process.stderr.readline()]
        [address] = re.findall(r"health are at http://(127\.0\.0\.1:\d+)", "".join(lines))
        machine.run("call", "p", "VolumeDriver.List")
        status, text = got(address, "/metrics")
        assert status == 200
        assert got(address, "/health") == (200, "ok\n")
        process.terminate()
        process.wait(SECONDS)

    told = 'moby_plugins_requests_total{error="",method="VolumeDriver.List",status="200"} 1.0'
    assert told in text
    with pytest.raises(ConnectionRefusedError):
        got(address, "/health")


OBSERVED = """
from moby_plugins import PrometheusObserver, Settings, new_client
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import MemoryTransport

own = PrometheusObserver()


class Shelves(VolumeDriver):
    def list(self):
        return ()


app = PluginApp(Shelves(), observers=[own])
here = Settings(transports={"unix": MemoryTransport({"M.x": {}}).connect}, observers=["prometheus"])
with new_client("unix:///a.sock", settings=here, observers=[own]) as client:
    client.call("M.x")
"""


def test_a_call_is_counted_once_if_program_and_option_name_one_observer(machine: Machine) -> None:
    """The option ``prometheus`` means the observer that the program has made itself."""
    (machine.root / "observed.py").write_text(OBSERVED)
    words = ("--name", "p", "--metrics", "0", "--observer", "prometheus")
    with machine.running(machine.command("serve", "observed:app", *words)) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline(), process.stderr.readline()]
        [address] = re.findall(r"health are at http://(127\.0\.0\.1:\d+)", "".join(lines))
        machine.run("call", "p", "VolumeDriver.List")
        _, text = got(address, "/metrics")
        process.terminate()
        process.wait(SECONDS)

    assert 'requests_total{error="",method="VolumeDriver.List",status="200"} 1.0' in text
    assert 'calls_total{error="",method="M.x",plugin="",status="200"} 1.0' in text
