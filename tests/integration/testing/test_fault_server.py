"""Plugins over real sockets that fail as a test says: what hosts and tests find there."""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from moby_plugins import (
    Client,
    Registry,
    RetryPolicy,
    Settings,
    StatusError,
    TransportError,
    WireError,
    new_client,
)
from moby_plugins.adapters.memory.fault_server import as_nobody
from moby_plugins.app.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    Fault,
    FaultServer,
    MemoryDiscovery,
    UnexpectedCallError,
    denied,
    drops,
    hangs,
    missing_socket,
    refused,
    script,
    status,
)
from tests.integration.descriptors import nothing_left

ONCE = Settings(retry=RetryPolicy.never(), timeout=10.0)


def client_of(server: FaultServer, clock: FakeClock | None = None) -> Client:
    """A client that announces its calls; without a clock it tries once."""
    transports = {"unix": server.connect}
    settings = evolve(ONCE if clock is None else Settings(), transports=transports)
    return new_client("unix:///p.sock", settings=settings, clock=clock)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (missing_socket(), "no socket there; is the plugin running?"),
        (refused(), "stale socket: it exists, but no process listens on it"),
        (denied(), "no permission to connect to the socket"),
    ],
    ids=["missing", "refused", "denied"],
)
def test_a_fault_in_place_of_a_table_is_the_state_of_the_socket(
    fault: Fault, reason: str, short_path: Path
) -> None:
    """Every host finds the socket missing, stale or closed to its user."""
    short_path.chmod(0o755)
    somebody = as_nobody() if fault.errno == errno.EACCES else nullcontext()
    with (
        FaultServer.unix(fault, short_path / "p.sock") as server,
        new_client(server.addr, settings=ONCE) as client,
        somebody,
        pytest.raises(TransportError) as caught,
    ):
        client.call("M.x")

    assert caught.value.reason == reason


def test_a_host_that_only_knows_the_address_gets_faults_as_http_can_show_them(
    short_path: Path,
) -> None:
    """A fault of connecting becomes a closed connection, and an exception becomes status 500."""
    table = {"M.late": refused(), "M.raises": KeyError("boom"), "M.answers": {"A": 1}}
    with (
        FaultServer.unix(table, short_path / "p.sock") as server,
        new_client(server.addr, settings=ONCE) as client,
    ):
        assert client.call("M.answers") == {"A": 1}
        with pytest.raises(StatusError, match=r"M\.raises: 'boom'"):
            client.call("M.raises")
        with pytest.raises(StatusError, match=r"unexpected call of M\.other"):
            client.call("M.other")
        with pytest.raises(TransportError, match="without a response"):
            client.call("M.late")

    assert server.calls.methods == ["M.answers", "M.raises", "M.other", "M.late"]
    assert {call.attempt for call in server.calls} == {1}


def test_an_unexpected_call_raises_an_error_in_the_caller(short_path: Path) -> None:
    """The error lists the known methods; replies never used fail ``assert_used_up``."""
    with (
        FaultServer.unix({"M.x": 1, "M.y": 2}, short_path / "p.sock") as server,
        client_of(server) as client,
    ):
        assert client.call("M.x") == 1
        with pytest.raises(UnexpectedCallError, match=r"M\.other; known methods: M\.x, M\.y"):
            client.call("M.other")
        with pytest.raises(AssertionError, match=r"M\.y: 2"):
            server.assert_used_up()
        client.call("M.y")
        server.assert_used_up()


def test_a_registry_retries_until_the_plugin_is_up(short_path: Path) -> None:
    """The retries are over a real socket and by a fake clock, so that they take no real time."""
    clock = FakeClock()
    table = {
        "Plugin.Activate": script(missing_socket(), refused(), {"Implements": ["VolumeDriver"]})
    }
    with FaultServer.unix(table, short_path / "p.sock", clock=clock) as server:
        registry = Registry(
            discovery=MemoryDiscovery(["shelf"]), connect=server.connect, clock=clock
        )

        assert registry.get("shelf", "VolumeDriver").name == "shelf"
        registry.close()

    assert clock.sleeps == [1, 2]
    assert [(call.attempt, call.time) for call in server.calls] == [(1, 0), (2, 1), (3, 3)]
    assert {call.address for call in server.calls} == {"memory://shelf"}


def test_a_streamed_body_is_sent_complete_after_a_refused_connection(short_path: Path) -> None:
    """A connection that fails takes nothing from the iterator that gives the body."""
    table = {"M.x": script(refused(), lambda request: len(request.read()))}
    with (
        FaultServer.unix(table, short_path / "p.sock") as server,
        client_of(server, FakeClock()) as client,
    ):
        assert client.send_file("M.x", iter([b"one", b"two"])) == 6

    assert [call.body for call in server.calls] == [b"", b"onetwo"]


def test_an_app_is_served_as_it_is(short_path: Path) -> None:
    """A plugin written with this library behaves over this server as over any other."""

    class Shelves(VolumeDriver):
        def mount(self, name: str, id: str) -> str:
            return f"/mnt/{name}/{id}"

    with (
        FaultServer.unix(PluginApp(Shelves()), short_path / "p.sock") as server,
        new_client(server.addr) as client,
    ):
        assert VolumeDriver(client).mount("books", "1") == "/mnt/books/1"


def test_threads_get_the_responses_to_their_own_calls(short_path: Path) -> None:
    """Faults and responses of many threads at once do not get mixed up."""

    def reply(request: Any) -> Any:
        number = request.json()
        return {0: refused(), 1: drops(), 2: status(500, str(number))}.get(number % 4, number)

    def call(number: int) -> str:
        try:
            return str(client.call("M.x", number))
        except (StatusError, TransportError) as error:
            return type(error).__name__

    with (
        FaultServer.unix(reply, short_path / "p.sock") as server,
        client_of(server) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        results = list(threads.map(call, range(80)))

    failed = ["TransportError", "TransportError", "StatusError"]
    assert results == [
        str(number) if number % 4 == 3 else failed[number % 4] for number in range(80)
    ]


def test_stopping_a_server_ends_calls_that_hang_and_leaves_nothing(short_path: Path) -> None:
    """Calls that still run end with an error, and no thread, descriptor or file is left."""
    came = threading.Event()

    def hang(_: Any) -> Any:
        came.set()
        return hangs()

    table = {"M.x": hang, "M.y": refused(), "M.z": 1}
    with nothing_left(), ThreadPoolExecutor(1) as pool:
        server = FaultServer.unix(table, short_path / "p.sock")
        server.start()
        with client_of(server) as client:
            client.call("M.z")
            with pytest.raises(TransportError):
                client.call("M.y")
            hanging = pool.submit(client.call, "M.x")
            assert came.wait(5)
            server.stop()
            server.stop()
            with pytest.raises(TransportError):
                hanging.result(5)

    assert os.listdir(short_path) == []


def test_a_server_has_no_address_before_its_start(short_path: Path) -> None:
    """Making a server opens no socket."""
    server = FaultServer.unix({}, short_path / "p.sock")

    with pytest.raises(RuntimeError, match="before it is started"):
        _ = server.addr
    assert os.listdir(short_path) == []


def test_a_response_whose_body_raises_an_exception_is_cut_off(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The host gets a body without an end, and the log says why."""

    def body(_: Any) -> Iterator[bytes]:
        yield b"{"
        raise KeyError("boom")

    with (
        FaultServer.unix({"M.x": body}, short_path / "p.sock") as server,
        client_of(server) as client,
        pytest.raises(WireError, match="cut off"),
    ):
        client.call("M.x")

    assert "the response to M.x was interrupted" in caplog.text
