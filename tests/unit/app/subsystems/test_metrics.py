"""MetricsCollector: table B7 of protocol.md."""

from typing import Any

import pytest

from moby_plugins.domain.errors import StatusError
from moby_plugins.subsystems import METRICS_SOCKET, MetricsCollector
from moby_plugins.testing import status
from tests.unit.app.subsystems.exchanges import Exchange, Table, replying


class TestB7(Table):
    """Table B7: the calls of a MetricsCollector, both with an empty body."""

    kind = MetricsCollector
    exchanges = (
        Exchange("start_metrics", (), "MetricsCollector.StartMetrics", "", "{}"),
        Exchange("stop_metrics", (), "MetricsCollector.StopMetrics", "", "{}"),
    )


@pytest.mark.parametrize("reply", [b"", b"not JSON", {"Err": "lost"}])
def test_the_response_is_not_read(reply: Any) -> None:
    """B7: any body of an answer 200 is a success."""
    assert replying(MetricsCollector, "StartMetrics", reply).start_metrics() is None


def test_another_status_is_an_error() -> None:
    """B7: only the status counts."""
    with pytest.raises(StatusError, match="no socket"):
        replying(MetricsCollector, "StopMetrics", status(500, "no socket")).stop_metrics()


def test_a_managed_plugin_finds_the_metrics_here() -> None:
    """B7: the engine's socket, bind-mounted."""
    assert METRICS_SOCKET == "/run/docker/metrics.sock"
