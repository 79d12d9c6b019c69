"""The server on cheroot, where it cannot start or a call does not end."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins import RetryPolicy, Settings, new_client
from moby_plugins.adapters.server.cheroot_server import CherootServer, gateway_to
from moby_plugins.domain.http import Request, Response
from moby_plugins.serving import PluginApp, serve_tcp, serve_unix
from tests.integration.serving.plugins import WAIT, Echoes, Layers, answer, dial, post

APP = PluginApp(Echoes())


def test_a_socket_that_cannot_listen_is_an_error() -> None:
    """The start fails for a datagram socket, which systemd may pass by mistake, and closes it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    server = CherootServer(sock, gateway_to(APP))

    with pytest.raises(OSError, match="not supported"):
        server.start()

    assert sock.fileno() == -1


def test_a_call_that_never_ends_does_not_block_stopping_the_server(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that ignores its closed connection is logged, and runs on in its thread."""
    running, may_end, over = threading.Event(), threading.Event(), threading.Event()

    def app(_: Request) -> Response:
        running.set()
        may_end.wait(WAIT)
        over.set()
        return Response(200, b"")

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(short_path / "x.sock"))
    server = CherootServer(sock, gateway_to(app))
    server.start()
    with caplog.at_level(logging.WARNING), dial(f"unix://{short_path}/x.sock") as caller:
        caller.sendall(post("Any.Thing", b""))
        running.wait(WAIT)

        server.stop(0.1)

    assert [record.message for record in caplog.records] == [
        "a call is still running although its connection was closed"
    ]
    may_end.set()
    assert over.wait(WAIT)


def waiting_server(
    directory: Path, running: threading.Event, may_end: threading.Event
) -> CherootServer:
    """A started server at ``x.sock``, whose calls set ``running`` and wait for ``may_end``."""

    def app(_: Request) -> Response:
        running.set()
        may_end.wait(WAIT)
        return Response(200, b"")

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(directory / "x.sock"))
    server = CherootServer(sock, gateway_to(app))
    server.start()
    return server


def test_it_is_said_that_running_calls_are_waited_for(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a second, so that it is not said of calls that end soon."""
    running, may_end = threading.Event(), threading.Event()
    server = waiting_server(short_path, running, may_end)
    with caplog.at_level(logging.INFO), dial(f"unix://{short_path}/x.sock") as caller:
        caller.sendall(post("Any.Thing", b""))
        running.wait(WAIT)
        stopping = threading.Thread(target=server.stop, args=[WAIT])
        stopping.start()
        ends = time.monotonic() + WAIT
        while not caplog.records and time.monotonic() < ends:
            time.sleep(0.02)
        may_end.set()
        stopping.join()

    assert [record.message for record in caplog.records] == [
        f"calls are still running: they have {WAIT - 1:g} s to end"
    ]


def test_a_stop_that_waits_for_running_calls_can_be_cut_short(short_path: Path) -> None:
    """The calls are cut off as at the end of the time that they had."""
    running, may_end = threading.Event(), threading.Event()
    server = waiting_server(short_path, running, may_end)
    with dial(f"unix://{short_path}/x.sock") as caller:
        caller.sendall(post("Any.Thing", b""))
        running.wait(WAIT)
        stopping = threading.Thread(target=server.stop, args=[10 * WAIT])
        stopping.start()
        stopping.join(0.2)
        assert stopping.is_alive()
        server.cut()
        stopping.join(WAIT)
        assert not stopping.is_alive()
        assert caller.recv(1) == b""
    may_end.set()


IDLE = 0.2


@pytest.fixture
def impatient(short_path: Path) -> Iterator[socket.socket]:
    """A connection to a server that gives silent peers a fifth of a second."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(short_path / "x.sock"))
    app = PluginApp(Echoes(), Layers())
    server = CherootServer(sock, gateway_to(app), idle=IDLE)
    server.start()
    with dial(f"unix://{short_path}/x.sock") as caller:
        yield caller
    server.stop(1.0)


@pytest.mark.parametrize("sent", [b"", b"POST /Echo.Say HTTP/1.1\r\nHost"])
def test_a_silent_host_gets_status_408_and_its_connection_is_closed(
    impatient: socket.socket, sent: bytes
) -> None:
    """This happens if no request comes, or if a request stops within its head."""
    impatient.sendall(sent)

    assert answer(impatient).startswith(b"HTTP/1.1 408 Request Timeout")
    assert impatient.recv(1) == b""


def test_a_request_body_that_stops_coming_gets_status_400(impatient: socket.socket) -> None:
    """The error message says that reading the body timed out."""
    impatient.sendall(post("Echo.Say", b'{"Text":"a"}')[:-3])

    assert answer(impatient).endswith(
        b'400 Bad Request | {"Err": "the request\'s body cannot be read: timed out"}\n'
    )
    assert impatient.recv(1) == b""


def test_an_idle_connection_is_closed(impatient: socket.socket) -> None:
    """Connections are kept for the next request, but not for ever."""
    impatient.sendall(post("Plugin.Activate", b""))

    assert answer(impatient).endswith(b'{"Implements":["Echo","GraphDriver"]}\n')
    assert impatient.recv(1) == b""


def test_a_host_may_pause_while_it_reads_a_stream(impatient: socket.socket) -> None:
    """A stream that is not read for longer than the idle time can be read on afterwards."""
    impatient.sendall(post("GraphDriver.Diff", b'{"ID":"endless"}'))
    impatient.recv(1)

    time.sleep(3 * IDLE)

    # More than any buffer between the two can have kept.
    left = 4 << 20
    while left > 0:
        data = impatient.recv(1 << 16)
        assert data, "the stream ended"
        left -= len(data)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_restores_the_signal_handlers_of_the_program(
    short_path: Path, number: signal.Signals, kind: str
) -> None:
    """``serve_…`` returns on a signal, and puts back the handlers that it found."""
    before = signal.getsignal(number)

    def signal_once_it_serves() -> None:
        retry = RetryPolicy(initial=0.02, factor=1.0, budget=WAIT)
        if kind == "tcp":
            while not (short_path / "echo.spec").exists():
                continue
            addr = (short_path / "echo.spec").read_text()
        else:
            addr = f"unix://{short_path}/echo.sock"
        with new_client(addr, settings=Settings(retry=retry)) as client:
            client.call("Plugin.Activate")
        os.kill(os.getpid(), number)

    caller = threading.Thread(target=signal_once_it_serves)
    caller.start()
    if kind == "unix":
        serve_unix(APP, "echo", sockets_path=str(short_path))
    else:
        serve_tcp(APP, "echo", specs_path=str(short_path))
    caller.join()

    assert signal.getsignal(number) is before
    assert list(short_path.iterdir()) == []
