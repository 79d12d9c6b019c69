"""A metrics collector that writes the engine's Prometheus metrics to a file for node_exporter.

    python metrics_plugin.py /run/docker/plugins/meter.sock /var/lib/node_exporter/docker.prom

Install it as a managed plugin (``docker plugin create``): an engine that finds it as a socket
deadlocks while it activates it.
"""

import argparse
import http.client
import logging
import os
import socket
import threading
from pathlib import Path

from moby_plugins.serving import PluginApp, serve_unix
from moby_plugins.subsystems import METRICS_SOCKET, MetricsCollector

logger = logging.getLogger("metrics_plugin")
TIMEOUT = 10.0  # seconds for each step of a scrape


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over the UNIX socket ``path``."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


class Meter(MetricsCollector):
    """Scrapes ``source`` into ``target`` every ``interval`` seconds between start and stop."""

    def __init__(self, source: str, target: Path, interval: float = 15.0) -> None:
        self._source, self._target, self._interval = source, target, interval
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._stopped.set()

    def start_metrics(self) -> None:
        with self._lock:
            # An engine that restarts calls this again; one scraper is enough.
            if self._stopped.is_set():
                self._stopped = threading.Event()
                threading.Thread(target=self._run, args=(self._stopped,), daemon=True).start()

    def stop_metrics(self) -> None:
        with self._lock:
            self._stopped.set()

    def _run(self, stopped: threading.Event) -> None:
        wait = 0.0
        while not stopped.wait(wait):
            wait = self._interval
            try:
                self.scrape()
            except (OSError, http.client.HTTPException) as error:
                logger.warning("no metrics from %s: %s", self._source, error)

    def scrape(self) -> None:
        """Write the current metrics; readers see either the old file or the new one."""
        connection = UnixConnection(self._source)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"status {answer.status}")
        new = self._target.with_suffix(".new")
        new.write_bytes(content)
        os.replace(new, self._target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The engine's metrics in a file.")
    parser.add_argument("socket", help="the plugin's name, or the path of its socket")
    parser.add_argument("target", type=Path, help="the file to write")
    parser.add_argument("--metrics", default=METRICS_SOCKET, help="the engine's socket")
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between scrapes")
    given = parser.parse_args()
    meter = Meter(given.metrics, given.target, given.interval)
    logging.basicConfig()
    serve_unix(PluginApp(meter), given.socket)
