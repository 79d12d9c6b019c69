"""What the OpenTelemetry observer exports through the real SDK: spans, traces and metrics."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import field, frozen
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from moby_plugins import (
    Client,
    DriverError,
    OpenTelemetryObserver,
    Plugin,
    PluginError,
    PluginNotFoundError,
    Request,
    Response,
    RetryPolicy,
    Settings,
    StatusError,
    TransportError,
    new_client,
)
from moby_plugins.adapters.observing.attributes import MAX_METHODS, MAX_PLUGINS, OTHER
from moby_plugins.aio import AsyncPluginApp, AsyncRequest, AsyncVolumeDriver
from moby_plugins.ports import ActivationFailed, CallEnded, CallStarted, PluginActivated
from moby_plugins.serving import PluginApp, observed
from moby_plugins.subsystems import LogDriver, LogEntry, Volume, VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    MemoryTransport,
    drips,
    refused,
    script,
    status,
)

ADDR = "unix:///run/shelf.sock"
ENDED = CallEnded(CallStarted("p", ADDR, "M.x", 1), 1.0, 200)


@frozen
class Exported:
    """An SDK of its own, and what it has exported."""

    _spans: InMemorySpanExporter = field(factory=InMemorySpanExporter)
    _reader: InMemoryMetricReader = field(factory=InMemoryMetricReader)
    tracers: TracerProvider = field(factory=TracerProvider)
    meters: MeterProvider = field(init=False)

    @meters.default
    def _with_reader(self) -> MeterProvider:
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        return MeterProvider([self._reader])

    def observer(self) -> OpenTelemetryObserver:
        """An observer that exports here."""
        return OpenTelemetryObserver(tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in this order."""
        return list(self._spans.get_finished_spans())

    def of(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The points of a metric: attributes, and a sum or a count."""
        data = self._reader.get_metrics_data()
        return [
            (dict(point.attributes or {}), getattr(point, "value", getattr(point, "count", None)))
            for resource in ([] if data is None else data.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def exported() -> Iterator[Exported]:
    """An SDK for one test."""
    sdk = Exported()
    yield sdk
    sdk.tracers.shutdown()
    sdk.meters.shutdown()


def client(exported: Exported, replies: Any, addr: str = ADDR) -> Client:
    """A client of a plugin in memory."""
    clock = FakeClock()
    connect = MemoryTransport(replies, clock=clock).connect
    settings = Settings(transports={"unix": connect, "tcp": connect})
    return new_client(addr, settings=settings, clock=clock, observers=[exported.observer()])


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Those of the span."""
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int:
    """The id of the span's parent."""
    assert span.parent is not None
    return span.parent.span_id


class Shelf(VolumeDriver):
    """Keeps the span that its code runs in."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def list(self) -> list[Volume]:
        self.spans.append(trace.get_current_span().get_span_context())
        return [Volume("books")]

    def remove(self, name: str) -> None:
        raise StatusError(409, "VolumeDriver.Remove", f"{name} is in use")

    def mount(self, name: str, id: str = "") -> str:
        raise ZeroDivisionError(name)


def test_a_host_and_a_plugin_are_in_one_trace(exported: Exported) -> None:
    """The plugin's span is a child of the host's, and the parent of what its code begins."""
    shelf = Shelf()
    app = PluginApp(shelf, observers=[exported.observer()])
    tracer = exported.tracers.get_tracer("test")
    with client(exported, app) as calling, tracer.start_as_current_span("user"):
        VolumeDriver(calling).list()

    served, called, user = exported.spans
    assert (served.name, served.kind) == ("POST /VolumeDriver.List", SpanKind.SERVER)
    assert (called.name, called.kind) == ("POST /VolumeDriver.List", SpanKind.CLIENT)
    assert len({span.context.trace_id for span in exported.spans}) == 1
    assert parent_of(called) == user.context.span_id
    assert parent_of(served) == called.context.span_id
    assert shelf.spans[0].span_id == served.context.span_id
    assert not trace.get_current_span().get_span_context().is_valid


def test_spans_have_the_attributes_of_the_opentelemetry_conventions(exported: Exported) -> None:
    """They are those for HTTP; the server's address is the path of the socket."""
    app = PluginApp(Shelf(), observers=[exported.observer()])
    with client(exported, app) as calling:
        VolumeDriver(calling).list()

    served, called = exported.spans
    sizes = {
        "http.request.body.size": 3,
        "http.response.body.size": attributes(called)["http.response.body.size"],
    }
    assert attributes(called) == sizes | {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "network.transport": "unix",
        "server.address": "/run/shelf.sock",
        "url.full": "http://plugin.moby.localhost/VolumeDriver.List",
        "url.template": "/VolumeDriver.List",
    }
    assert attributes(served) == sizes | {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/VolumeDriver.List",
        "url.path": "/VolumeDriver.List",
        "url.scheme": "http",
    }
    assert {span.status.status_code for span in exported.spans} == {StatusCode.UNSET}


def test_the_span_of_a_plugin_on_tcp_has_host_and_port_and_no_password(exported: Exported) -> None:
    """They are ``server.address`` and ``server.port``; the URL has no credentials."""
    with client(exported, {"M.x": {}}, "tcp://ada:secret@shelf.example:9000") as calling:
        calling.call("M.x")

    [span] = exported.spans
    told = attributes(span)
    assert (told["server.address"], told["server.port"]) == ("shelf.example", 9000)
    assert told["url.full"] == "http://shelf.example:9000/M.x"
    assert "secret" not in str(told)


def test_each_attempt_is_a_span_and_a_retry_an_event(exported: Exported) -> None:
    """Spans after the first have a resend count; the events are in the caller's span."""
    tracer = exported.tracers.get_tracer("test")
    calling = client(exported, {"M.x": script(refused(), refused(), {})})
    with calling, tracer.start_as_current_span("user"):
        calling.call("M.x")

    first, second, third, user = exported.spans
    attempts = (first, second, third)
    resent = [attributes(each).get("http.request.resend_count") for each in attempts]
    assert resent == [None, 1, 2]
    assert attributes(first)["error.type"] == "TransportError"
    assert first.status.status_code is StatusCode.ERROR
    assert third.status.status_code is StatusCode.UNSET
    assert [event.name for event in user.events] == ["moby_plugins.retry"] * 2
    assert dict(user.events[1].attributes or {})["moby_plugins.delay"] == 2.0
    assert exported.of("moby_plugins.retries") == [
        (
            {
                "moby_plugins.plugin": "",
                "url.template": "/M.x",
                "error.type": "TransportError",
            },
            2,
        )
    ]


def test_spans_of_failed_calls_have_an_error_type_and_a_status(exported: Exported) -> None:
    """The host's span is an error for 4xx and 5xx, the plugin's span only for 5xx."""
    app = PluginApp(Shelf(), observers=[exported.observer()])
    with client(exported, app) as calling:
        for method, args in (("Remove", {"Name": "a"}), ("Mount", {"Name": "a"}), ("No", {})):
            with pytest.raises(StatusError):
                calling.call(f"VolumeDriver.{method}", args)

    told = {
        (span.kind, attributes(span)["http.response.status_code"]): (
            attributes(span).get("error.type"),
            span.status.status_code,
        )
        for span in exported.spans
    }
    assert told == {
        (SpanKind.CLIENT, 409): ("409", StatusCode.ERROR),
        (SpanKind.CLIENT, 500): ("500", StatusCode.ERROR),
        (SpanKind.CLIENT, 404): ("404", StatusCode.ERROR),
        (SpanKind.SERVER, 409): (None, StatusCode.UNSET),
        (SpanKind.SERVER, 500): ("ZeroDivisionError", StatusCode.ERROR),
        (SpanKind.SERVER, 404): (None, StatusCode.UNSET),
    }


def test_metrics_are_those_of_the_opentelemetry_conventions(exported: Exported) -> None:
    """Durations, sizes and active requests are exported at both ends."""
    app = PluginApp(Shelf(), observers=[exported.observer()])
    with client(exported, app) as calling:
        VolumeDriver(calling).list()
        VolumeDriver(calling).list()

    [(of, count)] = exported.of("http.client.request.duration")
    assert count == 2
    assert of == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "network.transport": "unix",
        "server.address": "/run/shelf.sock",
        "url.template": "/VolumeDriver.List",
    }
    [(of, count)] = exported.of("http.server.request.duration")
    assert count == 2
    assert of == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/VolumeDriver.List",
        "url.scheme": "http",
    }
    for end in ("client", "server"):
        assert [count for _, count in exported.of(f"http.{end}.active_requests")] == [0]
        assert [count for _, count in exported.of(f"http.{end}.request.body.size")] == [2]
        assert [count for _, count in exported.of(f"http.{end}.response.body.size")] == [2]


def test_methods_that_a_host_invents_make_no_metric_series(exported: Exported) -> None:
    """Such requests have no ``http.route``, and their spans are all named POST."""
    app = PluginApp(Shelf(), observers=[exported.observer()])
    for number in range(50):
        app(Request(f"Evil.M{number}" + "x" * 300, b"{}"))

    [(of, count)] = exported.of("http.server.request.duration")
    assert count == 50
    assert "http.route" not in of
    assert {span.name for span in exported.spans} == {"POST"}
    assert max(len(attributes(span)["url.path"]) for span in exported.spans) < 140


def test_the_trace_in_a_request_header_is_continued(exported: Exported) -> None:
    """The name may have capitals, as Go writes it; an invalid header begins a new trace."""
    app = PluginApp(Shelf(), observers=[exported.observer()])
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for headers in ({"Traceparent": parent}, {"traceparent": "nonsense"}, {}):
        app(Request("VolumeDriver.List", b"{}", headers))

    known, *others = exported.spans
    assert format(known.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert format(parent_of(known), "016x") == "b7ad6b7169203331"
    assert [other.parent for other in others] == [None, None]


class AwaitedShelf(AsyncVolumeDriver):
    """Keeps the span that its coroutines run in."""

    def __init__(self) -> None:
        self.spans: list[int] = []

    async def list(self) -> list[Volume]:
        self.spans.append(trace.get_current_span().get_span_context().span_id)
        return []


def test_an_asynchronous_app_runs_in_its_own_span_and_leaves_none_active(
    exported: Exported,
) -> None:
    """This holds for two requests, one after the other, that the same task awaits."""
    shelf = AwaitedShelf()
    app = AsyncPluginApp(shelf, observers=[exported.observer()])

    async def both() -> bool:
        for _ in range(2):
            await app(AsyncRequest("VolumeDriver.List", b"{}"))
        return trace.get_current_span().get_span_context().is_valid

    assert not asyncio.run(both())
    assert [span.parent for span in exported.spans] == [None, None]
    assert shelf.spans == [span.context.span_id for span in exported.spans]


class Logs(LogDriver):
    """A log of two lines, which keeps the span that each is made in."""

    def __init__(self) -> None:
        self.spans: list[int] = []

    def read_logs(self, info: Any, config: Any) -> Iterator[LogEntry]:
        for line in (b"one", b"two"):
            self.spans.append(trace.get_current_span().get_span_context().span_id)
            yield LogEntry("stdout", 0, line)


def test_a_stream_is_one_span_until_its_end(exported: Exported) -> None:
    """This holds at both ends, and the plugin's generator runs in the plugin's span."""
    logs = Logs()
    app = PluginApp(logs, observers=[exported.observer()])
    with client(exported, app) as calling, calling.stream("LogDriver.ReadLogs", {}) as stream:
        assert exported.spans == []
        size = len(b"".join(stream))

    served, called = exported.spans
    assert {*logs.spans} == {served.context.span_id}
    assert [attributes(each)["http.response.body.size"] for each in (served, called)] == [size] * 2


def test_a_host_that_leaves_a_stream_is_an_event_of_the_plugins_span(exported: Exported) -> None:
    """It is no error of the plugin, so the status of the span stays unset."""
    response = PluginApp(Logs(), observers=[exported.observer()])(
        Request("LogDriver.ReadLogs", b"{}")
    )
    response.body.read(1)
    response.body.close()

    [span] = exported.spans
    assert [event.name for event in span.events] == ["moby_plugins.host_hung_up"]
    assert span.status.status_code is StatusCode.UNSET


def test_activated_dropped_and_missing_plugins_are_events_of_the_callers_span(
    exported: Exported,
) -> None:
    """The metric of durations has each activation, failed ones included."""
    tracer = exported.tracers.get_tracer("test")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("no")

    with MemoryRegistry(observers=[exported.observer()]) as registry:
        registry.add("shelf", {"Plugin.Activate": {"Implements": ["VolumeDriver"]}})
        with tracer.start_as_current_span("user"):
            registry.get("shelf")
            registry.handle("VolumeDriver", fail)
            registry.invalidate("shelf")
            with pytest.raises(PluginNotFoundError):
                registry.get("nothing")

    user = exported.spans[-1]
    told = [event.name.removeprefix("moby_plugins.") for event in user.events]
    assert [name for name in told if name != "retry"] == [
        *("plugin_activated", "handler_failed", "plugin_dropped", "activation_failed"),
    ]
    assert attributes(exported.spans[0])["moby_plugins.plugin"] == "shelf"
    assert [of.get("error.type") for of, _ in exported.of("moby_plugins.activation.duration")] == [
        None,
        "PluginNotFoundError",
    ]


def test_an_activation_outside_of_any_span_gets_a_span_of_its_own(exported: Exported) -> None:
    """The span is as long as the activation and has its error; on asyncio this is always so."""
    with MemoryRegistry(observers=[exported.observer()]) as registry:
        registry.add("shelf", {"Plugin.Activate": {"Implements": ["VolumeDriver"]}})
        registry.get("shelf")
        with pytest.raises(PluginNotFoundError):
            registry.get("nothing")

    told = {span.name: span for span in exported.spans}
    shelf, nothing = told["activate shelf"], told["activate nothing"]
    assert shelf.status.status_code is StatusCode.UNSET
    assert (nothing.status.status_code, nothing.kind) == (StatusCode.ERROR, SpanKind.INTERNAL)
    assert attributes(nothing)["error.type"] == "PluginNotFoundError"
    assert (nothing.end_time or 0) - (nothing.start_time or 0) == 15_000_000_000


def test_a_call_without_a_response_has_no_body_sizes(exported: Exported) -> None:
    """Its request was perhaps not sent, and no response is not a response of 0 bytes."""
    with client(exported, {"M.x": refused()}) as calling, pytest.raises(TransportError):
        calling.call("M.x", {"a": 1}, retry=RetryPolicy(budget=0))

    assert exported.of("http.client.request.body.size") == []
    assert exported.of("http.client.response.body.size") == []
    assert "http.response.body.size" not in attributes(exported.spans[0])


def test_an_error_in_a_response_with_status_200_is_an_event(exported: Exported) -> None:
    """The event has the error's text, which is shortened, and a metric counts the error."""
    tracer = exported.tracers.get_tracer("test")
    calling = client(exported, {"VolumeDriver.Get": {"Err": "no\n" + "x" * 9000}})
    with calling, tracer.start_as_current_span("user"), pytest.raises(DriverError):
        VolumeDriver(calling).get("books")

    [event] = [event for event in exported.spans[-1].events if "driver" in event.name]
    text = str(dict(event.attributes or {})["exception.message"])
    assert len(text) < 600
    assert text.isprintable()
    assert [count for _, count in exported.of("moby_plugins.driver_errors")] == [1]


def test_an_error_status_that_an_app_returns_makes_its_span_an_error(exported: Exported) -> None:
    """No exception is needed for that."""
    app = observed(lambda _: Response(503, b""), [exported.observer()], methods=["M.x"])
    app(Request("M.x"))

    [span] = exported.spans
    assert attributes(span)["error.type"] == "503"
    assert span.status.status_code is StatusCode.ERROR


def test_without_an_sdk_a_trace_is_still_passed_on() -> None:
    """The API alone sends the header of a served request with the plugin's own calls of others."""
    seen: list[str] = []

    def other(request: Request) -> Response:
        seen.append(request.headers.get("traceparent", ""))
        return Response(200, b"{}")

    settings = Settings(transports={"unix": MemoryTransport(other).connect})
    observer = OpenTelemetryObserver()

    class Calling(VolumeDriver):
        def list(self) -> list[Volume]:
            with new_client(ADDR, settings=settings, observers=[observer]) as client:
                client.call("M.x")
            return []

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    app = PluginApp(Calling(), observers=[observer])
    app(Request("VolumeDriver.List", b"{}", {"Traceparent": parent}))

    assert seen == [parent]


def test_another_propagator_can_write_the_trace_into_headers(exported: Exported) -> None:
    """The argument ``propagator`` replaces the usual one, which writes ``traceparent``."""
    sent: list[dict[str, str]] = []

    def plugin(request: Request) -> Response:
        sent.append(dict(request.headers))
        return Response(200, b"{}")

    observer = OpenTelemetryObserver(
        tracer_provider=exported.tracers,
        meter_provider=exported.meters,
        propagator=W3CBaggagePropagator(),
    )
    settings = Settings(transports={"unix": MemoryTransport(plugin).connect})
    with new_client(ADDR, settings=settings, observers=[observer]) as calling:
        calling.call("M.x")

    assert "traceparent" not in sent[0]


def test_streams_and_failed_calls_do_not_stay_active_requests(exported: Exported) -> None:
    """Each is subtracted from the metric of active requests once, however it ends."""
    replies = {"M.x": drips(b"abc"), "M.y": status(500, "M"), "M.z": refused()}
    with client(exported, replies) as calling:
        with calling.stream("M.x") as stream:
            stream.read(1)
        for method in ("M.y", "M.z"):
            with pytest.raises(PluginError):
                calling.call(method)

    assert {count for _, count in exported.of("http.client.active_requests")} == {0}


def test_names_and_addresses_are_limited_in_metrics_and_not_in_spans(exported: Exported) -> None:
    """Names of plugins, names of missing plugins and addresses each have a limit of their own."""
    observer = exported.observer()
    error = PluginNotFoundError("n", ["/run"])
    for number in range(MAX_PLUGINS):
        observer.activation_failed(ActivationFailed(f"n{number}", error, 1.0))
        observer.call_started(CallStarted("p", f"tcp://h{number}:1", "M.x", 1))(ENDED)
    plugin = Plugin("shelf", "unix:///run/shelf.sock")
    with exported.tracers.get_tracer("t").start_as_current_span("mine"):
        observer.plugin_activated(PluginActivated(plugin, 1.0))
        observer.activation_failed(ActivationFailed("another", error, 1.0))
        observer.call_started(CallStarted("p", "tcp://late:1", "M.x", 1))(ENDED)

    named = {of["moby_plugins.plugin"] for of, _ in exported.of("moby_plugins.activation.duration")}
    assert {"shelf", "n0", OTHER} <= named
    assert "another" not in named
    hosts = {of["server.address"] for of, _ in exported.of("http.client.request.duration")}
    assert {"h0", f"h{MAX_PLUGINS - 1}", OTHER} <= hosts
    assert "late" not in hosts
    call, mine = exported.spans[-2:]
    assert attributes(call)["server.address"] == "late"
    assert [(event.attributes or {})["moby_plugins.plugin"] for event in mine.events] == [
        "shelf",
        "another",
    ]


def test_a_method_beyond_the_limit_is_whole_in_its_span(exported: Exported) -> None:
    """In metrics such a method is counted as ``OTHER``."""
    observer = exported.observer()
    for number in range(MAX_METHODS + 1):
        observer.call_started(CallStarted("p", ADDR, f"M.x{number}", 1))(ENDED)

    last = f"/M.x{MAX_METHODS}"
    assert attributes(exported.spans[-1])["url.template"] == last
    metrics = {of["url.template"] for of, _ in exported.of("http.client.request.duration")}
    assert f"/{OTHER}" in metrics
    assert last not in metrics


def test_a_propagator_that_fails_leaves_no_span_open(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is logged, and the call is made without a trace in its headers."""

    class Broken(W3CBaggagePropagator):
        def inject(self, *_: Any, **__: Any) -> None:
            raise ValueError("no trace")

    observer = OpenTelemetryObserver(
        tracer_provider=exported.tracers, meter_provider=exported.meters, propagator=Broken()
    )
    settings = Settings(transports={"unix": MemoryTransport({"M.x": {}}).connect})
    with new_client(ADDR, settings=settings, observers=[observer]) as calling:
        assert calling.call("M.x") == {}

    assert [span.name for span in exported.spans] == ["POST /M.x"]
    assert exported.of("http.client.active_requests") == []
    assert "no trace" in str(caplog.records[0].exc_text)
