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
def test_the_body_of_a_response_with_status_200_is_ignored(reply: Any) -> None:
    """B7: any body with status 200 means success, even one with Err."""
    assert replying(MetricsCollector, "StartMetrics", reply).start_metrics() is None


def test_a_status_other_than_200_is_an_error() -> None:
    """B7: the status alone says whether a call has failed."""
    with pytest.raises(StatusError, match="no socket"):
        replying(MetricsCollector, "StopMetrics", status(500, "no socket")).stop_metrics()


def test_metrics_socket_is_the_path_of_the_socket_in_a_managed_plugin() -> None:
    """B7: the engine bind-mounts its own socket at this path."""
    assert METRICS_SOCKET == "/run/docker/metrics.sock"
