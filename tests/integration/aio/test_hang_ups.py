"""Hosts that hang up on a plugin in an event loop: their calls are cancelled within a second."""

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.adapters.aio.server import AsyncServer
from moby_plugins.aio import (
    AsyncLogDriver,
    AsyncPluginApp,
    AsyncRequest,
    AsyncResponse,
    serve_tcp,
    serve_unix,
)
from moby_plugins.serving import ServerTLS, hung_up
from moby_plugins.subsystems import LogEntry, LogInfo, ReadConfig
from tests.integration.aio.loops import run
from tests.integration.aio.test_serving import dial, served
from tests.integration.certificates import Certificates
from tests.integration.descriptors import descriptors
from tests.integration.hostile.test_hang_ups import READ, START, close, end_sending, reset
from tests.integration.loops import LOOPS
from tests.integration.serving.plugins import WAIT, answer, post

pytestmark = pytest.mark.parametrize("loop", LOOPS)
SECOND = 1.0


class Waiting:
    """An app whose call waits, and records how the wait ended."""

    def __init__(self, seconds: float = 2.5) -> None:
        self.seconds = seconds
        self.began = threading.Event()
        self.ended: list[tuple[str, float, bool]] = []

    async def __call__(self, request: AsyncRequest) -> AsyncResponse:
        began = time.monotonic()
        gone = hung_up()
        how = "cancelled"
        self.began.set()
        try:
            await asyncio.sleep(self.seconds)
            how = "answered"
        finally:
            self.ended.append((how, time.monotonic() - began, gone.is_set()))
        return AsyncResponse(200, b"done")


class Served:
    """Serves an app over one kind of connection, and dials it."""

    def __init__(self, kind: str, directory: Path, tmp_path: Path) -> None:
        self.kind = kind
        self._directory = str(directory)
        self._tmp_path = tmp_path

    def up(self, app: Any) -> Any:
        """A context manager: the address, and the task that serves."""
        if self.kind == "unix":
            return served(serve_unix, app, "h", sockets_path=self._directory, drain=0.5)
        tls = None
        if self.kind == "https":
            cert, key = Certificates(self._tmp_path).server_files()
            tls = ServerTLS(cert_file=cert, key_file=key)
        return served(serve_tcp, app, "h", specs_path=self._directory, drain=0.5, tls=tls)

    def dial(self, addr: str) -> socket.socket:
        """A raw connection."""
        if self.kind != "https":
            return dial(addr)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return dial(addr, context)


@pytest.fixture(params=["unix", "tcp", "https"])
def kind(request: pytest.FixtureRequest, short_path: Path, tmp_path: Path) -> Served:
    """Each kind of connection."""
    return Served(request.param, short_path, tmp_path)


async def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something becomes so in time."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(0.01)
    return True


@pytest.mark.parametrize("hang", [close, end_sending, reset])
def test_a_call_is_cancelled_within_a_second_of_its_host_hanging_up(
    loop: str, kind: Served, hang: Callable[[socket.socket], None]
) -> None:
    """``hung_up`` is set as well; only a half-closed UNIX socket still gets its response."""
    app = Waiting()
    kept = kind.kind == "unix" and hang is end_sending

    async def main() -> None:
        async with kind.up(app) as (addr, _):
            sock = await asyncio.to_thread(kind.dial, addr)
            with sock:
                sock.sendall(post("Any.Thing", b"{}"))
                await asyncio.to_thread(app.began.wait, WAIT)
                await asyncio.sleep(0.1)
                hang(sock)
                if kept:
                    assert await asyncio.to_thread(answer, sock) == b"HTTP/1.1 200 OK | done"
                else:
                    assert await within(SECOND, lambda: bool(app.ended))

    run(loop, main())
    ((how, took, told),) = app.ended
    assert how == ("answered" if kept else "cancelled")
    assert told is not kept
    assert kept or took <= 0.1 + SECOND


def test_a_short_call_gets_its_response_on_a_half_closed_connection(
    loop: str, kind: Served
) -> None:
    """A host on TCP that ends its sending at once, as ``nc -N`` does, gets a quick response."""
    app = Waiting(0.01)

    def ask(addr: str) -> bytes:
        with kind.dial(addr) as sock:
            sock.sendall(post("Any.Thing", b"{}"))
            if not isinstance(sock, ssl.SSLSocket):
                sock.shutdown(socket.SHUT_WR)
            return answer(sock)

    async def main() -> None:
        async with kind.up(app) as (addr, _):
            for _ in range(20):
                assert await asyncio.to_thread(ask, addr) == b"HTTP/1.1 200 OK | done"

    run(loop, main())


class Quiet(AsyncLogDriver):
    """``read_logs`` gives one entry, and then waits for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = 0
        self.closed = 0

    async def start_logging(self, file: str, info: LogInfo) -> None:
        """Log nothing."""

    async def read_logs(self, info: LogInfo, config: ReadConfig) -> AsyncIterator[LogEntry]:
        try:
            yield LogEntry("stdout", 1, b"one")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.closed += 1


def follow(kind: Served, addr: str) -> socket.socket:
    """A connection over which one entry of a quiet stream has come."""
    sock = kind.dial(addr)
    sock.sendall(READ)
    received = b""
    while b"one" not in received:
        more = sock.recv(1 << 16)
        assert more
        received += more
    return sock


def test_an_idle_stream_is_cancelled_within_a_second_of_its_host_hanging_up(
    loop: str, kind: Served
) -> None:
    """After 30 such streams no task and no descriptor is left, and the next call is served."""
    quiet = Quiet()

    def ask(addr: str) -> bytes:
        with kind.dial(addr) as sock:
            sock.sendall(START)
            return answer(sock)

    async def main() -> None:
        async with kind.up(AsyncPluginApp(quiet)) as (addr, _):
            # A loop makes itself at home with its first connection.
            await asyncio.to_thread(ask, addr)
            await asyncio.sleep(0.1)
            before = descriptors(), len(asyncio.all_tasks())
            socks = [await asyncio.to_thread(follow, kind, addr) for _ in range(30)]
            for sock in socks:
                sock.close()
            assert await within(SECOND, lambda: quiet.closed == 30)
            assert (await asyncio.to_thread(ask, addr)).startswith(b"HTTP/1.1 200")
            assert await within(SECOND, lambda: len(asyncio.all_tasks()) <= before[1])
            assert await within(SECOND, lambda: descriptors() <= before[0])

    run(loop, main())
    assert quiet.cancelled == 30


def test_a_host_that_continues_to_send_receives_an_early_response(loop: str, kind: Served) -> None:
    """100 hosts that send a body over the limit all receive status 413, not only a reset."""
    app = AsyncPluginApp(Quiet(), max_request_bytes=1000)
    size = 4 << 20

    def ask(addr: str) -> bytes:
        with kind.dial(addr) as sock:
            try:
                sock.sendall(
                    b"POST /LogDriver.StartLogging HTTP/1.1\r\nHost: x\r\n"
                    b"Content-Length: %d\r\n\r\n" % size
                )
                for _ in range(size // 65536):
                    sock.sendall(bytes(65536))
            except OSError:
                pass
            return answer(sock)

    async def main() -> None:
        async with kind.up(app) as (addr, _):
            for _ in range(25 if kind.kind == "https" else 100):
                assert (await asyncio.to_thread(ask, addr)).startswith(b"HTTP/1.1 413 ")

    run(loop, main())


def test_a_host_that_sends_no_http_receives_status_400(loop: str, kind: Served) -> None:
    """The response arrives although 4 MiB follow the invalid line; the connection then ends."""

    def ask(addr: str) -> bytes:
        with kind.dial(addr) as sock:
            try:
                sock.sendall(b"nonsense\r\n")
                for _ in range(64):
                    sock.sendall(bytes(65536))
            except OSError:
                pass
            said = answer(sock)
            try:
                sock.settimeout(4 * SECOND)
                assert sock.recv(1) == b""
            except ConnectionError:
                pass
            return said

    async def main() -> None:
        async with kind.up(AsyncPluginApp(Quiet())) as (addr, _):
            for _ in range(20):
                assert (await asyncio.to_thread(ask, addr)).startswith(b"HTTP/1.1 400 ")

    run(loop, main())


def test_a_call_that_goes_on_although_it_was_cancelled_is_logged(
    loop: str, short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning names the call that still runs a while after its host hung up."""
    may_end = threading.Event()

    async def deaf(request: AsyncRequest) -> AsyncResponse:
        while not may_end.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return AsyncResponse(200, b"")

    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(short_path / "d.sock"))
        server = AsyncServer(sock, deaf, patience=0.2)
        server.start()
        with dial(f"unix://{short_path}/d.sock") as caller:
            caller.sendall(post("Any.Thing", b""))
            await asyncio.sleep(0.1)
        assert await within(3 * SECOND, lambda: bool(caplog.records))
        may_end.set()
        await server.stop(1.0)

    with caplog.at_level(logging.WARNING):
        run(loop, main())
    assert [record.message for record in caplog.records] == [
        "Any.Thing is still running 0.2 s after its host hung up"
    ]


def test_silent_connections_beyond_the_limit_do_not_keep_others_from_being_served(
    loop: str, short_path: Path
) -> None:
    """The connection that was silent for longest is closed for a new one; running calls go on."""
    app = Waiting(0.5)

    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(short_path / "c.sock"))
        server = AsyncServer(sock, app, most=8)
        server.start()
        addr = f"unix://{short_path}/c.sock"
        with dial(addr) as caller:
            caller.sendall(post("Any.Thing", b""))
            await asyncio.to_thread(app.began.wait, WAIT)
            crowd = [dial(addr) for _ in range(20)]
            for each in crowd:
                each.sendall(b"POST /Any")
            await asyncio.sleep(0.1)
            with dial(addr) as other:
                other.sendall(post("Any.Thing", b""))
                assert (await asyncio.to_thread(answer, other)).startswith(b"HTTP/1.1 200")
            assert (await asyncio.to_thread(answer, caller)).startswith(b"HTTP/1.1 200")
            for each in crowd:
                each.close()
        await server.stop(1.0)

    run(loop, main())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b"HTTP/1.1 408 "),
        (b"POST /Echo.Say HTTP/1.1\r\nHost", b"HTTP/1.1 408 "),
        (post("Any.Thing", b"abc")[:-1], b"HTTP/1.1 400 "),
    ],
)
def test_a_host_that_stops_in_the_middle_of_a_request_gets_status_408_or_400(
    loop: str, short_path: Path, sent: bytes, status: bytes
) -> None:
    """The connection is closed after the response, also if no byte of a request ever came."""

    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(short_path / "s.sock"))
        server = AsyncServer(sock, Waiting(0.0), idle=0.2)
        server.start()
        with dial(f"unix://{short_path}/s.sock") as caller:
            caller.sendall(sent)
            assert (await asyncio.to_thread(answer, caller)).startswith(status)
            assert caller.recv(1) == b""
        await server.stop(1.0)

    run(loop, main())


def test_bytes_that_drip_do_not_extend_the_time_out_of_a_request_head(
    loop: str, short_path: Path
) -> None:
    """Such a head gets status 408; an idle connection is closed without a response."""

    def drip(addr: str) -> tuple[bytes, float]:
        with dial(addr) as sock:
            sock.sendall(post("Any.Thing", b""))
            assert answer(sock).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            sock.settimeout(0.05)
            while True:
                try:
                    sock.sendall(b"P")
                    return answer(sock), time.monotonic() - began
                except TimeoutError:
                    assert time.monotonic() - began < WAIT

    def idle(addr: str) -> bytes:
        with dial(addr) as sock:
            sock.sendall(post("Any.Thing", b""))
            assert answer(sock).startswith(b"HTTP/1.1 200")
            return sock.recv(1)

    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(short_path / "s.sock"))
        server = AsyncServer(sock, Waiting(0.0), idle=0.4)
        server.start()
        said, took = await asyncio.to_thread(drip, f"unix://{short_path}/s.sock")
        assert said.startswith(b"HTTP/1.1 408 ")
        assert 0.3 < took < 1.5
        assert await asyncio.to_thread(idle, f"unix://{short_path}/s.sock") == b""
        await server.stop(1.0)

    run(loop, main())


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_stream_that_never_waits_holds_up_no_other_call(
    loop: str, kind: Served, size: int
) -> None:
    """Other calls take less than a second, and a hang-up ends the generator within a second."""
    ended: list[float] = []

    async def app(request: AsyncRequest) -> AsyncResponse:
        if request.method != "Any.Stream":
            return AsyncResponse(200, b"done")

        async def chunks() -> AsyncIterator[bytes]:
            last = time.monotonic() + 5  # so that a failure ends
            try:
                while time.monotonic() < last:
                    yield bytes(size)
            finally:
                ended.append(time.monotonic())

        return AsyncResponse(200, chunks())

    def call(addr: str) -> float:
        began = time.monotonic()
        with kind.dial(addr) as sock:
            sock.sendall(post("Any.Thing", b"{}"))
            assert answer(sock) == b"HTTP/1.1 200 OK | done"
        return time.monotonic() - began

    async def main() -> None:
        async with kind.up(app) as (addr, _):
            sock = await asyncio.to_thread(kind.dial, addr)
            with sock:
                sock.sendall(post("Any.Stream", b"{}"))
                assert await asyncio.to_thread(sock.recv, 1 << 16)
                assert await asyncio.to_thread(call, addr) < SECOND
            hung = time.monotonic()
            assert await asyncio.to_thread(call, addr) < SECOND
            assert await within(SECOND, lambda: bool(ended))
            assert ended[0] - hung < SECOND

    run(loop, main())


class Endless:
    """An app whose stream never waits, and whose clean-up takes a while."""

    def __init__(self, size: int = 500) -> None:
        self.size = size
        self.cleaned_up = 0

    async def __call__(self, request: AsyncRequest) -> AsyncResponse:
        return AsyncResponse(200, self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * self.size
        finally:
            await asyncio.sleep(0.02)
            self.cleaned_up += 1


@pytest.mark.parametrize("size", [10, 500, 100_000])
def test_a_stream_that_never_waits_is_ended_and_cleans_up(
    loop: str, kind: Served, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """After a hang-up the generator's ``finally`` runs to its end, and nothing is logged."""
    app = Endless(size)

    async def main() -> None:
        async with kind.up(app) as (addr, _):
            for _ in range(5):
                sock = await asyncio.to_thread(kind.dial, addr)
                sock.sendall(post("M.x", b""))
                await asyncio.to_thread(sock.recv, 10)
                sock.close()
            assert await within(WAIT, lambda: app.cleaned_up == 5)

    run(loop, main())
    assert caplog.messages == []


def test_an_idle_host_that_stays_connected_does_not_delay_the_stop_of_the_server(
    loop: str, kind: Served
) -> None:
    """The server stops at once, also where the host sends no close_notify under TLS."""

    async def main() -> float:
        async with kind.up(Endless()) as (addr, task):
            sock = await asyncio.to_thread(kind.dial, addr)
            sock.sendall(post("M.x", b"").replace(b"POST", b"GET"))
            assert (await asyncio.to_thread(answer, sock)).startswith(b"HTTP/1.1 405")
            began = time.monotonic()
            task.cancel()
            await asyncio.wait([task])
            took = time.monotonic() - began
            sock.close()
            return took

    assert run(loop, main()) < 0.4
