"""A real engine of one's own: its data, its socket and its log in one temporary directory."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.integration.engine.busybox import busybox_root

E = TypeVar("E", bound="Engine")

IMAGE = "mp-busybox"

# No part of the machine's network is touched, and no file system is mounted for images.
OPTIONS = (
    "--bridge=none",
    "--iptables=false",
    "--ip-forward=false",
    "--ip-masq=false",
    "--storage-driver=vfs",
)


@contextlib.contextmanager
def running(engine: E) -> Iterator[E]:
    """``engine``, started, with the image ``IMAGE``, until the end of the block."""
    try:
        engine.start()
        engine.import_image()
        yield engine
    finally:
        engine.close()


class Engine:
    """``dockerd`` with ``options``, between ``start`` and ``close``."""

    def __init__(self, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mp-"))
        self.exec_root = self.directory / "exec"
        self.socket = self.directory / "docker.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.command = ["dockerd", *OPTIONS, *options, "-H", f"unix://{self.socket}"]
        for name, where in {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}.items():
            self.command += [f"--{name}", str(self.directory / where)]

    def start(self) -> None:
        """Start it, and return once it answers; at most about 30 s."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if self.socket.exists() and self.try_docker("version").returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(f"dockerd does not answer:\n{self.log()}")

    def stop(self) -> None:
        """Stop it as an administrator does; after 30 s, without asking."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        finally:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Stop it and remove all that was its own."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory)

    def restart(self) -> None:
        """Stop it, and start it with the same data."""
        self.stop()
        self.start()

    def start_docker(self, *words: str) -> subprocess.Popen[str]:
        """``docker`` with these words, running."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.client(*words), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def try_docker(
        self, *words: str, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """What ``docker`` with these words did; at most 60 s."""
        done = subprocess.run(
            self.client(*words), input=stdin, capture_output=True, timeout=60, check=False
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def client(self, *words: str) -> list[str]:
        """The command line of ``docker`` for this engine."""
        # A configuration of its own: none of the user's has a say here.
        client = ["docker", "--config", str(self.directory / "client")]
        return [*client, "-H", f"unix://{self.socket}", *words]

    def docker(self, *words: str, stdin: bytes | None = None) -> str:
        """What ``docker`` printed; a failure is the test's, with the engine's own log."""
        done = self.try_docker(*words, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}\n{self.log()}"
        return done.stdout.strip()

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """What the engine knows of one volume, network or container."""
        found: dict[str, Any] = json.loads(self.docker(kind, "inspect", name))[0]
        return found

    def run(self, *words: str) -> str:
        """What a container of ``IMAGE`` printed, without any network unless one is named."""
        network = () if "--network" in words else ("--network", "none")
        return self.docker("run", "--rm", *network, *words)

    def log(self, lines: int = 30) -> str:
        """The end of the engine's log."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join((self.directory / "log").read_text().splitlines()[-lines:])
        return "no log"

    def import_image(self) -> None:
        """Make ``IMAGE``: a shell and what it comes with, without any registry."""
        with busybox_root() as root:
            pack = ["tar", "-C", str(root), "-c", "."]
            packed = subprocess.run(pack, capture_output=True, check=True).stdout
        self.docker("import", "-", IMAGE, stdin=packed)
