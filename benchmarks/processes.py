"""Plugins in separate processes, which are started and ready when yielded."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.placement import Placement

HERE = Path(__file__).parent
# Seconds to wait for a process to be ready.
PATIENCE = 30.0


@contextmanager
def running(
    program: str, *arguments: str, until: Path, placement: Placement | None = None
) -> Iterator[None]:
    """Run ``python PROGRAM …`` from this directory; yield when it accepts connections."""
    command = [sys.executable, str(HERE / program), *arguments]
    process = subprocess.Popen(command)  # noqa: S603  our own
    try:
        if placement is not None:
            os.sched_setaffinity(process.pid, placement.plugin)
        _await(until, process)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def quick_plugins(
    directory: Path, count: int = 1, placement: Placement | None = None
) -> Iterator[Path]:
    """Run ``quick_plugin.py`` with ``count`` sockets in ``directory``; yield the last one."""
    last = directory / f"p{count - 1:05}.sock"
    arguments = (str(directory), str(count))
    with running("quick_plugin.py", *arguments, until=last, placement=placement):
        yield last


def _await(path: Path, process: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < ends:
        with socket.socket(socket.AF_UNIX) as sock:
            if not sock.connect_ex(str(path)):
                return
        time.sleep(0.01)
    raise RuntimeError(f"nothing listens on {path}")
