"""MetricsCollector (protocol.md B7)."""

from typing import Any

from moby_plugins.app.accounting import Tell
from moby_plugins.app.subsystem import Remote, Subsystem

METRICS_SOCKET = "/run/docker/metrics.sock"
"""Where a managed plugin finds the engine's Prometheus metrics: ``GET /metrics``."""


class _Notice(Remote):
    """A call whose answer is not read: only its status counts."""

    def plan(self, *_: Any) -> Tell:
        """The call without arguments; ``StatusError`` unless the plugin answers 200."""
        return Tell(self.method)


class MetricsCollector(Subsystem):
    """Reads the engine's metrics while it may."""

    @_Notice()
    def start_metrics(self) -> None:
        """The engine's metrics can be read from now on."""
        raise NotImplementedError

    @_Notice()
    def stop_metrics(self) -> None:
        """They are about to go; sent to managed plugins only, when the engine stops."""
        raise NotImplementedError
