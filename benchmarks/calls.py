"""Small calls with ``client.call``, against the Go host, other clients and a urllib3 pool."""

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
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import Client, Settings, new_client

CALLS = 50
ROUNDS = 100
THREADS = 8

DEFAULT = "client.call"
FAST = "client.call, httptools"
GO = "the Go host"
BARE = "urllib3 and json"
SOCKET = "a bare socket"

WAKING = (
    "The call takes about as many instructions and system calls as the Go host's, so there is "
    "little that we can be quicker by. The floor is the time of the plugin and of the kernel, "
    "which no host can save; with a core each, it includes the wait for a core to wake."
)
TURNS = (
    "CPython lets one thread at a time run, and each system call of a call passes the turn on: "
    "where the next thread has to be woken on another core, that takes longer than what it saves. "
    "The floor is a bare socket in each of the same threads, over one such socket in one."
)
AIOHTTP = "aiohttp parses with llhttp, in C; our transports read small responses without a parser."
PEERS = (
    Comparison("a small call, default transport", DEFAULT, BARE, Bound(1.1)),
    Comparison("a small call, default transport", DEFAULT, "httpx", Bound(0.5)),
    Comparison("a small call, default transport", DEFAULT, "requests-unixsocket2", Bound(0.35)),
    Comparison("a small call, default transport", DEFAULT, "docker-py's adapter", Bound(0.35)),
    Comparison("a small call, default transport", DEFAULT, "aiohttp", Bound(1.0), AIOHTTP),
    Comparison("a small call, transport `httptools`", FAST, "aiohttp", None),
)


@frozen
class Mounted:
    """The response to VolumeDriver.Mount."""

    mountpoint: str
    err: str = ""


def settings(transport: str) -> Settings:
    """Return default settings with the given transport."""
    return Settings(transports={"unix": transport})


def calling(client: Client, calls: int = CALLS) -> Callable[[], None]:
    """Return a function that makes a round of calls and checks each response."""

    def rounds() -> None:
        for _ in range(calls):
            assert client.call(METHOD, ARGS, Mounted).mountpoint == MOUNTPOINT

    return rounds


def call_contests(
    directory: Path, program: Path, placement: Placement, bounds: tuple[float, float]
) -> Iterator[Contest]:
    """Yield contests of a small call, over both transports and a bare socket, with the Go host."""
    fast, default = bounds
    rows = (
        Comparison(
            "a small call, transport `httptools`",
            FAST,
            GO,
            Bound(fast),
            WAKING,
            SOCKET,
            "",
            "small call with a time-out, transport `httptools`",
        ),
        Comparison(
            "a small call, default transport",
            DEFAULT,
            GO,
            Bound(default),
            WAKING,
            SOCKET,
            "",
            "small call with a time-out, transport `urllib3`",
        ),
    )
    with (
        placement.pinned(),
        quick_plugins(directory, placement=placement) as path,
        ExitStack() as stack,
    ):
        sides = {GO: stack.enter_context(GoHost.running(program)).side("call", path, Count=CALLS)}
        for side, transport in ((DEFAULT, "urllib3"), (FAST, "httptools")):
            client = new_client(f"unix://{path}", settings=settings(transport))
            sides[side] = timed(calling(stack.enter_context(client)))
        sides[SOCKET] = timed(partial(bare_calls, stack.enter_context(connected(path))))
        yield Contest(sides, rows, ROUNDS, CALLS, placement=placement)


def peer_contests(directory: Path, placement: Placement) -> Iterator[Contest]:
    """Yield contests of the same call with other clients in Python."""
    with (
        placement.pinned(),
        quick_plugins(directory, placement=placement) as path,
        ExitStack() as stack,
    ):
        sides = {
            side: timed(calling(stack.enter_context(new_client(f"unix://{path}", settings=chosen))))
            for side, chosen in ((DEFAULT, settings("urllib3")), (FAST, settings("httptools")))
        }
        sides[BARE] = timed(bare_urllib3(path))
        sides |= stack.enter_context(clients(path, CALLS))
        yield Contest(sides, PEERS, ROUNDS // 2, CALLS, placement=placement)


def connected(path: Path) -> socket.socket:
    """Return a socket that is connected to the plugin at ``path``."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock


def bare_request() -> bytes:
    """Return the bytes of a call."""
    body = json.dumps(ARGS).encode()
    head = f"POST /{METHOD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def bare_calls(sock: socket.socket, calls: int = CALLS) -> None:
    """Send the bytes of a call without any parsing, to measure the plugin and the kernel."""
    request = bare_request()
    for _ in range(calls):
        sock.sendall(request)
        assert sock.recv(1 << 16)


def thread_contests(directory: Path, placement: Placement) -> Iterator[Contest]:
    """Yield contests of eight threads at once against one, with one client; raise any error."""
    with (
        placement.pinned(),
        quick_plugins(directory, placement=placement) as path,
        ExitStack() as stack,
    ):
        threads = stack.enter_context(ThreadPoolExecutor(THREADS))
        socks = [stack.enter_context(connected(path)) for _ in range(THREADS)]
        free = list(socks)

        def bare() -> None:
            sock = free.pop()
            bare_calls(sock)
            free.append(sock)

        many, one, floor, lone = f"{THREADS} threads", "one thread", "bare threads", "one, bare"
        for transport, bound in (("httptools", 1.3), ("urllib3", 0.9)):
            client = new_client(f"unix://{path}", settings=settings(transport))
            work = calling(stack.enter_context(client))
            rows = (
                Comparison(
                    f"{THREADS} threads calling at once, transport `{transport}`",
                    many,
                    one,
                    Bound(bound, throughput=True),
                    TURNS,
                    floor,
                    lone,
                    f"small call with a time-out, transport `{transport}`",
                ),
            )
            sides = {
                many: timed(at_once(threads, work)),
                one: timed(partial(in_turn, work)),
                floor: timed(at_once(threads, bare)),
                lone: timed(partial(in_turn, bare)),
            }
            yield Contest(sides, rows, 40, CALLS * THREADS, placement=placement)


def at_once(threads: ThreadPoolExecutor, work: Callable[[], None]) -> Callable[[], None]:
    """Return a function that runs ``work`` in all threads at once."""

    def all_of_them() -> None:
        for done in [threads.submit(work) for _ in range(THREADS)]:
            done.result()

    return all_of_them


def in_turn(work: Callable[[], None]) -> None:
    """Run ``work`` in this thread, as often as all threads together."""
    for _ in range(THREADS):
        work()


def bare_urllib3(path: Path) -> Callable[[], None]:
    """Return a function that makes the same request with only urllib3's pool and ``json``."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            return sock

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    pool = Pool("localhost", maxsize=1)
    headers = {"Accept": "application/vnd.docker.plugins.v1.2+json"}

    def rounds() -> None:
        for _ in range(CALLS):
            body = json.dumps(ARGS)
            answer = pool.urlopen("POST", f"/{METHOD}", body=body, headers=headers, retries=False)
            assert json.loads(answer.data)["Mountpoint"] == MOUNTPOINT

    return rounds
