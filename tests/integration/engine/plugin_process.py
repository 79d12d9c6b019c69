"""A plugin as a process of its own, where an engine looks for it."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

# The one directory in which engines look for sockets.
SOCKETS = Path("/run/docker/plugins")
EXAMPLES = Path(__file__).parents[3] / "examples"


class PluginProcess:
    """``script SOCKET arguments…`` run by this Python, between ``start`` and ``stop``.

    ``name`` is what a host calls the plugin; what it prints is in the file ``log``.
    """

    def __init__(self, name: str, script: Path, *arguments: Path, log: Path) -> None:
        self.name = name
        self.socket = SOCKETS / f"{name}.sock"
        self._command = [sys.executable, str(script), str(self.socket), *map(str, arguments)]
        self._log = log

    def start(self) -> None:
        """Start it, and return once its socket is there; at most 10 s."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(500):
            if self.socket.is_socket() or self._process.poll() is not None:
                break
            time.sleep(0.02)
        assert self.socket.is_socket(), f"{self.name} did not start:\n{self._log.read_text()}"

    def stop(self) -> None:
        """Stop it as a service manager does; it takes its socket away."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        finally:
            self._process.kill()
            self._process.wait()
            self.socket.unlink(missing_ok=True)

    def printed(self) -> list[str]:
        """The lines that it printed so far."""
        return self._log.read_text().splitlines()


# What kind of plugin, the script, and its arguments after the socket.
StartPlugin: TypeAlias = Callable[..., PluginProcess]
