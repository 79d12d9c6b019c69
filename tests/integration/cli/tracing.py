"""A ``trace`` that runs, and a host that calls the plugin behind it."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moby_plugins import RetryPolicy, Settings, new_client
from moby_plugins.domain.http import Request, Response
from tests.integration.cli.machine import SECONDS, Machine

ONCE = Settings(retry=RetryPolicy.never(), timeout=SECONDS)


class Traced:
    """A ``trace`` that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stderr is not None
        self.heading = process.stderr.readline()

    def end(self, number: int = signal.SIGTERM) -> list[str]:
        """Have it end, and give the lines that it printed."""
        out, err = self.ended(number)
        assert (self.process.returncode, err) == (0, "")
        return out.splitlines()

    def ended(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        """Have it end, and give what it printed on both outputs."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=SECONDS)


@contextmanager
def tracing(machine: Machine, *arguments: str) -> Iterator[Traced]:
    """``trace`` with these arguments, as soon as it stands in between."""
    with machine.running(machine.command("trace", *arguments)) as process:
        traced = Traced(process)
        assert traced.heading.startswith("calls to ")
        yield traced


def call(path: Path, method: str, arguments: Any = None) -> Any:
    """What a host gets from the plugin at ``path``."""
    with new_client(f"unix://{path}", settings=ONCE) as client:
        return client.call(method, arguments)


def without_times(lines: list[str]) -> list[str]:
    """The lines without the time at which a call came, and how long it took."""
    return [line if line.startswith("  ") else " ".join(line.split()[1:3]) for line in lines]


def exchanged(addr: str, request: bytes) -> bytes:
    """What the plugin at ``addr`` answers to bytes that no client of ours would send."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(addr.removeprefix("unix://"))
        sock.sendall(request)
        data = b""
        while not data.endswith(b"}"):
            more = sock.recv(1 << 16)
            assert more, f"the connection ended early: {data!r}"
            data += more
    return data


def echo(request: Request) -> Response:
    """A plugin that answers what it is asked."""
    return Response(200, request.read())
