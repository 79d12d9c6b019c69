"""Plugins whose code raises a ``BaseException``: hosts get a response, and the plugin goes on."""

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from moby_plugins import Response
from moby_plugins.domain.http import App, Request
from moby_plugins.serving import PluginApp, PluginServer, plugin_server_unix, wsgi
from moby_plugins.subsystems import GraphDriver, VolumeDriver
from tests.integration.serving.plugins import WAIT, Echoes, answer, dial, post


def leave() -> None:
    """What the issue's plugin did."""
    sys.exit("mkfs: bad option")


def interrupt() -> None:
    """As a library does that takes itself for the main program."""
    raise KeyboardInterrupt


def cancel() -> None:
    """Out of ``asyncio.run`` in a method."""
    raise asyncio.CancelledError


def close() -> None:
    """Out of a generator that was closed."""
    raise GeneratorExit


WAYS = {"mkfs: bad option": leave, "KeyboardInterrupt": interrupt}
WAYS |= {"CancelledError": cancel, "GeneratorExit": close}
each_way = pytest.mark.parametrize(("text", "way"), WAYS.items(), ids=WAYS)


class Volumes(VolumeDriver):
    """``create`` raises in the given way."""

    def __init__(self, way: Callable[[], None]) -> None:
        super().__init__()
        self._way = way

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        self._way()


class Layers(GraphDriver):
    """``diff`` raises in the given way, at its beginning or later."""

    def __init__(self, way: Callable[[], None]) -> None:
        super().__init__()
        self._way = way

    def diff(self, id: str, parent: str = "") -> Iterator[bytes]:
        if id == "later":
            yield b"first"
        self._way()


def raw(way: Callable[[], None]) -> App:
    """A function that does the same without ``PluginApp``."""

    def chunks(first: bytes) -> Iterator[bytes]:
        if first:
            yield first
        way()

    def app(request: Request) -> Response:
        if request.method == "Echo.Say":
            return Response(200, b'{"Said":"hello"}\n')
        if request.method == "VolumeDriver.Create":
            way()
        return Response(200, chunks(b"first" if b"later" in request.read() else b""))

    return app


def parts(way: Callable[[], None]) -> App:
    """Parts of a plugin that do."""
    return PluginApp(Volumes(way), Layers(way), Echoes())


@pytest.fixture(params=[raw, parts])
def server(
    request: pytest.FixtureRequest, way: Callable[[], None], short_path: Path
) -> Iterator[PluginServer]:
    """Such a plugin, run as a program does."""
    server = plugin_server_unix(request.param(way), "p", sockets_path=str(short_path), drain=1.0)
    server.start()
    runner = threading.Thread(target=server.run)
    runner.start()
    yield server
    assert runner.is_alive()
    server.stop()
    runner.join(WAIT)


CREATE = post("VolumeDriver.Create", b'{"Name":"v"}')
SAY = post("Echo.Say", b'{"Text":"hello"}')
SAID = b'HTTP/1.1 200 OK | {"Said":"hello"}\n'


@each_way
def test_any_exception_of_a_plugin_gives_status_500_and_the_plugin_goes_on(
    text: str, server: PluginServer
) -> None:
    """This holds in a method and before a stream's first chunk; the next requests are served."""
    failed = b'HTTP/1.1 500 Internal Server Error | {"Err":"%b"}\n' % text.encode()
    with dial(server.addr) as sock:
        for request in (CREATE, post("GraphDriver.Diff", b'{"ID":"at once"}')) * 5:
            sock.sendall(request)
            assert answer(sock).replace(b'": "', b'":"') == failed
        sock.sendall(SAY)
        assert answer(sock) == SAID
    with dial(server.addr) as sock:
        sock.sendall(SAY)
        assert answer(sock) == SAID


@each_way
def test_any_exception_within_a_stream_cuts_the_response_off(
    text: str, server: PluginServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The last chunk is not sent, the exception is logged once, and other requests are served."""
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            with dial(server.addr) as sock:
                sock.sendall(post("GraphDriver.Diff", b'{"ID":"later"}'))
                received = b""
                while more := sock.recv(1 << 16):
                    received += more
            assert received.endswith(b"5\r\nfirst\r\n")
    assert caplog.text.count("in the middle of its") == len(caplog.records) == 10
    with dial(server.addr) as sock:
        sock.sendall(SAY)
        assert answer(sock) == SAID


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@each_way
def test_another_wsgi_server_survives_any_exception_of_a_plugin(
    text: str, way: Callable[[], None]
) -> None:
    """``wsgi()`` lets no exception through that would end the server, such as ``SystemExit``."""
    with make_server("127.0.0.1", 0, wsgi(raw(way)), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for body in (b"at once", b"later"):
                for method in ("VolumeDriver.Create", "GraphDriver.Diff", "Echo.Say"):
                    received = _one_call(server.server_port, post(method, body))
                    status = 200 if method == "Echo.Say" else 500
                    if (method, body) == ("GraphDriver.Diff", b"later"):
                        assert b"first" in received
                    else:
                        assert received.startswith(b"HTTP/1.0 %d " % status)
            assert thread.is_alive()
        finally:
            server.shutdown()
            thread.join(WAIT)


def _one_call(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), WAIT) as sock:
        sock.sendall(request)
        received = b""
        while more := sock.recv(1 << 16):
            received += more
    return received


class Forking(VolumeDriver):
    """Forks a child for its work, as a library does that mounts in a process of its own."""

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        child = os.fork()
        if not child:
            sys.exit(3)
        _, status = os.waitpid(child, 0)
        raise ValueError(f"the child ended with {os.waitstatus_to_exitcode(status)}")


def forking(_: Request) -> Response:
    """The same without ``PluginApp``."""
    Forking().create("a")
    raise AssertionError


@pytest.mark.parametrize("app", [PluginApp(Forking()), forking], ids=["PluginApp", "raw"])
def test_a_child_that_a_method_forks_ends_with_its_own_exit_status(
    app: App, short_path: Path
) -> None:
    """``sys.exit`` in the child ends the child, which sends no response in its parent's place."""
    with (
        plugin_server_unix(app, str(short_path / "p.sock")),
        dial(f"unix://{short_path}/p.sock") as sock,
    ):
        sock.sendall(post("VolumeDriver.Create", b'{"Name":"a"}'))
        assert b"the child ended with 3" in answer(sock)
