"""The cost of ``scan``, ``get_all`` and ``get``, and of importing the library."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.calls import GO, settings
from benchmarks.contest import Bound, Comparison, Contest, Side, timed
from benchmarks.peers.go_host import GoHost
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import Registry, Settings, new_local_registry

SPECS = 10_000
PLUGINS = 200
GETS = 10_000

SCAN, PASS = "scan", "os.scandir"
GET, LOOKUP = "get", "a look-up under a lock"
THIS, URLLIB3 = "moby_plugins", "urllib3"
GET_ALL, FAST_GET_ALL = "get_all", "get_all, httptools"
ONE_BY_ONE = "get, one by one, httptools"

OBSTACLE = (
    "An activation takes about as many instructions and system calls as the Go host's, but those "
    "of the interpreter take longer. One thread begins the handshakes of local sockets and reads "
    "the responses as they arrive, so no time passes in waiting for one plugin. The profile below "
    "has the shares of what remains: a look-up on disk, an address, a client, a connection and a "
    "handshake. The row of one after the other shows what the order of the work changes."
)
LISTING = (
    "An entry costs Python twice: an object for what the directory says of it, which is the "
    "floor, `os.scandir` alone, and as much again for its suffix, its kind, its name and "
    "the sorting, each a step of the interpreter. What checks names costs next to nothing by now."
)


def scan_contests(directory: Path, program: Path, placement: Placement) -> Iterator[Contest]:
    """Yield contests of a scan of 10,000 specs, with Go's and with a plain recursive pass."""
    with placement.pinned(), GoHost.running(program) as go:
        yield from _scan_contests(directory, go, placement)


def _scan_contests(directory: Path, go: GoHost, placement: Placement) -> Iterator[Contest]:
    for shape, plain in (("flat", Bound(2.5)), ("nested", Bound(1.0))):
        tree = directory / shape
        make_specs(tree, nested=shape == "nested")
        missing = str(directory / "none")
        registry = new_local_registry(Settings(sockets_path=missing, specs_paths=(str(tree),)))
        assert len(registry.scan()) == SPECS
        work = f"scan of {SPECS:,} plugins, {shape}"
        sides = {
            SCAN: timed(registry.scan),
            GO: go.side("scan", tree, Count=SPECS),
            PASS: timed(partial(walk, str(tree))),
        }
        rows = (
            Comparison(work, SCAN, GO, Bound(1.2), LISTING, PASS),
            Comparison(work, SCAN, PASS, plain),
        )
        yield Contest(sides, rows, 41, placement=placement)


def make_specs(tree: Path, *, nested: bool) -> None:
    """Make ``SPECS`` specs in ``tree``, all in one directory or each in its own."""
    tree.mkdir()
    for number in range(SPECS):
        name = f"plugin-{number:05}"
        folder = tree / name if nested else tree
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.spec").write_text("tcp://127.0.0.1:1")


def walk(path: str) -> int:
    """Return the number of files, by a plain recursive pass."""
    count = 0
    with os.scandir(path) as entries:
        for entry in entries:
            count += walk(entry.path) if entry.is_dir() else 1
    return count


def get_all_contests(directory: Path, program: Path, placement: Placement) -> Iterator[Contest]:
    """Yield contests of a new registry that activates all of 200 running plugins."""
    work = f"get_all of {PLUGINS} live plugins"
    floor = ("bare sockets", "")
    fast, default = (f"{work}, for each, transport `{name}`" for name in ("httptools", "urllib3"))
    rows = (
        Comparison(
            f"{work}, transport `httptools`", FAST_GET_ALL, GO, Bound(1.1), OBSTACLE, *floor, fast
        ),
        Comparison(
            f"{work}, default transport", GET_ALL, GO, Bound(2.2), OBSTACLE, *floor, default
        ),
        Comparison(f"{work}, one after the other, `httptools`", ONE_BY_ONE, GO, None),
    )
    with (
        placement.pinned(),
        quick_plugins(directory, PLUGINS, placement),
        GoHost.running(program) as go,
    ):
        os.unlink(directory / "closing.sock")
        sides = {
            GET_ALL: activating(directory, "urllib3"),
            GO: go.side("getAll", directory, Count=PLUGINS),
            FAST_GET_ALL: activating(directory, "httptools"),
            ONE_BY_ONE: activating(directory, "httptools", one_by_one),
            "bare sockets": timed(partial(shaking_hands, sorted(directory.iterdir()))),
        }
        yield Contest(sides, rows, 25, placement=placement)


def shaking_hands(paths: list[Path]) -> None:
    """Do all handshakes over bare sockets: send all requests before reading a response."""
    request = b"POST /Plugin.Activate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with ExitStack() as stack:
        socks = []
        for path in paths:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(path))
            sock.sendall(request)
            socks.append(sock)
        for sock in socks:
            assert sock.recv(1 << 16)


def all_at_once(registry: Registry) -> int:
    """Activate all plugins with ``get_all``, and return their number."""
    return len(registry.get_all("VolumeDriver"))


def one_by_one(registry: Registry) -> int:
    """Activate the same plugins in one thread, without the cost of the threads of ``get_all``."""
    return len([registry.get(name, "VolumeDriver") for name in registry.scan()])


def activating(
    directory: Path, transport: str, load: Callable[[Registry], int] = all_at_once
) -> Side:
    """Return a side that runs ``load`` with a new registry; closing it is not measured."""
    chosen = Settings(
        sockets_path=str(directory), specs_paths=(), transports=settings(transport).transports
    )

    def side() -> float:
        with new_local_registry(chosen) as registry:
            began = time.perf_counter()
            found = load(registry)
            took = time.perf_counter() - began
        assert found == PLUGINS
        return took

    return side


def get_contest(directory: Path, placement: Placement) -> Iterator[Contest]:
    """Yield a contest of ``get`` of an active plugin with the minimum work of any cache."""
    with (
        placement.pinned(),
        quick_plugins(directory, placement=placement) as path,
        ExitStack() as stack,
    ):
        chosen = Settings(sockets_path=str(directory), specs_paths=())
        registry = stack.enter_context(new_local_registry(chosen))
        name = path.stem
        row = Comparison("get of an active plugin", GET, LOOKUP, Bound(10.0))
        sides = {GET: timed(getting(registry, name)), LOOKUP: timed(looking_up(name))}
        yield Contest(sides, (row,), 30, GETS, placement=placement)


def getting(registry: Registry, name: str) -> Callable[[], None]:
    """Return a function that gets the same plugin ``GETS`` times."""

    def work() -> None:
        for _ in range(GETS):
            registry.get(name, "VolumeDriver")

    return work


def looking_up(name: str) -> Callable[[], None]:
    """Return a function that makes as many look-ups in a dictionary, each under a lock."""
    lock, known = threading.Lock(), {name: object()}

    def get(wanted: str) -> object:
        with lock:
            return known[wanted]

    def work() -> None:
        for _ in range(GETS):
            get(name)

    return work


def import_contest(placement: Placement) -> Iterator[Contest]:
    """Yield a contest of a process that imports this library with one that imports urllib3."""

    def importing(module: str) -> Side:
        command = [sys.executable, "-c", f"import {module}"]
        return timed(lambda: subprocess.run(command, check=True))  # noqa: S603  our own

    row = Comparison("import moby_plugins", THIS, URLLIB3, Bound(1.5))
    sides = {name: importing(name) for name in (THIS, URLLIB3)}
    yield Contest(sides, (row,), 15, placement=placement)
