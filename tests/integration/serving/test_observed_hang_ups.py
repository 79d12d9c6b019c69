"""Observers of a served plugin see that a host hung up, at whatever point of its call."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import Request, Response
from moby_plugins.aio import (
    AsyncRequest,
    AsyncResponse,
    serve_tcp,
    serve_unix,
)
from moby_plugins.aio import observed as observed_async
from moby_plugins.ports import Observer, RequestEnded, RequestStarted
from moby_plugins.serving import ServerTLS, hung_up, observed, plugin_server_tcp, plugin_server_unix
from tests.integration.aio.test_serving import dial, served
from tests.integration.certificates import Certificates
from tests.integration.serving.plugins import WAIT, answer, post

LARGE = 16 << 20


class Ends(Observer):
    """Keeps the ends of requests, and releases a semaphore at each."""

    def __init__(self) -> None:
        self.ended: list[RequestEnded] = []
        self.came = threading.Semaphore(0)

    def request_started(self, _: RequestStarted, /) -> Callable[[RequestEnded], None]:
        """Nothing is kept of a start."""
        return self._end

    def _end(self, event: RequestEnded) -> None:
        self.ended.append(event)
        self.came.release()


def app(request: Request) -> Response:
    """Reads the whole upload; or answers much, at once or bit by bit."""
    if request.method in {"M.late", "M.wait"}:
        assert hung_up().wait(WAIT)
    if request.method == "M.wait":
        return Response(200, b"late")
    if request.method in {"M.upload", "M.late"}:
        return Response(200, str(len(request.read())).encode())
    if request.method == "M.large":
        return Response(200, bytes(LARGE))
    return Response(200, (bytes(1 << 16) for _ in range(LARGE >> 16)))


async def async_app(request: AsyncRequest) -> AsyncResponse:
    """The same in a task."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LARGE >> 16):
            yield bytes(1 << 16)

    if request.method == "M.wait":
        await asyncio.sleep(WAIT)
    if request.method == "M.upload":
        return AsyncResponse(200, str(len(await request.read())).encode())
    return AsyncResponse(200, bytes(LARGE) if request.method == "M.large" else chunks())


Serving = Callable[[Ends], Any]


@pytest.fixture(params=["unix", "tcp", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Each kind of connection."""
    name: str = request.param
    return name


@pytest.fixture(params=["threads", "loop"])
def serving(
    request: pytest.FixtureRequest, scheme: str, short_path: Path, tmp_path: Path
) -> Serving:
    """What serves the app to an observer: a context manager with the address."""
    options: dict[str, Any] = {
        "sockets_path" if scheme == "unix" else "specs_path": str(short_path)
    }
    if scheme == "https":
        cert, key = Certificates(tmp_path).server_files()
        options["tls"] = ServerTLS(cert_file=cert, key_file=key)

    @contextmanager
    def threads(ends: Ends) -> Iterator[str]:
        make: Any = plugin_server_unix if scheme == "unix" else plugin_server_tcp
        with make(observed(app, [ends]), "h", drain=0.5, **options) as server:
            yield server.addr

    @contextmanager
    def loop(ends: Ends) -> Iterator[str]:
        serve: Any = serve_unix if scheme == "unix" else serve_tcp
        made = served(serve, observed_async(async_app, [ends]), "h", drain=0.5, **options)
        with asyncio.Runner() as runner:
            addr, _ = runner.run(made.__aenter__())
            stop = asyncio.Event()
            thread = threading.Thread(
                target=lambda: runner.get_loop().run_until_complete(stop.wait())
            )
            thread.start()
            try:
                yield addr
            finally:
                runner.get_loop().call_soon_threadsafe(stop.set)
                thread.join(WAIT)
                runner.run(made.__aexit__(None, None, None))

    return threads if request.param == "threads" else loop


def connect(addr: str, scheme: str) -> socket.socket:
    """A raw connection."""
    if scheme != "https":
        return dial(addr)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return dial(addr, context)


CHUNKED = post("M.upload", b"", "Transfer-Encoding: chunked\r\n")
LONG = f"POST /M.upload HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n".encode()
LEFT: dict[str, bytes] = {
    "in an upload with a length": LONG + bytes(1000),
    "in a chunk": CHUNKED + b"ffff\r\n" + bytes(1000),
    "between two chunks": CHUNKED + b"5\r\nabcde\r\n",
    "before its upload": CHUNKED,
    "in a large response": post("M.large", b"{}"),
    "in a stream": post("M.stream", b"{}"),
}


@pytest.mark.parametrize("when", LEFT)
def test_observers_see_that_a_host_hung_up_within_a_call(
    serving: Serving, scheme: str, when: str
) -> None:
    """There is one event, with ``hung_up`` set, soon after the host left."""
    ends = Ends()
    with serving(ends) as addr:
        with connect(addr, scheme) as sock:
            sock.sendall(LEFT[when])
            if "upload" not in LEFT[when].decode("latin-1"):
                assert sock.recv(1)
        assert ends.came.acquire(timeout=WAIT)

    [ended] = ends.ended
    assert ended.hung_up
    assert ended.sent_bytes < LARGE


@pytest.mark.parametrize("when", [*LEFT, "before a response"])
def test_observers_see_an_error_and_no_hang_up_if_the_server_stops_within_a_call(
    serving: Serving, scheme: str, when: str
) -> None:
    """The server closed the connection while the host was waiting, so the call has failed."""
    ends = Ends()
    with serving(ends) as addr:
        sock = connect(addr, scheme)
        sock.sendall(LEFT.get(when, post("M.wait", b"{}")))
        # Until the app runs.
        sock.recv(1) if "in a large" in when or "in a stream" in when else time.sleep(0.3)
    sock.close()
    assert ends.came.acquire(timeout=WAIT)

    [ended] = ends.ended
    assert (ended.hung_up, ended.error is None) == (False, False)


@pytest.mark.parametrize("serving", ["threads"], indirect=True)
def test_reading_an_upload_after_its_host_hung_up_is_an_error_that_says_so(
    serving: Serving, scheme: str
) -> None:
    """The connection is closed by then; observers see the error, and ``hung_up`` set."""
    ends = Ends()
    with serving(ends) as addr:
        with connect(addr, scheme) as sock:
            sock.sendall(LONG.replace(b"M.upload", b"M.late"))
        assert ends.came.acquire(timeout=WAIT)

    [ended] = ends.ended
    assert "the host hung up" in str(ended.error)
    assert ended.hung_up


WHOLE: dict[str, bytes] = {
    "an upload with a length": post("M.upload", bytes(2 << 20)),
    "a chunked upload": CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n",
    "a large response": post("M.large", b"{}"),
}


@pytest.mark.parametrize("what", WHOLE)
def test_observers_see_no_hang_up_of_a_host_that_reads_its_whole_response(
    serving: Serving, scheme: str, what: str
) -> None:
    """The event has status 200 and ``hung_up`` unset."""
    ends = Ends()
    with serving(ends) as addr, connect(addr, scheme) as sock:
        sock.sendall(WHOLE[what])
        received = bytearray(answer(sock) if "upload" in what else b"")
        while "upload" not in what and len(received) < LARGE:
            received += sock.recv(1 << 20)
        assert received.startswith(b"HTTP/1.1 200")
        assert ends.came.acquire(timeout=WAIT)

    [ended] = ends.ended
    assert (ended.status, ended.hung_up) == (200, False)


@pytest.mark.parametrize("scheme", ["unix"], indirect=True)
def test_a_host_that_only_ends_its_sending_on_a_unix_socket_gets_a_response(
    serving: Serving, scheme: str
) -> None:
    """An upload that ends early, or has bad chunks, gets status 400, and is not a hang-up."""
    ends = Ends()
    with serving(ends) as addr:
        for request in (LEFT["between two chunks"], CHUNKED + b"no chunk\r\n"):
            with connect(addr, scheme) as sock:
                sock.sendall(request)
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                assert answer(sock).startswith(b"HTTP/1.1 400")
                assert ends.came.acquire(timeout=WAIT)

    assert [(ended.status, ended.hung_up) for ended in ends.ended] == [(400, False)] * 2
