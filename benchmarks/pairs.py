"""What is measured against what: each pair does the same work twice, ours and the plain way."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from moby_plugins import Settings, new_client, new_local_registry

CALLS = 50
SPECS = 10_000


@frozen
class Pair:
    """``ours`` and ``plain`` each do one round; their ratio may be ``bound`` at most."""

    name: str
    ours: Callable[[], object]
    plain: Callable[[], object]
    bound: float
    rounds: int
    per_round: int = 1


@frozen
class Mounted:
    """The answer to VolumeDriver.Mount."""

    mountpoint: str
    err: str = ""


@contextmanager
def quick_plugin(directory: Path) -> Iterator[str]:
    """The path of a socket on which a plugin answers, in a process of its own."""
    path = directory / "quick.sock"
    program = Path(__file__).with_name("quick_plugin.py")
    process = subprocess.Popen([sys.executable, str(program), str(path)])  # noqa: S603  our own
    try:
        for _ in range(500):
            if path.exists():
                break
            time.sleep(0.01)
        yield str(path)
    finally:
        process.terminate()
        process.wait()


def call_pair(path: str) -> Pair:
    """One small call, typed, against the same request on a bare urllib3 pool with json."""
    client = new_client(f"unix://{path}", settings=Settings())
    args = {"Name": "books", "ID": "reader-1"}

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            return sock

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    pool = Pool("localhost")
    headers = {"Accept": "application/vnd.docker.plugins.v1.2+json"}

    def ours() -> None:
        for _ in range(CALLS):
            client.call("VolumeDriver.Mount", args, Mounted)

    def plain() -> None:
        for _ in range(CALLS):
            answer = pool.urlopen(
                "POST",
                "/VolumeDriver.Mount",
                body=json.dumps(args),
                headers=headers,
                retries=False,
            )
            json.loads(answer.data)

    return Pair("client.call, against bare urllib3 with json", ours, plain, 1.10, 240, CALLS)


def scan_pairs(directory: Path) -> Iterator[Pair]:
    """A scan of 10,000 specs, sorted and checked, against one plain pass over the same tree."""
    for shape, bound in (("flat", 2.5), ("nested", 1.0)):
        tree = directory / shape
        tree.mkdir()
        for number in range(SPECS):
            name = f"plugin-{number:05}"
            folder = tree if shape == "flat" else tree / name
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.spec").write_text("tcp://127.0.0.1:1")
        settings = Settings(sockets_path=str(directory / "none"), specs_paths=(str(tree),))
        registry = new_local_registry(settings)
        assert len(registry.scan()) == SPECS
        yield Pair(
            f"scan of {SPECS:,} specs, {shape}, against os.scandir",
            registry.scan,
            partial(walk, str(tree)),
            bound,
            15,
        )


def walk(path: str) -> int:
    """A plain recursive pass: how many files there are."""
    count = 0
    with os.scandir(path) as entries:
        for entry in entries:
            count += walk(entry.path) if entry.is_dir() else 1
    return count


def import_pair() -> Pair:
    """A process that imports this library, against one that imports urllib3."""

    def importing(module: str) -> Callable[[], Any]:
        command = [sys.executable, "-c", f"import {module}"]
        return lambda: subprocess.run(command, check=True)  # noqa: S603  our own

    return Pair(
        "import moby_plugins, against import urllib3",
        importing("moby_plugins"),
        importing("urllib3"),
        1.5,
        15,
    )
