"""The MetricsCollector subsystem (protocol.md B7)."""

from typing import Any

from moby_plugins.app.accounting import Tell
from moby_plugins.app.subsystem import RemoteMethod, Subsystem

METRICS_SOCKET = "/run/docker/metrics.sock"
"""The socket at which a managed plugin reads the engine's Prometheus metrics: ``GET /metrics``."""


class _Notice(RemoteMethod):
    """A method of whose response only the status is used."""

    def plan(self, *_: Any) -> Tell:
        """Return the call to make, which has no arguments."""
        return Tell(self.method)


class MetricsCollector(Subsystem):
    """A plugin that reads the engine's metrics; the engine calls it to start and to stop."""

    @_Notice()
    def start_metrics(self) -> None:
        """Start reading: the engine's metrics are now available."""
        raise NotImplementedError

    @_Notice()
    def stop_metrics(self) -> None:
        """Stop reading: the engine is about to stop. Engines call this for managed plugins only."""
        raise NotImplementedError
