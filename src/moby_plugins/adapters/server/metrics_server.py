"""Metrics and health of a served plugin, at an address apart from the plugin's socket.

The HTTP server is in ``scraping.py``, which is imported on start.
"""

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import call_all, log_failure, logger
from moby_plugins.ports import callable_or_none

if TYPE_CHECKING:
    from moby_plugins.adapters.server.scraping import ScrapingServer

_LOOPBACK = "127.0.0.1"


class CollectsMetrics(Protocol):
    """The interface of prometheus_client's ``CollectorRegistry``, as far as it is used here."""

    def collect(self) -> Iterable[Any]:
        """Return the metrics with their current values."""
        ...


class MetricsServer:
    """A server of ``/metrics`` for Prometheus and ``/health`` for supervisors of a served plugin.

    Pass it to ``serve_unix`` and the like as ``metrics``: it starts with the plugin's server, and
    stops after it. ``/health`` has status 200 while the plugin is served, and 503 while it is
    stopping, or when ``check`` returns false or raises; the text says why. Requests with an
    ``Origin``, which web pages send, are refused.

    Args:
        addr: ``HOST:PORT`` or ``PORT`` to listen at: on the loopback interface where no host is
            given, and port 0 for a free one.
        registry: The registry of the metrics; ``prometheus_client.REGISTRY`` unless given.
        check: Called for each ``/health``, in a thread of this server; returns whether the
            plugin is healthy. While eight checks run, further requests of ``/health`` are answered
            with 503, those of ``/metrics`` as ever; a request is cut off after ten seconds.

    Raises:
        SettingsError: If prometheus-client is not installed.
        TypeError: For an argument of another type.

    Examples:
        ```python
        from urllib.request import urlopen

        from prometheus_client import CollectorRegistry

        from moby_plugins import PrometheusObserver
        from moby_plugins.serving import MetricsServer, PluginApp, plugin_server_unix

        registry = CollectorRegistry()
        app = PluginApp(observers=[PrometheusObserver(registry)])  # and its parts
        metrics = MetricsServer("0", registry=registry)
        with plugin_server_unix(app, "shelf", sockets_path=".", metrics=metrics):
            assert urlopen(f"{metrics.url}/health").read().strip() == b"ok"
        ```
    """

    def __init__(
        self,
        addr: str = "0",
        *,
        registry: CollectsMetrics | None = None,
        check: Callable[[], object] | None = None,
    ) -> None:
        from moby_plugins.adapters.observing.prometheus import exposition

        unchecked: object = addr  # the caller may be untyped
        if not isinstance(unchecked, str):
            raise TypeError(f"addr must be a string, not {quoted(unchecked)}")
        callable_or_none("check", check)
        self._addr = _with_host(addr)
        self._exposition = exposition(registry)
        self._check = check
        self._server: ScrapingServer | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The URL at which this server listens, such as ``http://127.0.0.1:9323``.

        Raises ``RuntimeError`` before the server is started.
        """
        if not self._url:
            raise RuntimeError(
                "this MetricsServer has no address before the plugin's server starts it: start that"
                " server first"
            )
        return self._url

    def start(self, is_serving: Callable[[], bool]) -> None:
        """Listen, and answer requests in threads; the plugin's server calls this.

        Args:
            is_serving: Returns whether the plugin is served and not about to stop.

        Raises:
            SpecError: If the server cannot listen at ``addr``.
            RuntimeError: If it is started already, for another server.
        """
        if self._server is not None:
            raise RuntimeError(
                "this MetricsServer is started already: a MetricsServer is for one server at a time"
            )
        from moby_plugins.adapters.server.listeners import listen_tcp
        from moby_plugins.adapters.server.scraping import ScrapingServer

        try:
            listener = listen_tcp(self._addr, "http")
        except SpecError as error:
            raise SpecError(f"metrics: {error.reason}") from error
        server = ScrapingServer(listener.socket, self._exposition, self._health(is_serving))
        try:
            threading.Thread(
                target=server.serve_forever,
                kwargs={"poll_interval": 0.1},
                name="moby-plugins-metrics",
                daemon=True,
            ).start()
        except BaseException:
            server.server_close()
            raise
        self._url, self._server = listener.address, server
        logger.info("metrics and health are at %s", self._url)

    def stop(self) -> None:
        """Stop listening, and cut off running requests. May be called more than once."""
        server, self._server = self._server, None
        if server is not None:
            call_all([server.shutdown, server.server_close])

    def __repr__(self) -> str:
        return f"<MetricsServer at {shown(self._url or self._addr)}>"

    def _health(self, is_serving: Callable[[], bool]) -> Callable[[], str]:
        check = self._check

        def concern() -> str:
            if not is_serving():
                return "the plugin is not served: it is starting or stopping"
            try:
                well = check is None or check()
            except BaseException as error:  # ``sys.exit`` too: this is a thread of the server
                log_failure("the check of the plugin's health failed", error)
                return "the check of the plugin's health failed"
            return "" if well else "the plugin's health check reports a failure"

        return concern


def _with_host(addr: str) -> str:
    host, colon, port = addr.rpartition(":")
    return addr if colon and host else f"{_LOOPBACK}:{port}"
