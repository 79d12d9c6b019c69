"""The example metrics collector with a socket in place of the engine's (protocol.md B7)."""

import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import pytest

from examples.metrics_plugin import Meter
from moby_plugins.subsystems import MetricsCollector
from moby_plugins.testing import MemoryRegistry
from tests.dummy_plugin import Conversation, DummyPlugin, http

INTERVAL = 0.02


def collector(meter: Meter) -> MetricsCollector:
    """A host's proxy of the plugin."""
    registry = MemoryRegistry()
    registry.add("meter", meter)
    return MetricsCollector(registry.get("meter", "MetricsCollector").client)


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once it is so; at most 5 s."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to be")


def count(conversation: Conversation) -> None:
    """An engine whose metrics are the request that asked for them."""
    conversation.send(http(conversation.read_request().partition(b"\r\n")[0]))


def test_metrics_are_written_from_start_to_stop(short_path: Path) -> None:
    """The file is written soon after the start and again later, and not after the stop."""
    target = short_path / "docker.prom"
    with DummyPlugin.on_unix(short_path / "m", count) as engine:
        host = collector(Meter(str(short_path / "m"), target, INTERVAL))

        host.start_metrics()
        wait_until(target.exists)
        assert target.read_bytes() == b"GET /metrics HTTP/1.1"
        target.unlink()
        wait_until(target.exists)
        host.stop_metrics()
        time.sleep(3 * INTERVAL)

        scrapes = engine.connections
        time.sleep(3 * INTERVAL)
        assert engine.connections == scrapes
    assert sorted(path.name for path in short_path.iterdir()) == ["docker.prom", "m"]


def test_a_second_start_starts_no_second_scraper(short_path: Path) -> None:
    """An engine that is restarted calls StartMetrics although the plugin already collects."""
    with DummyPlugin.on_unix(short_path / "m", count) as engine:
        host = collector(Meter(str(short_path / "m"), short_path / "docker.prom", interval=60))

        host.start_metrics()
        host.start_metrics()
        wait_until((short_path / "docker.prom").exists)
        time.sleep(3 * INTERVAL)
        host.stop_metrics()

        assert engine.connections == 1


def test_an_engine_that_does_not_listen_is_asked_for_metrics_again(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A scrape that fails is logged as a warning, and the next scrape may succeed."""
    target = short_path / "docker.prom"
    host = collector(Meter(str(short_path / "m"), target, INTERVAL))

    host.start_metrics()
    wait_until(lambda: f"no metrics from {short_path / 'm'}: " in caplog.text)
    with DummyPlugin.on_unix(short_path / "m", count):
        wait_until(target.exists)
        host.stop_metrics()


@pytest.mark.parametrize("answer", [http(b"not now", status=503), b"what?\r\n", b""])
def test_a_scrape_that_fails_writes_no_file(short_path: Path, answer: bytes) -> None:
    """An error status, bad HTTP or an empty response raises an exception."""
    meter = Meter(str(short_path / "m"), short_path / "docker.prom")

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(answer)

    with (
        DummyPlugin.on_unix(short_path / "m", behave),
        pytest.raises((OSError, HTTPException)),
    ):
        meter.scrape()

    assert not (short_path / "docker.prom").exists()
