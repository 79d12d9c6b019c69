"""A machine of a test's own: its plugin directories, plugins in them, and the installed command."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples"
SECONDS = 20.0


class Machine:
    """Where plugins are found: ``sockets`` and ``specs`` under ``root``, both still empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sockets = root / "s"
        self.specs = root / "specs"
        self.sockets.mkdir()
        self.specs.mkdir()
        self.environment = {
            **{key: text for key, text in os.environ.items() if key != "NO_COLOR"},
            "MOBY_PLUGINS_SOCKETS_PATH": str(self.sockets),
            "MOBY_PLUGINS_SPECS_PATHS": str(self.specs),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "80",
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``moby-plugins`` with these arguments."""
        return [sys.executable, "-m", "moby_plugins", *arguments]

    def run(
        self, *arguments: str, sent: str | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command to its end; its standard input is what is ``sent``."""
        return subprocess.run(
            self.command(*arguments),
            input=sent or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            cwd=self.root,
            env=self.environment | environment,
        )

    @contextmanager
    def running(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> "Iterator[subprocess.Popen[str]]":
        """A process in this environment; it is ended with the block, if it has not by itself."""
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
            env=environment or self.environment,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def shelf(self) -> Iterator[Path]:
        """The example volume plugin, called "shelf": the path of its socket."""
        volumes = self.root / "volumes"
        volumes.mkdir(exist_ok=True)
        path = self.sockets / "shelf.sock"
        program = str(EXAMPLES / "volume_plugin.py")
        command = [sys.executable, program, str(path), str(volumes)]
        with self.running(command, unmeasured(self.environment)):
            appear(path)
            yield path


def unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """The same without coverage, which doubles what a short process takes: for what repeats."""
    return {key: text for key, text in environment.items() if not key.startswith("COVERAGE_")}


def appear(path: Path) -> None:
    """Wait for a file; for a socket, until connections to it succeed."""
    ends = time.monotonic() + SECONDS
    while not there(path):
        assert time.monotonic() < ends, f"{path} did not appear"
        time.sleep(0.02)


def there(path: Path) -> bool:
    """Whether it is there. A socket is bound first, and listens a moment later."""
    if not path.is_socket():
        return path.exists()
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def stale_socket(path: Path) -> None:
    """A socket that no process listens on."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
