"""The life of a plugin server from start to stop, without a socket."""

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from moby_plugins import InvalidPluginNameError
from moby_plugins.app.plugin_server import HTTPServer, PluginServer
from moby_plugins.domain.http import App, Request, Response
from moby_plugins.serving import (
    PluginApp,
    plugin_server_tcp,
    plugin_server_unix,
    serve_tcp,
    serve_unix,
)


def app(request: Request) -> Response:
    """A plugin that is never called here."""
    raise AssertionError(request)


class Underneath:
    """The HTTP server of a plugin server, which records its calls in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.started = threading.Event()

    def listen(self, served: App) -> tuple[HTTPServer, str, Callable[[], None]]:
        assert served is app
        self.events.append("listen")
        return self, "unix:///run/x.sock", lambda: self.events.append("withdraw")

    def start(self) -> None:
        self.events.append("start")
        self.started.set()

    def stop(self, drain: float) -> None:
        self.events.append(f"stop {drain}")

    def cut(self) -> None:
        self.events.append("cut")


@pytest.fixture
def underneath() -> Underneath:
    """The server underneath, and what it was told."""
    return Underneath()


WHOLE_LIFE = ["listen", "start", "withdraw", "stop 2.5"]


def test_a_server_does_not_listen_before_it_is_started(underneath: Underneath) -> None:
    """Reading the address of a server that is not started raises a RuntimeError."""
    server = PluginServer(app, underneath.listen)

    with pytest.raises(
        RuntimeError, match=r"^the server has no address before it is started: call start"
    ):
        _ = server.addr
    assert underneath.events == []


def test_the_socket_is_removed_before_the_server_stops(underneath: Underneath) -> None:
    """Hosts do not find a plugin that is stopping."""
    with PluginServer(app, underneath.listen, drain=2.5) as server:
        assert server.addr == "unix:///run/x.sock"

    assert underneath.events == WHOLE_LIFE


def test_start_and_stop_may_be_repeated(underneath: Underneath) -> None:
    """A second ``start`` and a second ``stop`` have no effect."""
    server = PluginServer(app, underneath.listen, drain=2.5)

    for act in (server.start, server.start, server.stop, server.stop):
        act()

    assert underneath.events == WHOLE_LIFE


def test_a_server_that_was_never_started_can_be_stopped(underneath: Underneath) -> None:
    """Starting a server that was stopped raises a RuntimeError."""
    server = PluginServer(app, underneath.listen)
    server.stop()

    told = r"^a stopped server cannot be started again: make a new one$"
    with pytest.raises(RuntimeError, match=told):
        server.start()
    assert underneath.events == []


def test_run_ends_after_request_stop(underneath: Underneath) -> None:
    """``request_stop`` ends ``run`` even if it is called first."""
    server = PluginServer(app, underneath.listen, drain=2.5)

    server.request_stop()
    server.run()

    assert underneath.events == WHOLE_LIFE


def test_run_ends_when_another_thread_stops_the_server(underneath: Underneath) -> None:
    """``stop`` removes the socket and stops the server once, and ``run`` returns."""
    server = PluginServer(app, underneath.listen, drain=2.5)
    runner = threading.Thread(target=server.run)
    runner.start()
    underneath.started.wait(5)

    server.stop()
    runner.join(5)

    assert not runner.is_alive()
    assert underneath.events == WHOLE_LIFE


def test_only_a_stop_can_be_cut_short(underneath: Underneath) -> None:
    """Before that, and before the start, calls are not waited for."""

    class Cut(Underneath):
        def stop(self, drain: float) -> None:
            super().stop(drain)
            server.cut_off()

    underneath = Cut()
    server = PluginServer(app, underneath.listen, drain=2.5)
    server.cut_off()
    server.start()
    server.cut_off()
    server.stop()

    assert underneath.events == [*WHOLE_LIFE, "cut"]


def test_a_second_stop_waits_for_the_first(underneath: Underneath) -> None:
    """When any ``stop`` returns, the server has stopped."""
    draining, over = threading.Event(), threading.Event()
    order: list[str] = []

    class Slow(Underneath):
        def stop(self, drain: float) -> None:
            draining.set()
            over.wait(5)
            order.append("over")

    server = PluginServer(app, Slow().listen)
    server.start()
    first = threading.Thread(target=server.stop)

    def stop_again() -> None:
        server.stop()
        order.append("second")

    second = threading.Thread(target=stop_again)
    first.start()
    draining.wait(5)

    second.start()
    over.set()
    first.join()
    second.join()

    assert order == ["over", "second"]


def test_a_start_that_fails_half_way_removes_the_socket_again() -> None:
    """A server that cannot start leaves no socket and no spec file."""

    class Failing(Underneath):
        def start(self) -> None:
            raise OSError("no threads")

    failing = Failing()
    server = PluginServer(app, failing.listen, drain=2.5)

    with pytest.raises(OSError, match="no threads"), server:
        raise AssertionError("never reached")

    assert failing.events == ["listen", "withdraw"]


class Metered:
    """Metrics that note when they are stopped."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def start(self, _: Callable[[], bool]) -> None:
        """Start nothing."""

    def stop(self) -> None:
        self._events.append("metrics stop")


class Stuck(Underneath):
    """A server whose file cannot be removed."""

    def listen(self, served: App) -> tuple[HTTPServer, str, Callable[[], None]]:
        super().listen(served)

        def withdraw() -> None:
            raise PermissionError("not mine")

        return self, "unix:///run/x.sock", withdraw


def test_a_server_stops_even_if_its_socket_cannot_be_removed() -> None:
    """The server and its metrics are stopped first; then the error is raised."""
    stuck = Stuck()
    metrics = Metered(stuck.events)

    with (
        pytest.raises(PermissionError, match="not mine"),
        PluginServer(app, stuck.listen, drain=2.5, metrics=metrics) as server,
    ):
        pass
    server.stop()

    assert stuck.events == ["listen", "start", "stop 2.5", "metrics stop"]


def test_a_failed_start_stops_the_metrics_even_if_the_socket_cannot_be_removed() -> None:
    """The error of removing the file is raised; that of the start is its context."""

    class Failing(Stuck):
        def start(self) -> None:
            raise OSError("no threads")

    failing = Failing()
    with pytest.raises(PermissionError, match="not mine") as caught:
        PluginServer(app, failing.listen, metrics=Metered(failing.events)).start()

    assert isinstance(caught.value.__context__, OSError)
    assert failing.events == ["listen", "metrics stop"]


@pytest.mark.parametrize("drain", [-1, math.nan, 10**400, "5", None, True, [], "x" * 10_000])
def test_an_invalid_drain_time_is_an_error(drain: Any, underneath: Underneath) -> None:
    """The ValueError is raised when the server is made; its message has a bounded length."""
    with pytest.raises(
        ValueError, match=r"^drain must be a number of seconds, 0 or more"
    ) as caught:
        PluginServer(app, underneath.listen, drain=drain)

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("bound", [0, -1, -(10**400)])
@pytest.mark.parametrize("argument", ["max_request_bytes", "max_inflight_bytes"])
@pytest.mark.parametrize("make", [plugin_server_unix, plugin_server_tcp, serve_unix, serve_tcp])
def test_a_server_with_a_size_limit_below_1_byte_is_refused(
    make: Any, argument: str, bound: int
) -> None:
    """The ValueError names the argument, and is raised before there is a socket."""
    with pytest.raises(ValueError, match=f"^{argument} must be a positive whole number, not "):
        make(PluginApp(), "a", **{argument: bound})


@pytest.mark.parametrize("make", [plugin_server_unix, plugin_server_tcp])
@pytest.mark.parametrize("name", [5, None, "", "a/b", b"a"])
def test_a_server_with_an_invalid_plugin_name_is_refused(make: Any, name: object) -> None:
    """Numbers, None, bytes, the empty string and a path are not plugin names."""
    with pytest.raises(InvalidPluginNameError):
        make(PluginApp(), name)
