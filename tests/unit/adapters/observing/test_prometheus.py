"""What the Prometheus observer exports through the real client library."""

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from moby_plugins import (
    DriverError,
    PluginNotFoundError,
    PrometheusObserver,
    Request,
    Response,
    Settings,
    StatusError,
    new_client,
)
from moby_plugins.adapters.observing.attributes import MAX_METHODS, MAX_PLUGINS, OTHER
from moby_plugins.adapters.observing.prometheus import shared
from moby_plugins.ports import ActivationFailed, HandlerFailed, RetryScheduled
from moby_plugins.serving import PluginApp, observed
from moby_plugins.subsystems import LogDriver, LogEntry, Volume, VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    MemoryTransport,
    drips,
    hangs,
    refused,
    script,
    status,
)

ADDR = "unix:///shelf.sock"
MANIFEST = {"Implements": ["VolumeDriver"]}


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of its own."""
    return CollectorRegistry()


def values(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric by the values of their labels, in the alphabet of their names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == f"moby_plugins_{name}"
    }


def call(registry: CollectorRegistry, replies: Any, *methods: str) -> None:
    """Call the plugin in memory; what fails has failed."""
    clock = FakeClock()
    settings = Settings(transports={"unix": MemoryTransport(replies, clock=clock).connect})
    observers = [PrometheusObserver(registry)]
    with new_client(ADDR, settings=settings, clock=clock, observers=observers) as client:
        for method in methods:
            try:
                client.call(method, {"a": 1})
            except StatusError:
                continue


def test_calls_are_counted_and_timed(registry: CollectorRegistry) -> None:
    """They are counted by plugin, method, status and error; each attempt counts."""
    replies = {
        "M.x": hangs(2, then={}),
        "M.y": status(409, "no"),
        "M.z": script(refused(), {}),
    }
    call(registry, replies, "M.x", "M.x", "M.y", "M.z")

    assert values(registry, "calls_total") == {
        ("", "M.x", "", "200"): 2.0,
        ("StatusError", "M.y", "", "409"): 1.0,
        ("TransportError", "M.z", "", ""): 1.0,
        ("", "M.z", "", "200"): 1.0,
    }
    assert values(registry, "call_seconds_sum")["M.x", ""] == 4.0
    assert values(registry, "call_seconds_count")["M.z", ""] == 2.0
    assert values(registry, "retries_total") == {("TransportError", "M.z", ""): 1.0}
    assert values(registry, "calls_running") == {("",): 0.0}
    assert values(registry, "call_sent_bytes_total") == {("",): 32.0}
    assert values(registry, "call_received_bytes_total") == {("",): 22.0}


def test_a_stream_is_counted_as_running_until_its_end(registry: CollectorRegistry) -> None:
    """Its seconds are counted then."""
    clock = FakeClock()
    settings = Settings(
        transports={"unix": MemoryTransport({"M.x": drips(b"abc")}, clock=clock).connect}
    )
    observers = [PrometheusObserver(registry)]
    with new_client(ADDR, settings=settings, clock=clock, observers=observers) as client:
        with client.stream("M.x") as stream:
            assert values(registry, "calls_running") == {("",): 1.0}
            assert b"".join(stream) == b"abc"
        assert values(registry, "calls_running") == {("",): 0.0}

    assert values(registry, "call_seconds_sum") == {("M.x", ""): 3.0}


def test_activated_dropped_and_missing_plugins_are_counted(registry: CollectorRegistry) -> None:
    """So are the failures of handlers."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with MemoryRegistry(observers=[PrometheusObserver(registry)]) as plugins:
        plugins.add("shelf", {"Plugin.Activate": MANIFEST})
        plugins.handle("VolumeDriver", fail)
        plugins.get("shelf")
        assert values(registry, "active_plugins") == {("shelf",): 1.0}
        plugins.invalidate("shelf")
        with pytest.raises(PluginNotFoundError):
            plugins.get("nothing")

    assert values(registry, "active_plugins") == {("shelf",): 0.0}
    assert values(registry, "activations_total") == {
        ("", "shelf"): 1.0,
        ("PluginNotFoundError", "nothing"): 1.0,
    }
    assert values(registry, "activation_seconds_sum")["nothing",] == 15.0
    assert values(registry, "handler_failures_total") == {("shelf",): 1.0}


def test_errors_in_responses_with_status_200_are_counted(registry: CollectorRegistry) -> None:
    """A metric of their own counts them, since such calls themselves succeeded."""
    settings = Settings(
        transports={"unix": MemoryTransport({"VolumeDriver.Get": {"Err": "no"}}).connect}
    )
    client = new_client(ADDR, settings=settings, observers=[PrometheusObserver(registry)])
    with client, pytest.raises(DriverError):
        VolumeDriver(client).get("books")

    assert values(registry, "driver_errors_total") == {("VolumeDriver.Get", ""): 1.0}


class Shelf(VolumeDriver):
    """A plugin that fails to remove a volume."""

    def list(self) -> list[Volume]:
        return []

    def remove(self, name: str) -> None:
        raise ZeroDivisionError(name)


class Logs(LogDriver):
    """A log of two lines."""

    def read_logs(self, info: Any, config: Any) -> Iterator[LogEntry]:
        yield LogEntry("stdout", 0, b"one")
        yield LogEntry("stdout", 0, b"two")


def test_served_requests_are_counted_and_timed(registry: CollectorRegistry) -> None:
    """They are counted by method, status and the plugin's exception."""
    app = PluginApp(Shelf(), observers=[PrometheusObserver(registry)])
    app(Request("VolumeDriver.List", b"{}"))
    app(Request("VolumeDriver.Remove", b'{"Name":"a"}'))

    assert values(registry, "requests_total") == {
        ("", "VolumeDriver.List", "200"): 1.0,
        ("ZeroDivisionError", "VolumeDriver.Remove", "500"): 1.0,
    }
    assert values(registry, "request_seconds_count") == {
        ("VolumeDriver.List",): 1.0,
        ("VolumeDriver.Remove",): 1.0,
    }
    assert values(registry, "requests_running") == {
        ("VolumeDriver.List",): 0.0,
        ("VolumeDriver.Remove",): 0.0,
    }
    assert values(registry, "request_received_bytes_total") == {(): 14.0}


def test_hosts_that_hang_up_are_counted(registry: CollectorRegistry) -> None:
    """One may hang up in the middle of a stream, for example."""
    response = PluginApp(Logs(), observers=[PrometheusObserver(registry)])(
        Request("LogDriver.ReadLogs", b"{}")
    )
    response.body.read(1)
    response.body.close()

    assert values(registry, "hang_ups_total") == {("LogDriver.ReadLogs",): 1.0}
    assert values(registry, "request_sent_bytes_total") == {(): 1.0}


def test_requests_for_unknown_methods_make_only_one_metric_series(
    registry: CollectorRegistry,
) -> None:
    """Otherwise a host could make any number of series."""
    app = PluginApp(Shelf(), observers=[PrometheusObserver(registry)])
    for number in range(50):
        app(Request(f"Evil.M{number}"))

    assert values(registry, "requests_total") == {("", OTHER, "404"): 50.0}


def test_names_of_plugins_and_methods_make_a_bounded_number_of_series(
    registry: CollectorRegistry,
) -> None:
    """The first names are counted by themselves, and all later ones as ``OTHER``."""
    observer = PrometheusObserver(registry)
    for number in range(MAX_PLUGINS + 5):
        observer.handler_failed(HandlerFailed(f"p{number}", print, ValueError()))
    for number in range(MAX_METHODS + 5):
        error = PluginNotFoundError("p0")
        observer.retry_scheduled(RetryScheduled("p0", f"M.x{number}", 1, error, 1.0))

    failures, retries = (
        values(registry, "handler_failures_total"),
        values(registry, "retries_total"),
    )
    assert (len(failures), len(retries)) == (MAX_PLUGINS + 1, MAX_METHODS + 1)
    assert failures[OTHER,] == 5.0
    assert retries["PluginNotFoundError", OTHER, "p0"] == 5.0


def test_classes_of_errors_make_a_bounded_number_of_series(registry: CollectorRegistry) -> None:
    """A program's own class is counted as the class of Python that it is derived from."""

    def app(request: Request) -> Response:
        raise type(request.method, (OSError,), {})("no")

    served = observed(app, [PrometheusObserver(registry)])
    for name in ("A", "B", "C"):
        with pytest.raises(OSError, match=r"^no$"):
            served(Request(name))

    assert values(registry, "requests_total") == {("OSError", OTHER, "500"): 3.0}


def test_labels_are_printable_short_and_without_passwords(registry: CollectorRegistry) -> None:
    """This holds for any name of a plugin that a program asks for."""
    names = ["https://ada:secret@host/x", "a\nb", 'q"uote\\', "x" * 5000]
    with MemoryRegistry(observers=[PrometheusObserver(registry)]) as plugins:
        for name in names:
            with pytest.raises(Exception, match="plugin"):
                plugins.get(name)

    labels = {plugin for _, plugin in values(registry, "activations_total")}
    assert len(labels) == 4
    assert all(label.isprintable() and len(label) < 150 for label in labels)
    assert b"secret" not in generate_latest(registry)


def test_names_of_missing_plugins_do_not_use_up_the_labels_of_plugins(
    registry: CollectorRegistry,
) -> None:
    """However many are asked for, a plugin that exists has a label, even if it fails later."""
    observer = PrometheusObserver(registry)
    error = PluginNotFoundError("n", ["/run"])
    for number in range(MAX_PLUGINS + 1):
        observer.retry_scheduled(RetryScheduled(f"n{number}", "Plugin.Activate", 1, error, 1.0))
        observer.activation_failed(ActivationFailed(f"n{number}", error, 1.0))
    with MemoryRegistry(observers=[observer]) as plugins:
        plugins.add("shelf", {"Plugin.Activate": MANIFEST, "VolumeDriver.List": {}})
        plugins.get("shelf").client.call("VolumeDriver.List")
    observer.activation_failed(ActivationFailed("shelf", error, 1.0))

    assert values(registry, "calls_total")["", "VolumeDriver.List", "shelf", "200"] == 1.0
    told = values(registry, "activations_total")
    assert (told["", "shelf"], told["PluginNotFoundError", "shelf"]) == (1.0, 1.0)
    assert told["PluginNotFoundError", "n0"] == told["PluginNotFoundError", OTHER] == 1.0
    assert len(values(registry, "retries_total")) == MAX_PLUGINS + 1


def test_a_prometheus_registry_accepts_only_one_observer(registry: CollectorRegistry) -> None:
    """Two observers would count everything twice; clients share one instead."""
    PrometheusObserver(registry)

    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusObserver(registry)


def test_without_a_registry_the_observer_uses_the_default_one() -> None:
    """Programs export that registry; metrics in another would not be found."""
    shared()

    for given in ((), (None,)):
        with pytest.raises(ValueError, match="Duplicated"):
            PrometheusObserver(*given)


def test_settings_that_name_prometheus_share_one_observer_in_the_process() -> None:
    """It uses the default registry, and counts each call once for all clients and registries."""
    settings = Settings(
        transports={"unix": MemoryTransport({"Named.x": {}}).connect}, observers=["prometheus"] * 2
    )
    for _ in range(2):
        with new_client(ADDR, settings=settings) as client:
            client.call("Named.x")

    assert values(REGISTRY, "calls_total")["", "Named.x", "", "200"] == 2.0
