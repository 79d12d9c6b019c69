"""The observer for Prometheus: counters, gauges and histograms of both ends, in a registry."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from moby_plugins.adapters.observing.attributes import (
    MAX_METHODS,
    OTHER,
    Labels,
    PluginLabels,
    error_kind,
)
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.errors import SettingsError
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

try:
    import prometheus_client
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
except ModuleNotFoundError as _error:
    _missing: ModuleNotFoundError | None = _error
else:
    _missing = None

_DOOR = AtDoor("moby_plugins", __name__)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class PrometheusObserver(Observer):
    """An observer that counts and times calls, retries, plugins and requests for Prometheus.

    The names of all metrics begin with ``moby_plugins_``; the guide "Observe" lists them. Labels
    have a bounded number of values: after a limit, further plugins and methods are ``_OTHER``, as
    is a method that a served plugin does not have. It needs the extra ``prometheus``. Threads and
    tasks may share it, and all clients, registries and apps of a program should; there is nothing
    to close.

    Args:
        registry: The registry of the metrics, ``prometheus_client.REGISTRY`` unless given; it can
            have one such observer. ``"prometheus"`` in settings stands for the observer of
            ``REGISTRY``, which is made unless the program has made it.
        buckets: The buckets of the histograms, in seconds.

    Raises:
        SettingsError: If prometheus-client is not installed.
        ValueError: For a registry that has metrics of these names already.

    Examples:
        ```python
        from prometheus_client import CollectorRegistry, generate_latest

        from moby_plugins import PrometheusObserver, Settings, new_client
        from moby_plugins.testing import MemoryTransport

        registry = CollectorRegistry()
        plugin = MemoryTransport({"Shelf.List": []})
        observers = [PrometheusObserver(registry)]
        settings = Settings(transports={"unix": plugin.connect}, observers=observers)
        with new_client("unix:///shelf.sock", settings=settings) as client:
            client.call("Shelf.List")
        assert b'moby_plugins_calls_total{error="",method="Shelf.List"' in generate_latest(registry)
        ```
    """

    __module__ = _DOOR
    # The observer of ``prometheus_client.REGISTRY``, once there is one in this process.
    _of_default: "ClassVar[PrometheusObserver | None]" = None

    def __init__(
        self, registry: "CollectorRegistry | None" = None, *, buckets: Sequence[float] = BUCKETS
    ) -> None:
        _check_installed("PrometheusObserver")
        if registry is None:  # prometheus-client would add the metrics to no registry
            registry = prometheus_client.REGISTRY
        self._methods = Labels(MAX_METHODS)
        self._plugins = PluginLabels()

        def counter(name: str, text: str, *labels: str) -> "Counter":
            return Counter(f"moby_plugins_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> "Gauge":
            return Gauge(f"moby_plugins_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> "Histogram":
            name = f"moby_plugins_{name}"
            return Histogram(name, text, labels, registry=registry, buckets=buckets)

        method = ("plugin", "method")
        self._calls = counter("calls", "Attempts of calls.", *method, "status", "error")
        self._call_seconds = histogram("call_seconds", "How long attempts took.", *method)
        self._calls_running = gauge("calls_running", "Attempts under way.", "plugin")
        self._sent = counter("call_sent_bytes", "Bytes of answered requests' bodies.", "plugin")
        self._received = counter("call_received_bytes", "Bytes of responses' bodies.", "plugin")
        self._connections = counter("connections", "Connections dialled.", "plugin")
        self._retries = counter("retries", "Attempts that were scheduled again.", *method, "error")
        self._driver_errors = counter(
            "driver_errors", "Errors of plugins' own, in responses with status 200.", *method
        )
        self._activations = counter("activations", "Activations of plugins.", "plugin", "error")
        self._activation_seconds = histogram(
            "activation_seconds", "How long activations took, waits included.", "plugin"
        )
        self._active = gauge("active_plugins", "Plugins that are active.", "plugin")
        self._handler_failures = counter("handler_failures", "Failures of handlers.", "plugin")
        self._requests = counter("requests", "Served requests.", "method", "status", "error")
        self._request_seconds = histogram("request_seconds", "How long requests took.", "method")
        self._requests_running = gauge("requests_running", "Requests under way.", "method")
        self._taken = counter("request_received_bytes", "Bytes of requests' bodies.")
        self._sent_bytes = counter("request_sent_bytes", "Bytes of responses' bodies.")
        self._hang_ups = counter("hang_ups", "Hosts that did not wait for the end.", "method")
        if registry is prometheus_client.REGISTRY:
            PrometheusObserver._of_default = self

    def call_started(self, event: CallStarted, /) -> OnCallEnded:
        """Count the attempt as running; return the callback that counts and times it."""
        plugin, method = self._plugins(event.plugin), self._methods(event.method)
        running = self._calls_running.labels(plugin)
        running.inc()

        def end(ended: CallEnded) -> None:
            running.dec()
            status = "" if ended.status is None else str(ended.status)
            self._calls.labels(plugin, method, status, error_kind(ended.error)).inc()
            self._call_seconds.labels(plugin, method).observe(ended.seconds)
            if event.sent_bytes and ended.status is not None:
                self._sent.labels(plugin).inc(event.sent_bytes)
            if ended.received_bytes:
                self._received.labels(plugin).inc(ended.received_bytes)
            if ended.new_connection:
                self._connections.labels(plugin).inc()

        return end

    def driver_failed(self, event: DriverFailed, /) -> None:
        """Count the error."""
        plugin, method = self._plugins(event.plugin), self._methods(event.method)
        self._driver_errors.labels(plugin, method).inc()

    def retry_scheduled(self, event: RetryScheduled, /) -> None:
        """Count the retry."""
        plugin, method = self._plugins.requested(event.plugin), self._methods(event.method)
        self._retries.labels(plugin, method, error_kind(event.error)).inc()

    def plugin_activated(self, event: PluginActivated, /) -> None:
        """Count and time the activation, and count the plugin as active."""
        plugin = self._plugins(event.plugin.name)
        self._activations.labels(plugin, "").inc()
        self._activation_seconds.labels(plugin).observe(event.seconds)
        self._active.labels(plugin).inc()

    def plugin_dropped(self, event: PluginDropped, /) -> None:
        """Count one active plugin fewer."""
        self._active.labels(self._plugins(event.plugin.name)).dec()

    def activation_failed(self, event: ActivationFailed, /) -> None:
        """Count and time the failed activation."""
        plugin = self._plugins.requested(event.name)
        self._activations.labels(plugin, error_kind(event.error)).inc()
        self._activation_seconds.labels(plugin).observe(event.seconds)

    def handler_failed(self, event: HandlerFailed, /) -> None:
        """Count the failure."""
        self._handler_failures.labels(self._plugins(event.plugin)).inc()

    def request_started(self, event: RequestStarted, /) -> OnRequestEnded:
        """Count the request as running; return the callback that counts and times it."""
        method = self._methods(event.route) if event.route else OTHER
        running = self._requests_running.labels(method)
        running.inc()

        def end(ended: RequestEnded) -> None:
            running.dec()
            self._requests.labels(method, str(ended.status), error_kind(ended.error)).inc()
            self._request_seconds.labels(method).observe(ended.seconds)
            self._taken.inc(event.received_bytes or 0)
            self._sent_bytes.inc(ended.sent_bytes)
            if ended.hung_up:
                self._hang_ups.labels(method).inc()

        return end


def shared() -> PrometheusObserver:
    """Return the only observer of ``prometheus_client.REGISTRY``; make it unless there is one."""
    _check_installed("the observer 'prometheus'")
    return PrometheusObserver._of_default or PrometheusObserver()  # noqa: SLF001  its own module


def exposition(registry: Any) -> Callable[[], tuple[str, bytes]]:
    """Return a function that returns a media type and the metrics of ``registry`` as text.

    ``None`` stands for ``prometheus_client.REGISTRY``. Raises ``SettingsError`` if
    prometheus-client is not installed.
    """
    _check_installed("/metrics")
    whose = prometheus_client.REGISTRY if registry is None else registry
    return lambda: (
        prometheus_client.CONTENT_TYPE_LATEST,
        prometheus_client.generate_latest(whose),
    )


def _check_installed(what: str) -> None:
    if _missing is not None:
        needed = f"needs {_missing.name}: pip install 'moby-plugins[prometheus]'"
        raise SettingsError(f"{what} {needed}") from _missing
