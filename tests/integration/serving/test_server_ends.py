"""A server that ends although it was not stopped: ``run`` notices, cleans up and raises."""

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import PluginError
from moby_plugins.aio import AsyncPluginApp
from moby_plugins.serving import (
    PluginApp,
    PluginServer,
    plugin_server_tcp,
    plugin_server_unix,
    serve_tcp,
    serve_unix,
)
from tests.integration.descriptors import threads_soon
from tests.integration.serving.async_plugins import AsyncEchoes
from tests.integration.serving.plugins import WAIT, Echoes, answer, dial, post

APP = PluginApp(Echoes())
ASYNC_APP = AsyncPluginApp(AsyncEchoes())


def listening() -> list[int]:
    """The descriptors of this process that listen."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        link = f"/proc/self/fd/{name}"
        if not (os.path.islink(link) and os.readlink(link).startswith("socket:")):
            continue
        with socket.socket(fileno=os.dup(int(name))) as sock:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(int(name))
    return found


def close_listener(descriptor: int) -> None:
    """As a library does that closes what it takes for its own."""
    os.close(descriptor)


def replace_listener(descriptor: int) -> None:
    """As ``dup2`` onto a wrong number does."""
    with socket.socket(socket.AF_UNIX) as other:
        os.dup2(other.fileno(), descriptor)


def shut_listener_down(descriptor: int) -> None:
    """It can be polled and never gives a connection again."""
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.shutdown(socket.SHUT_RDWR)


class InterruptedFromOutsideError(BaseException):
    """An exception that no server expects."""


def interrupt_server(_: int) -> None:
    """An exception that comes from outside into the thread that serves."""
    (thread,) = [each for each in threading.enumerate() if each.name == "plugin server"]
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(InterruptedFromOutsideError)
    )


ENDS = [close_listener, replace_listener, shut_listener_down, interrupt_server]


@pytest.fixture(params=[APP, ASYNC_APP], ids=["threads", "loop"])
def app(request: pytest.FixtureRequest) -> Any:
    """The app, for each end."""
    return request.param


@pytest.fixture(params=["unix", "tcp"])
def server(request: pytest.FixtureRequest, app: Any, short_path: Path) -> PluginServer:
    """A server, not started yet, whose socket or spec is in ``short_path``."""
    if request.param == "unix":
        return plugin_server_unix(app, "echo", sockets_path=str(short_path), drain=1.0)
    return plugin_server_tcp(app, "echo", specs_path=str(short_path), drain=1.0)


def end_when_it_serves(end: Callable[[int], None], directory: Path) -> threading.Thread:
    """Have the server ended once its socket or spec is there; none but it listens here."""

    def act() -> None:
        ends = time.monotonic() + WAIT
        while not list(directory.iterdir()) and time.monotonic() < ends:
            time.sleep(0.01)
        time.sleep(0.1)
        (descriptor,) = listening()
        end(descriptor)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.parametrize("end", ENDS)
def test_run_raises_and_cleans_up_after_the_server_ended_by_itself(
    end: Callable[[int], None], server: PluginServer, short_path: Path
) -> None:
    """No socket and no spec is left of a plugin that is not served any more."""
    threads = threading.active_count()
    killer = end_when_it_serves(end, short_path)
    began = time.monotonic()

    with pytest.raises(PluginError, match=r"^the server at .* has ended by itself: "):
        server.run()

    assert time.monotonic() - began < WAIT
    killer.join()
    assert list(short_path.iterdir()) == []
    assert threads_soon(threads) <= threads


@pytest.mark.parametrize("serve", [serve_unix, serve_tcp])
def test_serve_unix_and_serve_tcp_raise_after_the_server_ended_by_itself(
    serve: Callable[..., None], app: Any, short_path: Path
) -> None:
    """A program that serves then ends with a traceback and an exit status other than 0."""
    where = {"sockets_path" if serve is serve_unix else "specs_path": str(short_path)}
    killer = end_when_it_serves(close_listener, short_path)

    with pytest.raises(PluginError, match="its socket no longer listens"):
        serve(app, "echo", drain=1.0, **where)

    killer.join()
    assert list(short_path.iterdir()) == []


def test_running_calls_may_end_after_the_server_ended_by_itself(app: Any, short_path: Path) -> None:
    """Running calls have the drain time to end, as at a normal stop."""
    server = plugin_server_unix(app, "echo", sockets_path=str(short_path), drain=WAIT)
    server.start()
    with dial(server.addr) as caller:
        caller.sendall(post("Echo.Say", b'{"Text":"hello"}')[:-1])
        killer = end_when_it_serves(close_listener, short_path)

        def finish() -> None:
            time.sleep(0.8)
            caller.sendall(b"}")

        finisher = threading.Thread(target=finish)
        finisher.start()
        with pytest.raises(PluginError):
            server.run()
        assert answer(caller).endswith(b'{"Said":"hello"}\n')
        finisher.join()
        killer.join()


def test_run_returns_without_an_error_when_the_server_is_stopped(server: PluginServer) -> None:
    """A stop by another thread does not count as a server that ended by itself."""
    stopper = threading.Timer(0.2, server.stop)
    stopper.start()

    server.run()

    stopper.join()


@pytest.mark.parametrize("drain", [-1, -0.1, float("nan"), float("inf"), 1e20])
def test_a_drain_time_that_is_not_a_number_of_seconds_is_refused(
    drain: float, short_path: Path
) -> None:
    """``ValueError`` is raised before a socket is made."""
    with pytest.raises(ValueError, match="drain must be a number of seconds, 0 or more, not"):
        plugin_server_unix(APP, "echo", sockets_path=str(short_path), drain=drain)
    with pytest.raises(ValueError, match="drain must be a number of seconds, 0 or more, not"):
        serve_tcp(APP, "echo", specs_path=str(short_path), drain=drain)
    assert list(short_path.iterdir()) == []
