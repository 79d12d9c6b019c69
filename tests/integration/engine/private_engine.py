"""An engine whose plugins' directory is its own, and hosts that share it.

The directory is a constant of engines, and the whole machine's. So this engine has a mount
namespace with an empty one in its place, and what looks into it enters the namespace.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.engine.dockerd import Engine
from tests.integration.engine.plugin_process import SOCKETS

SECONDS = 60.0
_PRIVATE = (
    f'mount -t tmpfs -o mode=0755 none {SOCKETS} && mount --make-rshared {SOCKETS} && exec "$@"'
)
_PRELUDE = """
import json
import sys
import time
from moby_plugins import *
from moby_plugins.subsystems import *

ENGINE = sys.argv[1]
settings = Settings(engine=ENGINE)

def tell(value):
    print(json.dumps(value))

"""


class PrivateEngine(Engine):
    """``dockerd`` in a mount namespace of its own."""

    # Its command line, without words.
    moby_plugins = (sys.executable, "-m", "moby_plugins")

    def __init__(self) -> None:
        super().__init__("--debug")
        SOCKETS.mkdir(parents=True, exist_ok=True)
        unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _PRIVATE, "sh"]
        self.command = [*unshare, *self.command]

    @property
    def address(self) -> str:
        """Where it is asked for its plugins."""
        return f"unix://{self.socket}"

    def start_inside(self, *command: str) -> "subprocess.Popen[str]":
        """Start a program in the engine's namespace."""
        assert self.process is not None
        entered = ["nsenter", "--target", str(self.process.pid), "--mount", "--", *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(entered, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def inside(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in the engine's namespace to its end."""
        with self.start_inside(*command) as process:
            try:
                out, error = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, error)

    def command_line(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """``moby-plugins`` with these words, which names this engine."""
        first, *others = words
        return self.inside(*self.moby_plugins, first, "--engine", self.address, *others)

    def host(self, program: str, *arguments: str) -> Any:
        """What a host's ``program`` told, whose ``settings`` name this engine."""
        ran = self.inside(sys.executable, "-c", _PRELUDE + program, self.address, *arguments)
        assert ran.returncode == 0, f"{ran.stderr}\n{self.log()}"
        return json.loads(ran.stdout)

    def read_inside(self, path: Path | str) -> str:
        """The content of a file as the engine sees it."""
        ran = self.inside("cat", str(path))
        assert ran.returncode == 0, ran.stderr
        return ran.stdout
