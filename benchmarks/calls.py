"""Small calls: the Go host, other clients and a bare urllib3 pool against ``client.call``."""

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from attrs import frozen
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from benchmarks.contest import Bound, Comparison, Contest, timed
from benchmarks.peers.go_host import GoHost
from benchmarks.peers.python_clients import ARGS, METHOD, MOUNTPOINT, clients
from benchmarks.processes import on_one_core, quick_plugins
from moby_plugins import Client, Settings, new_client

CALLS = 50
ROUNDS = 100
THREADS = 8

DEFAULT = "client.call"
FAST = "client.call, httptools"
GO = "the Go host"
BARE = "urllib3 and json"
SOCKET = "a bare socket"

OBSTACLE = (
    "Most of the default transport's time is spent in urllib3, `http.client` and the parser for "
    "mail that reads its headers; the profile below has their shares. With our own part it is "
    "still quicker than a bare urllib3 pool. Who needs more takes the transport `httptools`."
)
WAKING = (
    "The rows on one core leave out the wait for a core to wake. What a bare socket takes there is "
    "the plugin's and the kernel's; what we take besides is the interpreter's, whose shares are in "
    "the profile below. Go's compiled code takes less for the same. Where both ends have a core of "
    "their own, the wait is longer than either's work."
)
TURNS = (
    "CPython lets one thread at a time run, and each system call of a call passes the turn on: "
    "where the next thread has to be woken on another core, that takes longer than what it saves. "
    "The row below is a bare urllib3 pool in the same threads."
)
AIOHTTP = (
    "aiohttp parses with llhttp, in C, as our transport `httptools` does; urllib3 reads answers "
    "with `http.client` and Python's parser for mail, and that is most of the profile below."
)
ROWS = (
    Comparison("one small call, default transport", DEFAULT, GO, None, OBSTACLE),
    Comparison("the same, transport `httptools`", FAST, GO, Bound(0.9), WAKING),
    Comparison("the same, default transport", DEFAULT, BARE, Bound(1.1)),
    Comparison("the same, default transport", DEFAULT, "httpx", Bound(0.5)),
    Comparison("the same, default transport", DEFAULT, "requests-unixsocket2", Bound(0.35)),
    Comparison("the same, default transport", DEFAULT, "docker-py's adapter", Bound(0.35)),
    Comparison("the same, default transport", DEFAULT, "aiohttp", Bound(1.0), AIOHTTP),
    Comparison("the same, transport `httptools`", FAST, "aiohttp", None),
)


@frozen
class Mounted:
    """The answer to VolumeDriver.Mount."""

    mountpoint: str
    err: str = ""


def settings(transport: str) -> Settings:
    """All defaults, over that transport."""
    return Settings(transports={"unix": transport})


def calling(client: Client, calls: int = CALLS) -> Callable[[], None]:
    """A round of calls, each of which must be answered."""

    def rounds() -> None:
        for _ in range(calls):
            assert client.call(METHOD, ARGS, Mounted).mountpoint == MOUNTPOINT

    return rounds


def call_contest(directory: Path, go: GoHost) -> Iterator[Contest]:
    """All of them, in one contest."""
    with quick_plugins(directory) as path, ExitStack() as stack:
        addr = f"unix://{path}"
        default = stack.enter_context(new_client(addr, settings=settings("urllib3")))
        fast = stack.enter_context(new_client(addr, settings=settings("httptools")))
        sides = {
            DEFAULT: timed(calling(default)),
            GO: go.side("call", path, Count=CALLS),
            FAST: timed(calling(fast)),
            BARE: timed(bare_urllib3(path)),
            **stack.enter_context(clients(path, CALLS)),
        }
        yield Contest(sides, ROWS, ROUNDS, CALLS)
        yield thread_contest(default, path, stack.enter_context(ThreadPoolExecutor(THREADS)))


def one_core_contest(directory: Path, program: Path) -> Iterator[Contest]:
    """The same call where host and plugin share a core: what both do, and no wait for a core."""
    with on_one_core(), quick_plugins(directory) as path, ExitStack() as stack:
        sides = {GO: stack.enter_context(GoHost.running(program)).side("call", path, Count=CALLS)}
        for side, transport in ((DEFAULT, "urllib3"), (FAST, "httptools")):
            client = new_client(f"unix://{path}", settings=settings(transport))
            sides[side] = timed(calling(stack.enter_context(client)))
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.connect(str(path))
        sides[SOCKET] = timed(partial(bare_calls, sock))
        rows = (
            Comparison("the same on one core, default transport", DEFAULT, GO, None),
            Comparison("the same on one core, transport `httptools`", FAST, GO, None),
            Comparison("the same on one core, a bare socket", SOCKET, GO, None),
        )
        yield Contest(sides, rows, ROUNDS, CALLS)


def bare_calls(sock: socket.socket) -> None:
    """The same bytes, written and not read: what the plugin and the kernel take."""
    body = json.dumps(ARGS).encode()
    head = f"POST /{METHOD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    for _ in range(CALLS):
        sock.sendall(request)
        assert sock.recv(1 << 16)


def thread_contest(client: Client, path: Path, threads: ThreadPoolExecutor) -> Contest:
    """Eight threads at once against one, over one client; any error is raised."""

    def at_once(work: Callable[[], None]) -> Callable[[], None]:
        def all_of_them() -> None:
            for done in [threads.submit(work) for _ in range(THREADS)]:
                done.result()

        return all_of_them

    ours, one, bare, bare_one = f"{THREADS} threads", "one thread", f"{THREADS}, bare", "one, bare"
    rows = (
        Comparison(
            f"{THREADS} threads calling at once", ours, one, Bound(1.0, throughput=True), TURNS
        ),
        Comparison(f"{THREADS} threads, urllib3 and json", bare, bare_one, None),
    )
    pool = bare_urllib3(path, THREADS)
    sides = {
        ours: timed(at_once(calling(client))),
        one: timed(calling(client, CALLS * THREADS)),
        bare: timed(at_once(pool)),
        bare_one: timed(lambda: [pool() for _ in range(THREADS)]),
    }
    return Contest(sides, rows, 40, CALLS * THREADS)


def bare_urllib3(path: Path, size: int = 1) -> Callable[[], None]:
    """The same request on a pool of urllib3's, with ``json``, and nothing else."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            return sock

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    pool = Pool("localhost", maxsize=size)
    headers = {"Accept": "application/vnd.docker.plugins.v1.2+json"}

    def rounds() -> None:
        for _ in range(CALLS):
            body = json.dumps(ARGS)
            answer = pool.urlopen("POST", f"/{METHOD}", body=body, headers=headers, retries=False)
            assert json.loads(answer.data)["Mountpoint"] == MOUNTPOINT

    return rounds
