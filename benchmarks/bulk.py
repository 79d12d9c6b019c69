"""Throughput and memory of ``send_file`` and ``stream`` for a gigabyte each."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from benchmarks.calls import FAST, GO, Mounted, settings
from benchmarks.contest import Bound, Comparison, Contest, timed
from benchmarks.peers.go_host import GoHost
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import Client, new_client
from moby_plugins.domain.http import STREAM_BYTES

GIGABYTE = 1 << 30
ROUNDS = 9
# How many bytes the process may grow at its peak.
MAX_GROWTH = 8 << 20

DEFAULT = "default transport"
BARE = "a bare socket"
LABELS = {DEFAULT: DEFAULT, FAST: "transport `httptools`"}
BOUNDS = {"send_file": Bound(2.0, throughput=True), "stream": Bound(1.1, throughput=True)}
OBSTACLE = (
    "The floor, a bare socket, is what Python can reach on this machine without doing anything "
    "else, and hands out no bytes: nearly all of the time is the kernel's, which copies them, and "
    "Go waits for the same copy."
)


@frozen
class Growth:
    """The growth in memory of the process, from before the work to its peak."""

    work: str
    bytes: int

    @property
    def kept(self) -> bool:
        """Whether the growth is within the bound."""
        return self.bytes < MAX_GROWTH

    @property
    def line(self) -> str:
        """A row of its table."""
        return (
            f"| {self.work} | {self.bytes / (1 << 20):.1f} MiB "
            f"| < {MAX_GROWTH >> 20} MiB{'' if self.kept else ' (missed)'} |"
        )


def bulk_contests(
    directory: Path, program: Path, placement: Placement
) -> Iterator[tuple[Contest, list[Growth]]]:
    """Yield a contest for each direction, with the growth in memory for both transports."""
    file = directory / "gigabyte"
    with file.open("wb") as made:
        made.truncate(GIGABYTE)
    with (
        placement.pinned(),
        quick_plugins(directory, placement=placement) as path,
        GoHost.running(program) as go,
        ExitStack() as stack,
    ):
        clients = {
            name: stack.enter_context(new_client(f"unix://{path}", settings=settings(transport)))
            for name, transport in ((DEFAULT, "urllib3"), (FAST, "httptools"))
        }
        works: dict[str, Callable[[Client], Callable[[], None]]] = {
            "send_file": lambda client: sending(client, file),
            "stream": streaming,
        }
        peers = {
            "send_file": go.side("sendFile", path, File=str(file)),
            "stream": go.side("stream", path, Count=GIGABYTE),
        }
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.connect(str(path))
        bare = {"send_file": lambda: pouring(sock, file), "stream": lambda: counting(sock)}
        for name, work in works.items():
            sides = {side: timed(work(client)) for side, client in clients.items()}
            rows = tuple(
                Comparison(f"{name} of 1 GiB, {label}", side, GO, BOUNDS[name], OBSTACLE, BARE)
                for side, label in LABELS.items()
            )
            others = {BARE: timed(bare[name]), GO: peers[name]}
            contest = Contest(sides | others, rows, ROUNDS, placement=placement)
            yield (
                contest,
                [Growth(f"{name}, {label}", peak(sides[side])) for side, label in LABELS.items()],
            )


def sending(client: Client, file: Path) -> Callable[[], None]:
    """Return a function that sends all of ``file``."""

    def work() -> None:
        with file.open("rb") as data:
            client.send_file("Benchmark.Sink", data, Mounted)

    return work


def streaming(client: Client) -> Callable[[], None]:
    """Return a function that reads a gigabyte from a stream."""

    def work() -> None:
        with client.stream("Benchmark.Source", {"Bytes": GIGABYTE}) as stream:
            assert sum(map(len, stream)) == GIGABYTE

    return work


def pouring(sock: socket.socket, file: Path) -> None:
    """Send ``file`` as fast as Python can: the kernel copies it."""
    sock.sendall(b"POST /Benchmark.Sink HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
    with file.open("rb", buffering=0) as data:
        sock.sendfile(data)
    assert sock.recv(1 << 16)


def counting(sock: socket.socket) -> None:
    """Receive a gigabyte as fast as Python can, in steps of the same size, and discard it."""
    body = b'{"Bytes":%d}' % GIGABYTE
    sock.sendall(
        b"POST /Benchmark.Source HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    buffer, head = bytearray(STREAM_BYTES), sock.recv(STREAM_BYTES)
    left = GIGABYTE - len(head.partition(b"\r\n\r\n")[2])
    while left:
        left -= sock.recv_into(buffer)


def peak(work: Callable[[], object]) -> int:
    """Return by how many bytes the process grows at its peak during ``work``."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
