"""``aio.serve_unix`` and ``serve_tcp``: coroutines that serve until they are cancelled."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from moby_plugins import (
    InvalidPluginNameError,
    PluginError,
    PrometheusObserver,
    SpecError,
    new_client,
)
from moby_plugins.aio import (
    AsyncPluginApp,
    AsyncRequest,
    AsyncResponse,
    AsyncVolumeDriver,
    serve_tcp,
    serve_unix,
)
from moby_plugins.aio import new_client as new_async_client
from moby_plugins.serving import MetricsServer, PluginApp, ServerTLS, plugin_server_unix
from tests.integration.aio.loops import run
from tests.integration.certificates import Certificates
from tests.integration.descriptors import descriptors, soon
from tests.integration.loops import LOOPS
from tests.integration.serving.async_plugins import AsyncEchoes, AsyncLayers, AsyncVolumes
from tests.integration.serving.plugins import WAIT, Echoes, answer, post

pytestmark = pytest.mark.parametrize("loop", LOOPS)
HELLO = post("Echo.Say", b'{"Text":"hello"}')
SAID = b'HTTP/1.1 200 OK | {"Said":"hello"}\n'


@asynccontextmanager
async def served(
    serve: Callable[..., Awaitable[None]], app: Any, *args: Any, **options: Any
) -> AsyncIterator[tuple[str, "asyncio.Task[None]"]]:
    """The address that a plugin is served at, and the task that serves; cancelled at the end."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve(app, *args, **options, on_serving=ready.set_result))
    waits: list[asyncio.Future[Any]] = [ready, task]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        await task
    try:
        yield await ready, task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def ask(addr: str, request: bytes = HELLO, context: ssl.SSLContext | None = None) -> bytes:
    """One request over a raw connection, from another thread."""
    with dial(addr, context) as sock:
        sock.sendall(request)
        return answer(sock)


def dial(addr: str, context: ssl.SSLContext | None = None) -> socket.socket:
    """A raw connection."""
    scheme, _, where = addr.partition("://")
    if scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT)
        sock.connect(where)
        return sock
    host, _, port = where.rpartition(":")
    sock = socket.create_connection((host, int(port)), WAIT)
    return sock if context is None else context.wrap_socket(sock, server_hostname="localhost")


def test_a_plugin_is_served_until_its_task_is_cancelled(loop: str, short_path: Path) -> None:
    """The plugin's socket has mode 0660, and is removed when the coroutine ends."""

    async def main() -> None:
        async with served(
            serve_unix, AsyncPluginApp(AsyncEchoes()), "echo", sockets_path=str(short_path)
        ) as (addr, task):
            path = short_path / "echo.sock"
            assert addr == f"unix://{path}"
            assert path.stat().st_mode & 0o777 == 0o660
            assert await asyncio.to_thread(ask, addr) == SAID
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert os.listdir(short_path) == []

    run(loop, main())


def test_a_plugin_can_be_served_at_a_path(loop: str, short_path: Path) -> None:
    """The path is used without a change, and a stale socket there is replaced."""
    path = short_path / "mine" / "plugin"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def main() -> None:
        async with served(serve_unix, AsyncPluginApp(AsyncEchoes()), str(path), mode=0o600) as (
            addr,
            _,
        ):
            assert path.stat().st_mode & 0o777 == 0o600
            assert await asyncio.to_thread(ask, addr) == SAID

    run(loop, main())
    assert list(path.parent.iterdir()) == []


def test_a_plugin_on_tcp_has_a_spec_while_it_is_served(loop: str, short_path: Path) -> None:
    """The spec file is removed at the end; a request of a browser gets status 403."""

    async def main() -> None:
        async with served(
            serve_tcp, AsyncPluginApp(AsyncEchoes()), "echo", specs_path=str(short_path)
        ) as (addr, _):
            assert (short_path / "echo.spec").read_text().strip() == addr
            assert await asyncio.to_thread(ask, addr) == SAID
            browser = post("Echo.Say", b"{}", "Origin: null\r\n")
            assert (await asyncio.to_thread(ask, addr, browser)).startswith(b"HTTP/1.1 403")

    run(loop, main())
    assert list(short_path.iterdir()) == []


def test_a_plugin_can_be_served_over_tls(
    loop: str, short_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three hosts are served although another connection never begins its handshake."""
    cert, key = Certificates(tmp_path).server_files()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def main() -> None:
        async with served(
            serve_tcp,
            AsyncPluginApp(AsyncEchoes()),
            "echo",
            specs_path=str(short_path),
            tls=ServerTLS(cert_file=cert, key_file=key),
            drain=0.2,
        ) as (addr, _):
            assert addr.startswith("https://")
            with dial(addr):
                for _ in range(3):
                    assert await asyncio.to_thread(ask, addr, HELLO, context) == SAID

    run(loop, main())
    assert "eof_received" not in caplog.text
    assert list(short_path.iterdir()) == []


WRONG: list[tuple[Callable[..., Awaitable[None]], dict[str, Any], type[Exception]]] = [
    (serve_unix, {"name": "a/b"}, InvalidPluginNameError),
    (serve_unix, {"name": "a", "mode": 0o7777}, ValueError),
    (serve_unix, {"name": "a", "drain": -1}, ValueError),
    (serve_unix, {"name": "a", "app": PluginApp(Echoes())}, TypeError),
    (serve_tcp, {"name": "a", "tls": 5}, TypeError),
    (serve_tcp, {"name": "a", "addr": "nonsense"}, SpecError),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_invalid_arguments_of_serve_unix_and_serve_tcp_are_errors(
    loop: str, short_path: Path, case: int
) -> None:
    """An invalid name, mode, drain, app, ``tls`` or address raises before a file is made."""
    serve, options, error = WRONG[case]
    where = "sockets_path" if serve is serve_unix else "specs_path"
    arguments = {"app": AsyncPluginApp(AsyncEchoes()), where: str(short_path), **options}

    async def main() -> None:
        with pytest.raises(error):
            await serve(**arguments)

    run(loop, main())
    assert list(short_path.iterdir()) == []


def test_a_live_socket_is_never_replaced(loop: str, short_path: Path) -> None:
    """``serve_unix`` raises ``SpecError`` where a threaded plugin already listens."""

    async def main() -> None:
        with (
            plugin_server_unix(PluginApp(Echoes()), "echo", sockets_path=str(short_path)) as first,
            pytest.raises(SpecError, match="another plugin already listens there"),
        ):
            await serve_unix(AsyncPluginApp(AsyncEchoes()), "echo", sockets_path=str(short_path))
        assert first.addr

    run(loop, main())


def test_the_loop_runs_on_while_serve_unix_waits_for_a_lock_file(
    loop: str, short_path: Path
) -> None:
    """A cancellation ends the wait at once, and no socket is left."""
    lock = short_path / ".echo.sock.lock"

    async def main() -> None:
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            task = asyncio.ensure_future(
                serve_unix(AsyncPluginApp(AsyncEchoes()), "echo", sockets_path=str(short_path))
            )
            turns = 0
            began = time.monotonic()
            while time.monotonic() - began < 0.5:
                await asyncio.sleep(0.01)
                turns += 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert turns > 10
        assert time.monotonic() - began < 2

    run(loop, main())
    assert [path for path in short_path.iterdir() if path != lock] == []


def test_serve_unix_may_be_cancelled_at_any_moment_and_repeatedly(
    loop: str, short_path: Path
) -> None:
    """Cancelling before, during or after the start leaves no socket and no descriptor."""

    async def main() -> None:
        await asyncio.to_thread(int)
        before = descriptors()
        for times in (1, 2, 3):
            for turns in range(40):
                task = asyncio.ensure_future(
                    serve_unix(AsyncPluginApp(AsyncEchoes()), "echo", sockets_path=str(short_path))
                )
                for _ in range(turns):
                    await asyncio.sleep(0)
                for _ in range(times):
                    task.cancel()
                    await asyncio.sleep(0)
                with pytest.raises(asyncio.CancelledError):
                    await task
        # The thread of one that was cancelled before it ran may be about to end.
        assert await asyncio.to_thread(soon, before) <= before
        assert [path for path in os.listdir(short_path) if path.endswith(".sock")] == []

    run(loop, main())


def test_a_running_call_gets_its_response_although_the_server_ends(
    loop: str, short_path: Path
) -> None:
    """The call may take ``drain`` seconds; the socket is removed before it ends."""
    volumes = AsyncVolumes()

    async def main() -> None:
        async with served(
            serve_unix, AsyncPluginApp(volumes), "v", sockets_path=str(short_path), drain=WAIT
        ) as (addr, task):
            mount = post("VolumeDriver.Mount", b'{"Name":"a","ID":"b"}')
            asked = asyncio.ensure_future(asyncio.to_thread(ask, addr, mount))
            await asyncio.to_thread(volumes.mounting.acquire)
            task.cancel()
            await asyncio.sleep(0.1)
            assert os.listdir(short_path) == []
            assert not task.done()
            volumes.may_end.set()
            assert (await asked).endswith(b'{"Mountpoint":"/mnt/a"}\n')
            with pytest.raises(asyncio.CancelledError):
                await task

    run(loop, main())


class Stubborn(AsyncVolumeDriver):
    """A plugin whose ``path`` waits, and may go on after it was cancelled."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        super().__init__()
        self.is_deaf = is_deaf
        self.running = threading.Event()
        self.cancelled = 0

    async def path(self, name: str) -> str:
        self.running.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            if not self.is_deaf:
                raise
            await asyncio.sleep(1.0)
        return name


PATH = post("VolumeDriver.Path", b'{"Name":"a"}')


@pytest.mark.parametrize("is_deaf", [False, True])
def test_a_call_that_takes_longer_than_drain_is_cancelled_and_cut_off(
    loop: str, short_path: Path, *, is_deaf: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed; a call that goes on after its cancellation is logged."""
    driver = Stubborn(is_deaf=is_deaf)

    async def main() -> None:
        async with served(
            serve_unix, AsyncPluginApp(driver), "v", sockets_path=str(short_path), drain=0.2
        ) as (addr, task):
            with dial(addr) as sock:
                sock.sendall(PATH)
                await asyncio.to_thread(driver.running.wait)
                began = time.monotonic()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert 0.2 <= time.monotonic() - began < 1.5
                assert driver.cancelled == 1
                assert sock.recv(1) == b""
            if is_deaf:
                await asyncio.sleep(1.0)

    with caplog.at_level(logging.WARNING):
        run(loop, main())
    assert [record.message for record in caplog.records] == [
        "a call is still running although its connection was closed"
    ] * is_deaf


def test_it_is_said_that_running_calls_are_waited_for(
    loop: str, short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a second, so that it is not said of calls that end soon."""
    driver = Stubborn()

    async def main() -> None:
        async with served(
            serve_unix, AsyncPluginApp(driver), "v", sockets_path=str(short_path), drain=60
        ) as (addr, task):
            with dial(addr) as sock:
                sock.sendall(PATH)
                await asyncio.to_thread(driver.running.wait)
                task.cancel()
                await asyncio.wait([task], timeout=1.5)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    with caplog.at_level(logging.INFO):
        run(loop, main())
    assert caplog.records[0].message == "calls are still running: they have 59 s to end"


def test_a_second_cancellation_ends_running_calls_at_once(loop: str, short_path: Path) -> None:
    """The server does not wait the 60 s of ``drain`` for the calls."""
    driver = Stubborn()

    async def main() -> None:
        async with served(
            serve_unix, AsyncPluginApp(driver), "v", sockets_path=str(short_path), drain=60
        ) as (addr, task):
            with dial(addr) as sock:
                sock.sendall(PATH)
                await asyncio.to_thread(driver.running.wait)
                began = time.monotonic()
                task.cancel()
                await asyncio.sleep(0.1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert time.monotonic() - began < 2
                assert driver.cancelled == 1

    run(loop, main())


def test_idle_connections_do_not_delay_the_end_of_the_server(loop: str, short_path: Path) -> None:
    """The server closes idle connections at once, although ``drain`` is 60 s."""

    async def main() -> None:
        async with served(
            serve_unix, AsyncPluginApp(AsyncEchoes()), "e", sockets_path=str(short_path), drain=60
        ) as (addr, task):
            with dial(addr) as silent, dial(addr) as kept:
                kept.sendall(HELLO)
                assert await asyncio.to_thread(answer, kept) == SAID
                began = time.monotonic()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert time.monotonic() - began < 1
                assert kept.recv(1) == silent.recv(1) == b""

    run(loop, main())


def test_a_listening_socket_that_is_shut_down_ends_the_server(loop: str, short_path: Path) -> None:
    """``serve_unix`` raises ``PluginError`` and removes the file of the socket."""
    path = short_path / "echo.sock"

    async def main() -> None:
        task = asyncio.ensure_future(serve_unix(AsyncPluginApp(AsyncEchoes()), str(path)))
        while not path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
                if sock.family == socket.AF_UNIX and sock.getsockname() == str(path):
                    sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(PluginError, match="has ended by itself"):
            await asyncio.wait_for(task, WAIT)

    run(loop, main())
    assert not path.exists()


def test_each_request_has_a_context_of_its_own(loop: str, short_path: Path) -> None:
    """A context variable that one request sets is unset in the next on its connection."""
    told = ContextVar("told", default="nothing")

    async def app(request: AsyncRequest) -> AsyncResponse:
        body = await request.read()
        seen = told.get()
        told.set("another's")
        return AsyncResponse(200, f"{seen} in {len(body)}".encode())

    def call(addr: str) -> bytes:
        with dial(addr) as sock:
            large = post("A.b", b"x" * 200_000)
            sock.sendall(post("A.b", b"") * 3 + large[:-1])
            time.sleep(0.1)
            sock.sendall(large[-1:])
            time.sleep(0.1)
            sock.sendall(post("A.b", b"") + post("A.b", b"", "Connection: close\r\n"))
            return b"".join(iter(lambda: sock.recv(9999), b""))

    async def main() -> None:
        async with served(serve_unix, app, "a", sockets_path=str(short_path)) as (addr, _):
            came = await asyncio.to_thread(call, addr)
            assert came.count(b"200 OK") == 6
            assert came.count(b"nothing in ") == 6

    run(loop, main())


def test_twelve_hundred_pipelined_requests_get_their_responses(loop: str, short_path: Path) -> None:
    """1,200 requests are more than the nested calls that Python allows."""
    many = 1200

    async def app(request: AsyncRequest) -> AsyncResponse:
        return AsyncResponse(200, request.method.encode())

    def call(addr: str) -> bytes:
        with dial(addr) as sock:
            requests = [post(f"A.m{number}", b"") for number in range(many)]
            sock.sendall(b"".join(requests) + post("A.last", b"", "Connection: close\r\n"))
            return b"".join(iter(lambda: sock.recv(1 << 16), b""))

    async def main() -> None:
        async with served(serve_unix, app, "a", sockets_path=str(short_path)) as (addr, _):
            came = await asyncio.to_thread(call, addr)
            assert came.count(b"200 OK") == many + 1
            assert came.endswith(b"A.last")

    run(loop, main())


def test_serving_installs_no_signal_handlers(loop: str, short_path: Path) -> None:
    """The program's own handlers stay in place while a plugin is served."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    async def main() -> None:
        before = [signal.getsignal(number) for number in numbers]
        async with served(
            serve_unix, AsyncPluginApp(AsyncEchoes()), "echo", sockets_path=str(short_path)
        ):
            assert [signal.getsignal(number) for number in numbers] == before

    run(loop, main())


def test_two_plugins_share_a_loop(loop: str, short_path: Path) -> None:
    """Two plugins that are served in one event loop both respond."""

    async def main() -> None:
        async with (
            served(
                serve_unix, AsyncPluginApp(AsyncEchoes()), "a", sockets_path=str(short_path)
            ) as (first, _),
            served(
                serve_unix, AsyncPluginApp(AsyncVolumes()), "b", sockets_path=str(short_path)
            ) as (second, _),
        ):
            assert await asyncio.to_thread(ask, first) == SAID
            listed = await asyncio.to_thread(ask, second, post("VolumeDriver.List", b""))
            assert listed.endswith(b'{"Volumes":[]}\n')

    run(loop, main())


def test_a_large_upload_and_an_endless_stream_are_served(loop: str, short_path: Path) -> None:
    """50 MiB of unknown length are received, and a stream is sent as it is produced."""

    def call(addr: str) -> tuple[int, bytes]:
        with new_client(addr) as client:
            size = client.send_file(
                "GraphDriver.ApplyDiff?id=a&parent=b", (bytes(1 << 20) for _ in range(50))
            )
            with client.stream("GraphDriver.Diff", {"ID": "endless"}) as stream:
                return size["Size"], stream.read(5)

    async def main() -> None:
        layers = AsyncLayers()
        async with served(
            serve_unix, AsyncPluginApp(layers), "l", sockets_path=str(short_path)
        ) as (addr, _):
            assert await asyncio.to_thread(call, addr) == (50 << 20, b"first")
            assert await asyncio.to_thread(layers.left.wait, WAIT)

    run(loop, main())


def test_a_coroutine_function_can_be_served_as_an_app(loop: str, short_path: Path) -> None:
    """What the function returns is the response; a ``SystemExit`` in it is status 500."""

    async def app(request: AsyncRequest) -> AsyncResponse:
        if request.method == "Any.Exit":
            raise SystemExit(3)
        return AsyncResponse(201, await request.read() * 2, {"X-Odd": "yes"})

    async def main() -> None:
        async with served(serve_unix, app, "f", sockets_path=str(short_path)) as (addr, _):
            assert await asyncio.to_thread(ask, addr, post("Any.Thing", b"ab")) == (
                b"HTTP/1.1 201 Created | abab"
            )
            assert (await asyncio.to_thread(ask, addr, post("Any.Exit", b""))).startswith(
                b"HTTP/1.1 500"
            )

    run(loop, main())


def told_at(url: str) -> tuple[int, bytes]:
    """The status and the text at the URL of a metrics server."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=WAIT)
    try:
        connection.request("GET", urlsplit(url).path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("directory", ["sockets_path", "specs_path"])
def test_a_metrics_server_runs_from_before_the_first_call_to_after_the_last(
    loop: str, directory: str, short_path: Path
) -> None:
    """``/health`` gives status 503 while the last calls end; then the port is closed."""
    registry = CollectorRegistry()
    metrics = MetricsServer("0", registry=registry)
    started, may_end = asyncio.Event(), asyncio.Event()

    class Shelf(AsyncVolumeDriver):
        async def list(self) -> list[Any]:
            started.set()
            await may_end.wait()
            return []

    app = AsyncPluginApp(Shelf(), observers=[PrometheusObserver(registry)])
    serve = serve_unix if directory == "sockets_path" else serve_tcp
    options: dict[str, Any] = {directory: str(short_path), "metrics": metrics, "drain": WAIT}

    async def ask_it(path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(told_at, f"{metrics.url}{path}")

    async def test() -> None:
        async with served(serve, app, "shelf", **options) as (addr, task):
            assert await ask_it("/health") == (200, b"ok\n")
            async with new_async_client(addr) as client:
                call = asyncio.create_task(client.call("VolumeDriver.List", {}))
                await started.wait()
                assert b"moby_plugins_requests" in (await ask_it("/metrics"))[1]
                task.cancel()
                await asyncio.sleep(0)
                assert (await ask_it("/health"))[0] == 503
                may_end.set()
                assert await call == {"Volumes": []}
        with pytest.raises(ConnectionRefusedError):
            await ask_it("/health")

    run(loop, test())


def test_a_metrics_server_that_cannot_listen_keeps_the_plugin_from_being_served(
    loop: str, short_path: Path
) -> None:
    """A port in use is a ``SpecError``, another type a ``TypeError``; no file is made."""
    wrong: Any = print

    async def test() -> None:
        options: dict[str, Any] = {"sockets_path": str(short_path)}
        with socket.create_server(("127.0.0.1", 0)) as taken:
            metrics = MetricsServer(f"127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(SpecError, match="metrics: "):
                await serve_unix(AsyncPluginApp(), "shelf", metrics=metrics, **options)
        with pytest.raises(TypeError, match="metrics must"):
            await serve_unix(AsyncPluginApp(), "shelf", metrics=wrong, **options)

    run(loop, test())
    assert not list(short_path.iterdir())


def test_a_metrics_server_is_stopped_though_the_task_is_cancelled_as_it_starts(
    loop: str, short_path: Path
) -> None:
    """A user's metrics server that is slow to start is stopped after it has started."""
    happened: list[str] = []
    starting, may_start = threading.Event(), threading.Event()

    class Slow:
        def start(self, is_serving: Callable[[], bool]) -> None:
            starting.set()
            may_start.wait(WAIT)
            happened.append(f"started {is_serving()}")

        def stop(self) -> None:
            happened.append("stopped")

    async def test() -> None:
        serving = serve_unix(
            AsyncPluginApp(), "shelf", sockets_path=str(short_path), metrics=Slow()
        )
        task = asyncio.ensure_future(serving)
        await asyncio.to_thread(starting.wait, WAIT)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        may_start.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(loop, test())
    assert happened == ["started False", "stopped"]
    assert not list(short_path.iterdir())
