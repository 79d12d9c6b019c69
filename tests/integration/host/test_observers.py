"""Observers at both ends of real sockets: one trace, and equal reports of a call."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from moby_plugins import (
    OpenTelemetryObserver,
    Settings,
    StatusError,
    new_client,
    new_local_registry,
)
from moby_plugins.ports import CallEnded, RequestEnded
from moby_plugins.serving import PluginApp, plugin_server_unix
from moby_plugins.subsystems import LogDriver, LogEntry, Volume, VolumeDriver
from tests.observers import Notes


class Shelf(VolumeDriver):
    """A plugin with one volume."""

    def list(self) -> list[Volume]:
        return [Volume("books")]

    def remove(self, name: str) -> None:
        raise ValueError(f"{name} is in use")


class Logs(LogDriver):
    """A plugin whose log has two lines."""

    def read_logs(self, info: Any, config: Any) -> Iterator[LogEntry]:
        yield LogEntry("stdout", 0, b"one")
        yield LogEntry("stdout", 0, b"two")


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """What is exported."""
    return InMemorySpanExporter()


@pytest.fixture
def observer(spans: InMemorySpanExporter) -> Iterator[OpenTelemetryObserver]:
    """The real SDK, exporting to memory."""
    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    yield OpenTelemetryObserver(tracer_provider=tracers, meter_provider=meters)
    tracers.shutdown()
    meters.shutdown()


def test_a_host_and_a_served_plugin_are_in_one_trace(
    built_in: Settings,
    observer: OpenTelemetryObserver,
    spans: InMemorySpanExporter,
    short_path: Path,
) -> None:
    """The plugin's span of a call or a stream is a child of the host's span."""
    app = PluginApp(Shelf(), Logs(), observers=[observer])
    with (
        plugin_server_unix(app, "shelf", sockets_path=str(short_path)) as server,
        new_client(server.addr, settings=built_in, observers=[observer]) as client,
    ):
        VolumeDriver(client).list()
        with client.stream("LogDriver.ReadLogs", {"Info": {}}) as stream:
            assert b"two" in b"".join(stream)

    told = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
    served = [span for span in told.values() if span.kind.name == "SERVER"]
    assert [span.name for span in served] == [
        "POST /VolumeDriver.List",
        "POST /LogDriver.ReadLogs",
    ]
    for span in served:
        assert span.parent is not None
        called = told[span.parent.span_id]
        assert (called.name, called.kind.name) == (span.name, "CLIENT")
        assert called.context is not None
        assert span.context is not None
        assert called.context.trace_id == span.context.trace_id


def test_both_ends_of_a_handshake_are_in_one_trace(
    built_in: Settings,
    observer: OpenTelemetryObserver,
    spans: InMemorySpanExporter,
    short_path: Path,
) -> None:
    """The plugin's span of ``Plugin.Activate`` is a child of the registry's span of the call."""
    settings = Settings(sockets_path=str(short_path), transports=built_in.transports)
    app = PluginApp(Shelf(), observers=[observer])
    with (
        plugin_server_unix(app, "shelf", sockets_path=str(short_path)),
        new_local_registry(settings, observers=[observer]) as registry,
    ):
        registry.get_all("VolumeDriver")

    served, called, activation = spans.get_finished_spans()
    assert activation.name == "activate shelf"
    assert {served.name, called.name} == {"POST /Plugin.Activate"}
    assert served.parent is not None
    assert called.context is not None
    assert served.parent.span_id == called.context.span_id


def test_observers_at_both_ends_report_the_same_of_a_call(
    built_in: Settings, short_path: Path
) -> None:
    """Method, status and numbers of bytes are equal, for calls that succeed and that fail."""
    host, plugin = Notes(), Notes()
    app = PluginApp(Shelf(), observers=[plugin])
    with (
        plugin_server_unix(app, "shelf", sockets_path=str(short_path)) as server,
        new_client(server.addr, settings=built_in, observers=[host]) as client,
    ):
        client.call("VolumeDriver.List", {})
        client.call("VolumeDriver.List", {})
        with pytest.raises(StatusError):
            client.call("VolumeDriver.Remove", {"Name": "books"})

    ends = list(zip(host.of(CallEnded), plugin.of(RequestEnded), strict=True))
    for called, served in ends:
        assert called.started.method == served.started.route
        assert called.status == served.status
        assert called.received_bytes == served.sent_bytes
        assert called.started.sent_bytes == served.started.received_bytes
    assert [called.new_connection for called, _ in ends] == [True, False, False]
    assert isinstance(ends[-1][1].error, ValueError)
