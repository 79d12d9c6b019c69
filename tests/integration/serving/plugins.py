"""Plugins to be served, and raw HTTP to try them with."""

import socket
import threading
from collections.abc import Iterator, Mapping

from moby_plugins.domain.address import Address
from moby_plugins.subsystems import GraphDriver, Subsystem, Volume, VolumeDriver, remote

WAIT = 5.0


class Volumes(VolumeDriver):
    """Volumes in memory; ``mount`` waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.mounting = threading.Semaphore(0)
        self.may_end = threading.Event()

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        self.names.append(name)

    def list(self) -> tuple[Volume, ...]:
        return tuple(map(Volume, self.names))

    def mount(self, name: str, id: str) -> str:
        self.mounting.release()
        self.may_end.wait(WAIT)
        return f"/mnt/{name}"

    def remove(self, name: str) -> None:
        raise LookupError(f"no volume {name}")


class Layers(GraphDriver):
    """Layers of nothing but a size; ``diff`` of "endless" ends when its host stops reading."""

    def __init__(self) -> None:
        super().__init__()
        self.left = threading.Event()

    def diff(self, id: str, parent: str = "") -> Iterator[bytes]:
        try:
            yield b"first"
            while id == "endless":
                yield b"more" * 1024
            if id == "broken":
                raise OSError("disk error")
            yield b"last"
        finally:
            self.left.set()

    def apply_diff(self, id: str, parent: str, archive: Iterator[bytes]) -> int:  # type: ignore[override]
        return sum(map(len, archive))


class Echo(Subsystem):
    """A subsystem of one's own, for what needs no volume."""

    @remote(result="Said")
    def say(self, text: str) -> str:
        """The same again."""
        raise NotImplementedError


class Echoes(Echo):
    def say(self, text: str) -> str:
        return text


def dial(addr: str) -> socket.socket:
    """A raw connection to the UNIX socket of a server, for what no client would send."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(WAIT)
    sock.connect(Address(addr).path)
    return sock


def post(method: str, body: bytes, headers: str = "") -> bytes:
    """A request as it stands on the wire."""
    length = "" if "chunked" in headers else f"Content-Length: {len(body)}\r\n"
    return f"POST /{method} HTTP/1.1\r\nHost: x\r\n{length}{headers}\r\n".encode() + body


def answer(sock: socket.socket) -> bytes:
    """One answer with a length, and nothing of the next: status line and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _more(sock)
    return head.split(b"\r\n")[0] + b" | " + body


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise AssertionError("the connection ended before the answer did")
    return data
