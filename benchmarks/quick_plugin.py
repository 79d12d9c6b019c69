"""A plugin that responds as fast as Python can; its time is the same for all clients.

``python quick_plugin.py DIRECTORY COUNT`` listens on ``p00000.sock`` and so on, and on
``closing.sock``, where the connection is closed after each response. ``/Benchmark.Sink`` accepts
any body, ``/Benchmark.Source`` sends the requested number of bytes, and other methods return the
same few bytes.
"""

import contextlib
import json
import os
import re
import select
import socket
import sys
from pathlib import Path

MANIFEST = b'{"Implements":["VolumeDriver"]}\n'
BODY = b'{"Mountpoint":"/mnt/books","Err":""}\n'
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
BUFFER = 1 << 20
BACKLOG = 1024


def answer(body: bytes, closing: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), closing, body)


ANSWERS = {
    closing: {path: answer(body, b"Connection: close\r\n" * closing) for path, body in bodies}
    for bodies in [((b"/Plugin.Activate", MANIFEST), (b"", BODY))]
    for closing in (False, True)
}


class Conversation:
    """One connection, read whenever it is readable."""

    def __init__(self, sock: socket.socket, *, closing: bool) -> None:
        self.sock = sock
        self._answers = ANSWERS[closing]
        self._closing = closing
        self._data = b""

    def go_on(self) -> bool:
        """Read received bytes and respond to complete requests; return false at the end."""
        more = self.sock.recv(1 << 16)
        self._data += more
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not (more and end):
            return bool(more)
        path = head.split(b" ", 2)[1]
        length = LENGTH.search(head)
        size = int(length[1]) if length else 0
        if path == b"/Benchmark.Sink":
            self._swallow(rest, size if length else None)
        elif len(rest) < size:
            return True
        elif path == b"/Benchmark.Source":
            self._pour(json.loads(rest)["Bytes"])
        else:
            self.sock.sendall(self._answers.get(path) or self._answers[b""])
        self._data = b""
        return not self._closing

    def _swallow(self, rest: bytes, size: int | None) -> None:
        # Without a length the body is chunked, and all zeros: only the last chunk can end so.
        buffer, came, tail = bytearray(BUFFER), len(rest), rest[-7:]
        while came < size if size is not None else not tail.endswith(b"\r\n0\r\n\r\n"):
            count = self.sock.recv_into(buffer)
            if not count:
                return
            came += count
            tail = (tail + bytes(buffer[max(count - 7, 0) : count]))[-7:]
        self.sock.sendall(self._answers[b""])

    def _pour(self, size: int) -> None:
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        # The kernel sends pages of a file without copying them here: the host is what is measured.
        zeros = os.memfd_create("zeros")
        os.truncate(zeros, BUFFER)
        while size:
            size -= os.sendfile(self.sock.fileno(), zeros, 0, min(size, BUFFER))
        os.close(zeros)


def serve(directory: Path, count: int) -> None:
    """Serve all sockets until the process is stopped."""
    poll = select.epoll()
    listeners: dict[int, socket.socket] = {}
    conversations: dict[int, Conversation] = {}
    names = [f"p{number:05}" for number in range(count)]
    for name in ["closing", *names]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / f"{name}.sock"))
        listener.listen(BACKLOG)
        listeners[listener.fileno()] = listener
        poll.register(listener, select.EPOLLIN)
    closing = next(iter(listeners))
    while True:
        for number, _ in poll.poll():
            if number in listeners:
                sock, _ = listeners[number].accept()
                conversations[sock.fileno()] = Conversation(sock, closing=number == closing)
                poll.register(sock, select.EPOLLIN)
                continue
            going_on = False
            with contextlib.suppress(ConnectionError):
                going_on = conversations[number].go_on()
            if not going_on:
                conversations.pop(number).sock.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
