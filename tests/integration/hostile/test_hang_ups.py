"""Hosts that hang up while a response is being made: their calls end, or delay no other call."""

import gc
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moby_plugins import Response
from moby_plugins.adapters.server.workers import MAX_ABANDONED, MAX_THREADS
from moby_plugins.domain.http import Request
from moby_plugins.serving import (
    PluginApp,
    PluginServer,
    ServerTLS,
    hung_up,
    plugin_server_tcp,
    plugin_server_unix,
)
from moby_plugins.subsystems import LogDriver, LogEntry, LogInfo, ReadConfig
from tests.integration.certificates import Certificates
from tests.integration.descriptors import descriptors, soon
from tests.integration.serving.plugins import WAIT, answer, post

SECOND = 1.0
# More than the plugin has places.
CROWD = MAX_THREADS + 44
READ = post("LogDriver.ReadLogs", b'{"Info":{"ContainerID":"c"},"Config":{"Follow":true}}')
START = post("LogDriver.StartLogging", b'{"File":"/f","Info":{"ContainerID":"d"}}')


class Quiet(LogDriver):
    """``read_logs`` gives one entry, then waits for its host to hang up, or only for the test."""

    def __init__(self, *, polite: bool) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self.began = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self._polite = polite

    def start_logging(self, file: str, info: LogInfo) -> None:
        """Log nothing."""

    def read_logs(self, info: LogInfo, config: ReadConfig) -> Iterator[LogEntry]:
        waits_for = hung_up() if self._polite else self.may_end
        try:
            self.began.release()
            yield LogEntry("stdout", 1, b"one")
            waits_for.wait(60)
            self.ended.release()
            yield LogEntry("stdout", 1, b"two")
            raise AssertionError("it was not closed at its next yield")
        except GeneratorExit:
            self.closed.release()
            raise


@pytest.fixture(params=[True, False], ids=["polite", "deaf"])
def quiet(request: pytest.FixtureRequest) -> Iterator[Quiet]:
    """A driver whose streams do, or do not, notice that their host has gone."""
    driver = Quiet(polite=request.param)
    yield driver
    driver.may_end.set()


def dial(server: PluginServer) -> socket.socket:
    """A raw connection."""
    scheme, _, where = server.addr.partition("://")
    if scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(8 * WAIT)
        sock.connect(where)
        return sock
    host, _, port = where.rpartition(":")
    return socket.create_connection((host, int(port)), WAIT)


def follow(server: PluginServer) -> socket.socket:
    """A connection over which one entry of a quiet stream has come."""
    sock = dial(server)
    sock.sendall(READ)
    received = b""
    while b"one" not in received:
        more = sock.recv(1 << 16)
        assert more
        received += more
    return sock


def assert_answers(server: PluginServer, seconds: float = SECOND) -> None:
    """Another container's StartLogging is answered in time."""
    with dial(server) as sock:
        sock.settimeout(seconds)
        sock.sendall(START)
        assert answer(sock).startswith(b"HTTP/1.1 200")


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something becomes so in time."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def server(quiet: Quiet, short_path: Path) -> Iterator[PluginServer]:
    """A served plugin with that driver."""
    app = PluginApp(quiet)
    with plugin_server_unix(app, "q", sockets_path=str(short_path), drain=0.2) as made:
        yield made
        quiet.may_end.set()


def test_more_hang_ups_than_the_server_has_threads_delay_no_other_call(
    quiet: Quiet, server: PluginServer
) -> None:
    """The next call is served whether or not the abandoned streams end, and no descriptor leaks."""
    before = descriptors()
    for _ in range(CROWD):
        follow(server).close()

    assert_answers(server)
    assert soon(before + 2, SECOND) <= before + 2


def test_a_stream_that_waits_for_the_hang_up_ends_within_a_second_with_its_thread(
    short_path: Path,
) -> None:
    """After 300 streams whose hosts hung up, no thread and no descriptor is left."""
    quiet = Quiet(polite=True)
    with plugin_server_unix(PluginApp(quiet), "q", sockets_path=str(short_path)) as server:
        before = descriptors(), threading.active_count()
        for _ in range(6):
            with ThreadPoolExecutor(50) as pool:
                for sock in pool.map(follow, [server] * 50):
                    sock.close()
            for _ in range(50):
                assert quiet.closed.acquire(timeout=SECOND)

        assert soon(before[0] + 1, SECOND) <= before[0] + 1
        assert within(3 * SECOND, lambda: threading.active_count() <= before[1])


def test_a_stream_whose_host_hung_up_is_closed_at_its_next_yield(
    quiet: Quiet, server: PluginServer
) -> None:
    """The generator is closed however late it yields next, and its thread ends."""
    threads = threading.active_count()
    follow(server).close()
    time.sleep(SECOND)
    quiet.may_end.set()

    assert quiet.closed.acquire(timeout=WAIT)
    assert within(SECOND, lambda: threading.active_count() <= threads)


def test_calls_wait_when_1024_threads_still_run_calls_whose_hosts_hung_up(short_path: Path) -> None:
    """A plugin whose methods ignore hang-ups cannot take up all threads of its machine."""
    quiet = Quiet(polite=False)
    app = PluginApp(quiet)
    with plugin_server_unix(app, "q", sockets_path=str(short_path), drain=0.5) as server:
        before = threading.active_count()
        for _ in range(MAX_ABANDONED // 128):
            for sock in [follow(server) for _ in range(128)]:
                sock.close()
            assert_answers(server, 4 * SECOND)
        left = [follow(server) for _ in range(MAX_THREADS)]
        for sock in left:
            sock.close()
        time.sleep(SECOND)
        assert threading.active_count() <= before + MAX_ABANDONED + MAX_THREADS

        with dial(server) as sock:
            sock.sendall(START)
            sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            quiet.may_end.set()
            sock.settimeout(WAIT)
            assert answer(sock).startswith(b"HTTP/1.1 200")
        assert within(WAIT, lambda: threading.active_count() <= before + MAX_THREADS)


class Hosts:
    """An app that notes when its host hung up, and a host of it over each kind of connection."""

    def __init__(self) -> None:
        self.gone_after: list[float] = []
        self.waits = 2.5 * SECOND

    def __call__(self, request: Request) -> Response:
        began = time.monotonic()
        gone = hung_up().wait(self.waits)
        self.gone_after.append(time.monotonic() - began if gone else -1)
        return Response(200, b"done")


def close(sock: socket.socket) -> None:
    """The usual way to hang up."""
    sock.close()


def end_sending(sock: socket.socket) -> None:
    """Half of it."""
    sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """The rude way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


@pytest.fixture(params=["unix", "tcp", "https"])
def served(
    request: pytest.FixtureRequest, short_path: Path, tmp_path: Path
) -> Iterator[tuple[Hosts, Callable[[], socket.socket]]]:
    """The app, and what dials it."""
    hosts, path = Hosts(), str(short_path)
    if request.param == "unix":
        server = plugin_server_unix(hosts, "h", sockets_path=path)
    elif request.param == "tcp":
        server = plugin_server_tcp(hosts, "h", specs_path=path)
    else:
        certificates = Certificates(tmp_path)
        cert, key = certificates.server_files()
        tls = ServerTLS(cert_file=cert, key_file=key)
        server = plugin_server_tcp(hosts, "h", specs_path=path, tls=tls)

    def dialled() -> socket.socket:
        sock = dial(server)
        if request.param != "https":
            return sock
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(sock)

    with server:
        yield hosts, dialled


@pytest.mark.parametrize("hang", [close, end_sending, reset])
def test_a_method_can_see_within_a_second_that_its_host_hung_up(
    served: tuple[Hosts, Callable[[], socket.socket]], hang: Callable[[socket.socket], None]
) -> None:
    """``hung_up()`` is set, but not if a UNIX socket's host merely ends its sending."""
    hosts, dialled = served
    with dialled() as sock:
        kept = sock.family == socket.AF_UNIX and hang is end_sending
        sock.sendall(post("Any.Thing", b"{}"))
        time.sleep(0.2)
        hang(sock)
        if kept:
            assert answer(sock) == b"HTTP/1.1 200 OK | done"
        else:
            assert within(SECOND, lambda: bool(hosts.gone_after))
    if kept:
        assert hosts.gone_after == [-1]
    else:
        assert 0 <= hosts.gone_after[0] <= 0.2 + SECOND


def test_a_short_call_gets_its_response_though_its_host_ends_sending_at_once(
    served: tuple[Hosts, Callable[[], socket.socket]],
) -> None:
    """A host that ends its sending after the request, as ``nc -N`` does, gets the response."""
    hosts, dialled = served
    hosts.waits = 0.01
    for _ in range(20):
        with dialled() as sock:
            sock.sendall(post("Any.Thing", b"{}"))
            if not isinstance(sock, ssl.SSLSocket):
                sock.shutdown(socket.SHUT_WR)
            assert answer(sock) == b"HTTP/1.1 200 OK | done"


def test_a_hang_up_on_a_reused_connection_is_seen_only_by_the_running_call(
    served: tuple[Hosts, Callable[[], socket.socket]],
) -> None:
    """``hung_up()`` belongs to one call: it stays unset in the calls that ended before."""
    hosts, dialled = served
    with dialled() as sock:
        hosts.waits = 0.6
        for _ in range(2):
            sock.sendall(post("Any.Thing", b"{}"))
            assert answer(sock) == b"HTTP/1.1 200 OK | done"
        hosts.waits = WAIT
        sock.sendall(post("Any.Thing", b"{}"))
        time.sleep(0.05)
    assert within(SECOND, lambda: len(hosts.gone_after) == 3)
    assert hosts.gone_after[:2] == [-1, -1]
    assert hosts.gone_after[2] > 0


def test_a_server_stop_does_not_wait_for_a_stream_whose_host_hangs_up(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A hang-up is also noticed while a stopped server waits for its running calls."""
    quiet = Quiet(polite=True)
    server = plugin_server_unix(PluginApp(quiet), "q", sockets_path=str(short_path), drain=WAIT)
    server.start()
    sock = follow(server)
    began = time.monotonic()
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    time.sleep(0.1)
    sock.close()
    stopper.join(WAIT)

    assert time.monotonic() - began < 2 * SECOND
    assert caplog.records == []


def test_a_server_stop_ends_a_waiting_stream_once_the_drain_time_is_over(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that waits for the hang-up of its host is closed then, and no warning is logged."""
    quiet = Quiet(polite=True)
    server = plugin_server_unix(PluginApp(quiet), "q", sockets_path=str(short_path), drain=0.1)
    server.start()
    with follow(server), caplog.at_level(logging.WARNING):
        server.stop()

    assert quiet.closed.acquire(timeout=SECOND)
    assert caplog.records == []


def test_a_server_stop_waits_for_a_running_call_whose_host_hung_up(short_path: Path) -> None:
    """A Create whose host timed out may finish within the drain time instead of being cut off."""
    over: list[str] = []

    def app(_: Request) -> Response:
        time.sleep(2 * SECOND)
        over.append("made")
        return Response(200, b"")

    server = plugin_server_unix(app, "q", sockets_path=str(short_path), drain=WAIT)
    server.start()
    with dial(server) as sock:
        sock.sendall(post("VolumeDriver.Create", b""))
        time.sleep(0.1)
    time.sleep(SECOND)
    server.stop()

    assert over == ["made"]


def test_a_method_that_reads_an_upload_that_its_host_breaks_off_gets_an_error(
    short_path: Path,
) -> None:
    """Reading the rest of the body raises ``ValueError``, which says that the body is cut off."""
    raised: list[str] = []

    def app(request: Request) -> Response:
        try:
            request.read()
        except ValueError as error:
            raised.append(str(error))
        return Response(200, b"")

    with plugin_server_unix(app, "q", sockets_path=str(short_path)) as server:
        for _ in range(10):
            with dial(server) as sock:
                sock.sendall(post("Any.Thing", b"5\r\nab", "Transfer-Encoding: chunked\r\n"))
                time.sleep(0.02)
        assert within(SECOND, lambda: len(raised) == 10)
    assert set(raised) == {"the request's body cannot be read: it is cut off"}


def test_a_connection_that_has_ended_is_freed_without_the_garbage_collector(
    short_path: Path,
) -> None:
    """No reference cycle keeps connections in memory; only cheroot holds on to the last one."""

    def app(request: Request) -> Response:
        return Response(200, iter([b"a", b"b"]))

    def alive() -> int:
        return sum(type(each).__name__ == "Connection" for each in gc.get_objects())

    gc.collect()
    before = alive()
    with plugin_server_unix(app, "q", sockets_path=str(short_path)) as server:
        gc.disable()
        try:
            for number in range(5):
                with dial(server) as sock:
                    sock.sendall(post("Any.Thing", b"x")[: None if number % 2 else -1])
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(1 << 16):
                        pass
            assert within(SECOND, lambda: alive() <= before + 1)
        finally:
            gc.enable()
