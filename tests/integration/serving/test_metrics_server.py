"""Metrics and health beside a served plugin, over real sockets: from the start to the last call."""

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from moby_plugins import PrometheusObserver, SpecError, new_client
from moby_plugins.adapters.server.scraping import MAX_AT_ONCE
from moby_plugins.aio import AsyncPluginApp, serve_unix
from moby_plugins.serving import MetricsServer, PluginApp, plugin_server_tcp, plugin_server_unix
from moby_plugins.subsystems import Volume, VolumeDriver

SECONDS = 20.0


class Shelf(VolumeDriver):
    """Returns from ``list`` when the test allows it."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def list(self) -> list[Volume]:
        self.called.set()
        self.may_end.wait(SECONDS)
        return []


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of its own."""
    return CollectorRegistry()


def ask(
    metrics: MetricsServer, path: str, verb: str = "GET", **headers: str
) -> tuple[int, str, HTTPResponse]:
    """What the server answers: the status, and the text."""
    connection = HTTPConnection(metrics.url.removeprefix("http://"), timeout=SECONDS)
    try:
        connection.request(verb, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), response
    finally:
        connection.close()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Iterator[MetricsServer]:
    """A server that says that the plugin is served."""
    server = MetricsServer("0", registry=registry)
    server.start(lambda: True)
    yield server
    server.stop()


def test_the_calls_of_a_plugin_can_be_scraped_by_prometheus(
    registry: CollectorRegistry, short_path: Path
) -> None:
    """Metrics are served on the loopback interface, and not on the plugin's own socket."""
    metrics = MetricsServer("0", registry=registry)
    app = PluginApp(Shelf(), observers=[PrometheusObserver(registry)])
    with plugin_server_unix(app, "shelf", sockets_path=str(short_path), metrics=metrics) as server:
        with new_client(server.addr) as client:
            client.call("VolumeDriver.List", {})
        status, text, response = ask(metrics, "/metrics")

        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(short_path / "shelf.sock"))
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            on_the_socket = sock.recv(1 << 16)

    assert status == 200
    assert str(response.getheader("Content-Type")).startswith("text/plain; version=")
    assert metrics.url.startswith("http://127.0.0.1:")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    [sample] = [
        each for each in families["moby_plugins_requests"].samples if each.name.endswith("_total")
    ]
    assert sample.labels == {"method": "VolumeDriver.List", "status": "200", "error": ""}
    assert sample.value == 1.0
    assert b" 405 " in on_the_socket.partition(b"\r\n")[0]
    assert b"moby_plugins_" not in on_the_socket


def test_health_is_503_while_a_stopping_plugin_ends_its_calls(
    registry: CollectorRegistry, short_path: Path
) -> None:
    """``/health`` is 200 while the plugin is served, and refuses connections after the stop."""
    shelf, metrics = Shelf(), MetricsServer("0", registry=registry)
    server = plugin_server_unix(
        PluginApp(shelf), "shelf", sockets_path=str(short_path), metrics=metrics, drain=SECONDS
    )
    server.start()
    assert ask(metrics, "/health")[:2] == (200, "ok\n")

    shelf.may_end.clear()
    shelf.called.clear()
    with new_client(server.addr) as client:
        calling = threading.Thread(target=client.call, args=("VolumeDriver.List", {}))
        calling.start()
        assert shelf.called.wait(SECONDS)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while ask(metrics, "/health")[0] == 200:
            assert stopping.is_alive()
        assert ask(metrics, "/health")[:2] == (
            503,
            "the plugin is not served: it is starting or stopping\n",
        )
        shelf.may_end.set()
        stopping.join(SECONDS)
        calling.join(SECONDS)

    with pytest.raises(ConnectionRefusedError):
        ask(metrics, "/health")


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda: True, (200, "ok\n")),
        (lambda: "fine", (200, "ok\n")),
        (lambda: False, (503, "the plugin's health check reports a failure\n")),
        (lambda: None, (503, "the plugin's health check reports a failure\n")),
        (lambda: 1 / 0, (503, "the check of the plugin's health failed\n")),
        (lambda: sys.exit(3), (503, "the check of the plugin's health failed\n")),
    ],
)
def test_the_health_check_of_a_plugin_decides_the_status_of_health(
    registry: CollectorRegistry, check: Any, told: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A check that raises is logged, and the response does not show the exception."""
    metrics = MetricsServer("0", registry=registry, check=check)
    metrics.start(lambda: True)
    try:
        assert ask(metrics, "/health")[:2] == told
    finally:
        metrics.stop()
    assert ("the check of the plugin's health failed" in caplog.text) == ("failed" in told[1])


def test_the_metrics_server_serves_only_get_and_head_of_its_two_paths(
    metrics: MetricsServer,
) -> None:
    """Other paths, other methods and requests of web pages are refused; ``HEAD`` has no body."""
    assert ask(metrics, "/")[0] == 404
    assert ask(metrics, "/metrics/x")[0] == 404
    status, text, response = ask(metrics, "/metrics", "POST")
    assert (status, text, response.getheader("Allow")) == (405, "Method Not Allowed\n", "GET, HEAD")
    assert ask(metrics, "/metrics", Origin="http://evil.example")[0] == 403
    assert ask(metrics, "/health?x=1")[0] == 200
    status, text, response = ask(metrics, "/metrics", "HEAD")
    assert (status, text) == (200, "")
    assert response.getheader("Content-Length") is not None


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_metrics_collector_that_raises_gives_status_500_and_is_logged(
    metrics: MetricsServer,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    """A collector is the program's own code, so the metrics server goes on."""

    class Broken:
        def collect(self) -> list[Any]:
            raise error

        def describe(self) -> list[Any]:
            return []

    registry.register(Broken())
    assert ask(metrics, "/metrics")[0] == 500
    assert ask(metrics, "/health")[0] == 200
    assert "the metrics could not be collected" in caplog.text


def test_silent_clients_of_the_metrics_server_make_room_for_a_request(
    metrics: MetricsServer,
) -> None:
    """The number of silent connections is bounded; for a new one the oldest is closed."""
    host, port = metrics.url.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port)), timeout=5.0) for _ in range(MAX_AT_ONCE)]
    try:
        for first in (0, 1):
            assert ask(metrics, "/health")[0] == 200
            assert silent[first].recv(1) == b""
            silent.append(socket.create_connection((host, int(port)), timeout=5.0))
    finally:
        for each in silent:
            each.close()


class Held:
    """A health check or a collector that returns when the test allows it, and its requests."""

    def __init__(self, registry: CollectorRegistry, path: str) -> None:
        self.entered, self.may_end = threading.Semaphore(0), threading.Event()
        self.path, self.other = path, {"/health": "/metrics", "/metrics": "/health"}[path]
        self.asking: list[socket.socket] = []
        is_check = path == "/health"
        self.metrics = MetricsServer("0", registry=registry, check=self if is_check else None)
        if not is_check:
            registry.register(self)
        self.metrics.start(lambda: True)

    def __call__(self) -> bool:
        self.entered.release()
        return self.may_end.wait(SECONDS)

    def collect(self) -> list[Any]:
        """Collect nothing, as late."""
        self()
        return []

    def describe(self) -> list[Any]:
        """Collect nothing to find out the names."""
        return []

    def dial(self) -> socket.socket:
        """A connection, closed at the end."""
        host, port = self.metrics.url.removeprefix("http://").split(":")
        self.asking.append(socket.create_connection((host, int(port)), timeout=SECONDS))
        return self.asking[-1]

    def fill(self) -> None:
        """Take all places of the path."""
        for _ in range(MAX_AT_ONCE):
            self.dial().sendall(f"GET {self.path} HTTP/1.0\r\n\r\n".encode())
            assert self.entered.acquire(timeout=SECONDS)

    def end(self) -> None:
        """Let all go."""
        self.may_end.set()
        for each in self.asking:
            each.close()
        self.metrics.stop()


@pytest.fixture(params=["/health", "/metrics"])
def held(request: pytest.FixtureRequest, registry: CollectorRegistry) -> Iterator[Held]:
    """A health check, or a collector."""
    made = Held(registry, request.param)
    yield made
    made.end()


def test_running_requests_of_the_metrics_server_are_not_closed_for_new_ones(held: Held) -> None:
    """One more request of the same path gets status 503; the other path is still served."""
    held.fill()
    for _ in range(2 * MAX_AT_ONCE):
        assert ask(held.metrics, held.other)[0] == 200
        assert ask(held.metrics, held.path)[:2] == (
            503,
            f"{MAX_AT_ONCE} requests of {held.path} are being answered already\n",
        )
    held.may_end.set()

    assert [each.recv(12) for each in held.asking] == [b"HTTP/1.0 200"] * MAX_AT_ONCE
    assert ask(held.metrics, held.path)[0] == 200


def test_silent_clients_of_the_metrics_server_block_neither_path(held: Held) -> None:
    """This holds also while one path has as many running requests as it may have."""
    held.fill()
    silent = [held.dial() for _ in range(MAX_AT_ONCE)]

    assert ask(held.metrics, held.other)[0] == 200
    assert ask(held.metrics, held.path)[0] == 503
    assert silent[0].recv(1) == b""


def test_a_metrics_server_that_stops_closes_its_connections_at_once(held: Held) -> None:
    """This cuts off running requests and requests that have not come whole."""
    held.fill()
    silent = held.dial()
    silent.sendall(b"GET /hea")

    held.metrics.stop()

    for each in held.asking:
        each.settimeout(5.0)
        with contextlib.suppress(ConnectionResetError):
            assert each.recv(1) == b""


def test_a_metrics_server_cannot_be_shared_by_two_plugins(
    registry: CollectorRegistry, short_path: Path
) -> None:
    """A second plugin gets ``RuntimeError``; the server is free again after the first stops."""
    metrics, path = MetricsServer("0", registry=registry), str(short_path)
    with plugin_server_unix(PluginApp(Shelf()), "a", sockets_path=path, metrics=metrics):
        other = plugin_server_unix(PluginApp(Shelf()), "b", sockets_path=path, metrics=metrics)
        with pytest.raises(RuntimeError, match="a MetricsServer is for one server"):
            other.start()
        other.stop()
        with pytest.raises(RuntimeError, match="a MetricsServer is for one server"):
            asyncio.run(serve_unix(AsyncPluginApp(), "b", sockets_path=path, metrics=metrics))
        assert ask(metrics, "/health")[0] == 200
    with plugin_server_unix(PluginApp(Shelf()), "b", sockets_path=path, metrics=metrics):
        assert ask(metrics, "/health")[0] == 200


def test_a_metrics_port_that_is_taken_keeps_the_plugin_from_starting(
    metrics: MetricsServer, registry: CollectorRegistry, short_path: Path
) -> None:
    """``start`` raises ``SpecError``, and writes no spec of the plugin."""
    second = MetricsServer(metrics.url.removeprefix("http://"), registry=registry)
    server = plugin_server_tcp(
        PluginApp(Shelf()), "shelf", specs_path=str(short_path), metrics=second
    )

    with pytest.raises(SpecError, match=r"metrics: cannot listen at 127.0.0.1"):
        server.start()
    assert list(short_path.iterdir()) == []
    server.stop()


def test_a_plugin_that_cannot_start_leaves_no_metrics_server_running(
    registry: CollectorRegistry, short_path: Path
) -> None:
    """The port of the metrics is free again after the plugin's ``SpecError``."""
    metrics = MetricsServer("0", registry=registry)
    missing = str(short_path / ("x" * 150))
    server = plugin_server_unix(PluginApp(Shelf()), "shelf", sockets_path=missing, metrics=metrics)

    with pytest.raises(SpecError):
        server.start()
    with pytest.raises(ConnectionRefusedError):
        ask(metrics, "/health")


@pytest.mark.parametrize(
    ("addr", "listens"),
    [("0", "127.0.0.1"), (":0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")],
)
def test_the_metrics_server_listens_on_the_loopback_interface_by_default(
    registry: CollectorRegistry, addr: str, listens: str
) -> None:
    """An address that is only a port is a port of 127.0.0.1."""
    metrics = MetricsServer(addr, registry=registry)
    with pytest.raises(RuntimeError, match="no address before"):
        assert metrics.url
    metrics.start(lambda: True)
    try:
        assert metrics.url.rpartition(":")[0] == f"http://{listens}"
        assert ask(metrics, "/health")[0] == 200
    finally:
        metrics.stop()
        metrics.stop()


@pytest.mark.parametrize("addr", ["", "x", "host:", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_an_invalid_address_of_a_metrics_server_is_refused_at_its_start(
    registry: CollectorRegistry, addr: str
) -> None:
    """The ``SpecError`` names the form that an address must have."""
    with pytest.raises(SpecError, match=r"metrics: .* is not of the form HOST:PORT"):
        MetricsServer(addr, registry=registry).start(lambda: True)


@pytest.mark.parametrize("wrong", [{"addr": 9323}, {"check": 5}])
def test_an_argument_of_the_wrong_type_for_metrics_is_refused(wrong: dict[str, Any]) -> None:
    """The ``TypeError`` names the argument."""
    with pytest.raises(TypeError, match=rf"{next(iter(wrong))} must be"):
        MetricsServer(**wrong)
    with pytest.raises(TypeError, match="metrics must be an object with start"):
        plugin_server_unix(PluginApp(Shelf()), "x", metrics=5)  # type: ignore[arg-type]
