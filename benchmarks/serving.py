"""A served plugin against one in Flask on the same server, called over a bare socket.

Also an asynchronous plugin against the threaded one.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import Bound, Comparison, Contest, timed
from benchmarks.placement import Placement
from benchmarks.processes import running

CALLS = 50
OURS, FLASK, ASYNC = "PluginApp", "Flask", "AsyncPluginApp"
BODY = b'{"Name":"books"}\n'
REQUEST = (
    b"POST /VolumeDriver.Get HTTP/1.1\r\nHost: plugin.moby.localhost\r\n"
    b"Accept: application/vnd.docker.plugins.v1.2+json\r\nUser-Agent: Go-http-client/1.1\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)

OBSTACLE = (
    "The server is cheroot, in Python: reading the request and writing the answer is most of "
    "what either plugin takes, and both pay it. The floor, an application that does nothing on "
    "the same server, shows how little is left."
)


def serving_contest(directory: Path, placement: Placement) -> Iterator[Contest]:
    """Yield a contest of the plugins and of an application that does nothing."""
    with placement.pinned(), ExitStack() as stack:
        sides = {}
        for side, app in (
            (OURS, "ours"),
            (ASYNC, "async"),
            (FLASK, "flask"),
            ("nothing", "nothing"),
        ):
            path = directory / f"{app}.sock"
            arguments = ("served.py", app, str(path))
            stack.enter_context(running(*arguments, until=path, placement=placement))
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(path))
            sides[side] = timed(asking(sock))
        rows = (
            Comparison(
                "a served plugin, one small call",
                OURS,
                FLASK,
                Bound(2.0, throughput=True),
                OBSTACLE,
                "nothing",
            ),
            Comparison("a served plugin on an event loop, one small call", ASYNC, OURS, Bound(0.8)),
        )
        yield Contest(sides, rows, 100, CALLS, placement=placement)


def asking(sock: socket.socket) -> Callable[[], None]:
    """Return a function that sends the same request repeatedly and checks each response."""

    def rounds() -> None:
        for _ in range(CALLS):
            sock.sendall(REQUEST)
            assert _answer(sock).startswith(b"HTTP/1.1 200 ")

    return rounds


def _answer(sock: socket.socket) -> bytes:
    data = b""
    while not data.rstrip().endswith(b"}"):
        more = sock.recv(1 << 16)
        assert more, data
        data += more
    return data
