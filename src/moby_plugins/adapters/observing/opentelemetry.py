"""The observer for OpenTelemetry: spans at both ends of a call, in one trace, and metrics.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP, with the method as
the route; others begin with ``moby_plugins.``. Only the API package is needed: without an SDK,
nothing is recorded, but an incoming trace is passed on.
"""

import time
from collections.abc import Mapping
from functools import partial
from types import MethodType
from typing import Any, TypeAlias

from moby_plugins.adapters.observing.attributes import (
    MAX_LABEL,
    MAX_METHODS,
    MAX_PLUGINS,
    OTHER,
    Labels,
    PluginLabels,
    error_kind,
    error_type,
    peer,
    url,
)
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain import __version__
from moby_plugins.domain.errors import INTERNAL_ERROR, SettingsError
from moby_plugins.domain.http import OK
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.observing import (
    ActivationFailed,
    CallEnded,
    CallStarted,
    DriverFailed,
    HandlerFailed,
    OnCallEnded,
    OnRequestEnded,
    PluginActivated,
    PluginDropped,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
)
from moby_plugins.domain.text import shown

try:
    from opentelemetry import metrics, propagate, trace
    from opentelemetry.context import Context, attach, get_current
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import (
        Span,
        SpanKind,
        Status,
        StatusCode,
        TracerProvider,
        set_span_in_context,
    )
except ModuleNotFoundError as _error:
    _missing: ModuleNotFoundError | None = _error
else:
    _missing = None

_DOOR = AtDoor("moby_plugins", __name__)

_NAME = "moby_plugins"
# The buckets of the conventions, and larger ones for streams and for retries.
_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0),
    *(2.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)
_METHOD = {"http.request.method": "POST"}
_Attributes: TypeAlias = dict[str, str | int]
# The name of a call's span, its attributes, those of all metrics of the call, and those of one that
# succeeds. The number of values of an attribute is bounded for metrics only.
_Known: TypeAlias = tuple[str, _Attributes, _Attributes, _Attributes]
# The metrics of clients, a call's span, its context, and the metrics' attributes as in ``_Known``.
_Call: TypeAlias = "tuple[_Instruments, Span, Context, _Attributes, _Attributes]"


class OpenTelemetryObserver(Observer):
    """An observer that records spans and metrics, and propagates traces from hosts to plugins.

    Each attempt of a call is a span of the kind ``CLIENT``, and each served request one of the kind
    ``SERVER``, which is the current span for the plugin's code. Retries, plugins that become active
    or fail, and errors of a plugin's own are events of the span that is current. Metrics are
    ``http.client.request.duration``, ``http.server.request.duration``, ``….active_requests``,
    ``….request.body.size``, ``….response.body.size``, ``moby_plugins.retries``,
    ``moby_plugins.driver_errors`` and ``moby_plugins.activation.duration``. An activation without a
    current span, as on asyncio, is a span of its own. The observer needs the extra ``otel``.
    Threads and tasks may share it; there is nothing to close.

    Args:
        tracer_provider: Creates the spans; the global one unless given.
        meter_provider: Creates the metrics; the global one unless given.
        propagator: Writes and reads the trace in headers; the global one unless given, by
            default W3C's ``traceparent``.

    Raises:
        SettingsError: If opentelemetry-api is not installed.

    Examples:
        ```python
        from moby_plugins import OpenTelemetryObserver, Settings, new_client
        from moby_plugins.testing import MemoryTransport

        plugin = MemoryTransport({"Shelf.List": []})
        observers = [OpenTelemetryObserver()]
        settings = Settings(transports={"unix": plugin.connect}, observers=observers)
        with new_client("unix:///shelf.sock", settings=settings) as client:
            client.call("Shelf.List")  # a span, where an SDK is set up
        ```
    """

    __module__ = _DOOR

    def __init__(
        self,
        *,
        tracer_provider: "TracerProvider | None" = None,
        meter_provider: "MeterProvider | None" = None,
        propagator: "TextMapPropagator | None" = None,
    ) -> None:
        if _missing is not None:
            needed = f"needs {_missing.name}: pip install 'moby-plugins[otel]'"
            raise SettingsError(f"OpenTelemetryObserver {needed}") from _missing
        self._tracer = trace.get_tracer(_NAME, __version__, tracer_provider)
        self._inject = propagate.inject if propagator is None else propagator.inject
        self._extract = propagate.extract if propagator is None else propagator.extract
        self._methods = Labels(MAX_METHODS)
        self._plugins = PluginLabels()
        self._addresses = Labels(MAX_PLUGINS)
        # By address and method; the first MAX_PLUGINS of them.
        self._known: dict[tuple[str, str], _Known] = {}
        self._kind = SpanKind.CLIENT
        self._client = _Instruments(meter_provider, "client")
        self._server = _Instruments(meter_provider, "server")
        meter = metrics.get_meter(_NAME, __version__, meter_provider)
        self._retries = meter.create_counter("moby_plugins.retries", "{retry}", "Retries of calls.")
        self._driver_errors = meter.create_counter(
            "moby_plugins.driver_errors", "{error}", "Errors in responses with status 200."
        )
        self._activations = meter.create_histogram(
            "moby_plugins.activation.duration",
            "s",
            "Duration of activations of plugins, waits included.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def call_started(self, event: CallStarted, /) -> OnCallEnded:
        """Begin a span, and add its trace to the call's headers; return a callback that ends it."""
        try:
            name, of_span, of, whole = self._known[event.address, event.method]
        except KeyError:
            name, of_span, of, whole = self._learn(event)
        # Read before it is called: Python is slower to call what is in an instance's attribute.
        inject, client = self._inject, self._client
        span = self._tracer.start_span(name, None, self._kind, of_span)
        try:
            within = set_span_in_context(span)
            inject(event.headers, within)
            client.active.add(1, of)
        except BaseException:  # for example of a propagator
            span.end()
            raise
        # A method of a tuple is quicker to make and to call than a ``partial`` or a closure.
        end = MethodType(_end, (client, span, within, of, whole))
        if not span.is_recording():
            return end
        span.set_attributes(_of_span(event))
        return partial(_recorded, span, end)

    def request_started(self, event: RequestStarted, /) -> OnRequestEnded:
        """Begin a span in the host's trace, and return a callback that ends the span.

        Until then it is the current span for the plugin's code.
        """
        headers = {name.lower(): value for name, value in event.headers.items()}
        caller = self._extract(headers)
        of = {**_METHOD, "url.scheme": "http"}
        if event.route:
            of["http.route"] = f"/{event.route}"
        name = f"POST /{event.route}" if event.route else "POST"
        span = self._tracer.start_span(name, caller, SpanKind.SERVER, of)
        try:
            within = trace.set_span_in_context(span, caller)
            if span.is_recording():
                span.set_attribute("url.path", f"/{shown(event.method, MAX_LABEL)}")
            self._server.active.add(1, of)
        except BaseException:  # for example of an SDK
            span.end()
            raise
        before = get_current()
        attach(within)

        def end(ended: RequestEnded) -> None:
            self._server.active.add(-1, of)
            # In a server's span, only failures of the server are errors, not refused requests.
            refused = OK < ended.status < INTERNAL_ERROR
            result = _result(ended.status, None if refused else ended.error)
            if ended.status >= INTERNAL_ERROR:
                result.setdefault("error.type", str(ended.status))
            if span.is_recording():
                if ended.hung_up:
                    span.add_event("moby_plugins.host_hung_up")
                _finish(span, result, event.received_bytes, ended.sent_bytes, ended.error)
            span.end()
            # A task that called an asynchronous app directly continues in the same context.
            if get_current() is within:
                attach(before)
            sizes = (event.received_bytes, ended.sent_bytes)
            self._server.record(ended.seconds, *sizes, {**of, **result}, within)

        return end

    def retry_scheduled(self, event: RetryScheduled, /) -> None:
        """Count the retry, and add an event to the current span."""
        kind = {"error.type": error_type(event.error)}
        plugin = self._plugins.requested(event.plugin)
        self._retries.add(1, _named(plugin, self._methods(event.method)) | kind)
        when = {"moby_plugins.delay": event.delay, "moby_plugins.attempt": event.attempt}
        _add_event("moby_plugins.retry", {**_whole(event.plugin, event.method), **kind, **when})

    def driver_failed(self, event: DriverFailed, /) -> None:
        """Count the error, and add an event to the current span."""
        plugin, method = self._plugins(event.plugin), self._methods(event.method)
        self._driver_errors.add(1, _named(plugin, method))
        of = _whole(event.plugin, event.method)
        _add_event("moby_plugins.driver_error", of | {"exception.message": shown(event.error)})

    def plugin_activated(self, event: PluginActivated, /) -> None:
        """Record the activation, and add an event to the current span.

        Without a current span, the activation is a span of its own.
        """
        name = event.plugin.name
        self._activations.record(event.seconds, _named(self._plugins(name)))
        self._record_activation("moby_plugins.plugin_activated", _whole(name), event.seconds)

    def plugin_dropped(self, event: PluginDropped, /) -> None:
        """Add an event to the current span."""
        _add_event("moby_plugins.plugin_dropped", _whole(event.plugin.name))

    def activation_failed(self, event: ActivationFailed, /) -> None:
        """Record the failed activation, and add an event to the current span.

        Without a current span, the activation is a span of its own.
        """
        kind = {"error.type": error_type(event.error)}
        plugin = self._plugins.requested(event.name)
        self._activations.record(event.seconds, _named(plugin) | kind)
        of = {**_whole(event.name), **kind, "exception.message": shown(event.error)}
        self._record_activation("moby_plugins.activation_failed", of, event.seconds, event.error)

    def handler_failed(self, event: HandlerFailed, /) -> None:
        """Add an event to the current span."""
        of = {"exception.type": error_kind(event.error), "exception.message": shown(event.error)}
        _add_event("moby_plugins.handler_failed", _whole(event.plugin) | of)

    def _record_activation(
        self, name: str, of: Mapping[str, str], seconds: float, error: BaseException | None = None
    ) -> None:
        """Add an event to the current span; without one, record the activation as a span."""
        if trace.get_current_span().get_span_context().is_valid:
            _add_event(name, of)
            return
        now = time.time_ns()
        began = now - round(seconds * 1e9)
        title = f"activate {of['moby_plugins.plugin']}"
        span = self._tracer.start_span(title, None, SpanKind.INTERNAL, of, start_time=began)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, shown(error)))
        span.end(now)

    def _learn(self, event: CallStarted) -> _Known:
        """Return the span's name and the attributes that all calls of a method at an address share.

        They are kept for the first ``MAX_PLUGINS`` pairs of an address and a method.
        """
        address, method = event.address, event.method
        of_span = {**_METHOD, **peer(address), **_template(shown(method, MAX_LABEL))}
        where = {"server.address": OTHER} if self._addresses(address) == OTHER else peer(address)
        of: _Attributes = {**_METHOD, **where, **_template(self._methods(method))}
        known = f"POST /{method}", of_span, of, {**of, **_result(OK, None)}
        if len(self._known) < MAX_PLUGINS:
            self._known[address, method] = known
        return known


class _Instruments:
    """The metrics that OpenTelemetry defines for one end of HTTP: ``client`` or ``server``."""

    def __init__(self, provider: "MeterProvider | None", end: str) -> None:
        meter = metrics.get_meter(_NAME, __version__, provider)
        self.duration = meter.create_histogram(
            f"http.{end}.request.duration",
            "s",
            f"Duration of HTTP {end} requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self.sent = meter.create_histogram(
            f"http.{end}.request.body.size", "By", f"Size of HTTP {end} request bodies."
        )
        self.received = meter.create_histogram(
            f"http.{end}.response.body.size", "By", f"Size of HTTP {end} response bodies."
        )
        self.active = meter.create_up_down_counter(
            f"http.{end}.active_requests", "{request}", f"Number of active HTTP {end} requests."
        )

    def record(
        self,
        seconds: float,
        request: int | None,
        response: int | None,
        of: Mapping[str, Any],
        within: "Context",
    ) -> None:
        self.duration.record(seconds, of, within)
        if request is not None:
            self.sent.record(request, of, within)
        if response is not None:
            self.received.record(response, of, within)


def _template(method: str) -> dict[str, str]:
    return {"url.template": f"/{method}"}


def _named(plugin: str, method: str | None = None) -> dict[str, str]:
    named = {"moby_plugins.plugin": plugin}
    return named if method is None else named | _template(method)


def _whole(plugin: str, method: str | None = None) -> dict[str, str]:
    """Return attributes of a span's event: names are shortened, but their number is not bounded."""
    return _named(shown(plugin, MAX_LABEL), method and shown(method, MAX_LABEL))


def _end(call: _Call, ended: CallEnded) -> None:
    """Record the metrics of a call that has ended, and end its span."""
    client, span, within, of, whole = call
    client.active.add(-1, of)
    span.end()
    error, sent, received = ended.error, ended.started.sent_bytes, ended.received_bytes
    if error is not None:
        whole = {**of, **_result(ended.status, error)}
    client.duration.record(ended.seconds, whole, within)
    if ended.status is None:  # perhaps nothing was sent
        return
    if sent is not None:
        client.sent.record(sent, whole, within)
    if received is not None:
        client.received.record(received, whole, within)


def _recorded(span: "Span", end: OnCallEnded, ended: CallEnded) -> None:
    """Set the attributes of the end in ``span``, which is recorded, and call ``end``."""
    if ended.new_connection is not None:
        span.set_attribute("moby_plugins.new_connection", ended.new_connection)
    result = _result(ended.status, ended.error)
    received = None if ended.status is None else ended.received_bytes
    _finish(span, result, ended.started.sent_bytes, received, ended.error)
    end(ended)


def _of_span(event: CallStarted) -> dict[str, str | int]:
    of: dict[str, str | int] = {"url.full": url(event.address, event.method)}
    if event.plugin:
        of["moby_plugins.plugin"] = shown(event.plugin, MAX_LABEL)
    if event.attempt > 1:
        of["http.request.resend_count"] = event.attempt - 1
    return of


def _result(status: int | None, error: BaseException | None) -> dict[str, str | int]:
    result: dict[str, str | int] = {}
    if status is not None:
        result["http.response.status_code"] = status
    if error is not None:
        result["error.type"] = error_type(error)
    return result


def _finish(
    span: "Span",
    result: Mapping[str, str | int],
    request: int | None,
    response: int | None,
    error: BaseException | None,
) -> None:
    of = dict(result)
    if request is not None:
        of["http.request.body.size"] = request
    if response is not None:
        of["http.response.body.size"] = response
    span.set_attributes(of)
    if "error.type" in result:
        span.set_status(Status(StatusCode.ERROR, None if error is None else shown(error)))


def _add_event(name: str, of: Mapping[str, Any]) -> None:
    span = trace.get_current_span()
    if span.is_recording():
        span.add_event(name, of)
