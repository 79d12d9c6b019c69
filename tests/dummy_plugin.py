"""A plugin that is a script: each connection is answered by a function over the raw socket.

For what no well-behaved server would send, byte for byte; a plugin that merely fails is a
``moby_plugins.testing.FaultServer``. Listens on loopback or a UNIX socket, and answers each
connection in a thread of its own.
"""

import contextlib
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from moby_plugins.adapters.memory.fault_server import AcceptedConnections

Behaviour = Callable[["Conversation"], object]

# Connections that wait to be accepted. If there were more, TCP would drop what completes one, and
# the host, which takes it for complete, would send again after seconds.
_BACKLOG = 1024
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: chunked", re.IGNORECASE)


class Conversation:
    """One connection, seen from the plugin's end."""

    def __init__(self, sock: socket.socket, stopped: threading.Event) -> None:
        self.sock = sock
        self.stopped = stopped
        self._rest = b""

    def read_request(self) -> bytes:
        """A whole request, head and body as they came; ``b""`` once the host has hung up."""
        data = self._read_until(b"", lambda data: b"\r\n\r\n" in data)
        head, _, _ = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length:
            size = len(head) + 4 + int(length[1])
            data = self._read_until(data, lambda data: len(data) >= size)
        elif _CHUNKED.search(head):
            # Not within the head, whose last header may end in a 0.
            data = self._read_until(data, lambda data: data.endswith(b"0\r\n\r\n", len(head) + 4))
        return data

    def _read_until(self, data: bytes, enough: Callable[[bytes], bool]) -> bytes:
        while not enough(data):
            more = self.sock.recv(1 << 16)
            if not more:
                return b""
            data += more
        return data

    def send(self, data: bytes) -> None:
        """Send, unless the host has hung up."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def drip(self, data: bytes, every: float) -> None:
        """Send byte by byte, until the host hangs up or the plugin is stopped."""
        for byte in data:
            try:
                self.sock.sendall(bytes([byte]))
            except OSError:
                return
            if self.stopped.wait(every):
                return

    def hang(self) -> None:
        """Do nothing until the host hangs up or the plugin is stopped."""
        self.sock.settimeout(0.05)
        while not self.stopped.is_set():
            with contextlib.suppress(TimeoutError):
                try:
                    if not self.sock.recv(1 << 16):
                        return
                except ConnectionError:
                    return


class DummyPlugin:
    """Serves ``behaviour`` for each connection until it is closed."""

    def __init__(self, listener: socket.socket, addr: str, behaviour: Behaviour) -> None:
        self.addr = addr
        self.connections = 0
        self._behaviour = behaviour
        self._stopped = threading.Event()
        self._served = AcceptedConnections(listener, self._converse)
        self._served.start()

    @classmethod
    def on_unix(cls, path: Path, behaviour: Behaviour) -> Self:
        """Listen on a UNIX socket at ``path``."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        return cls(listener, f"unix://{path}", behaviour)

    @classmethod
    def on_tcp(
        cls, behaviour: Behaviour, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> Self:
        """Listen on a free port of the loopback interface, under TLS if a context is given."""
        listener = socket.create_server((host, 0), backlog=_BACKLOG)
        port = listener.getsockname()[1]
        if context is None:
            return cls(listener, f"tcp://{host}:{port}", behaviour)

        def secured(conversation: Conversation) -> None:
            # A host that refuses our certificate ends the handshake here.
            with contextlib.suppress(OSError):
                conversation.sock.settimeout(5)
                conversation.sock = context.wrap_socket(conversation.sock, server_side=True)
                behaviour(conversation)

        return cls(listener, f"https://localhost:{port}", secured)

    def close(self) -> None:
        """Stop listening, hang up, and wait for all threads."""
        self._stopped.set()
        self._served.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _converse(self, sock: socket.socket) -> None:
        self.connections += 1
        conversation = Conversation(sock, self._stopped)
        try:
            self._behaviour(conversation)
        finally:
            conversation.sock.close()


def answering(*answers: bytes, requests: list[bytes] | None = None) -> Behaviour:
    """A behaviour: read a request, send the next of ``answers``; hang up after the last."""

    def behave(conversation: Conversation) -> None:
        for answer in answers:
            request = conversation.read_request()
            if not request:
                return
            if requests is not None:
                requests.append(request)
            conversation.send(answer)

    return behave


def http(body: bytes, status: int = 200, *, length: int | None = None) -> bytes:
    """An answer as a plugin would send it; ``length`` lies about the body's size."""
    size = len(body) if length is None else length
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, size, body)


def keeps_answering(body: bytes, requests: list[bytes] | None = None) -> Behaviour:
    """A behaviour: answer every request on the connection with ``body``."""

    def behave(conversation: Conversation) -> None:
        for request in _requests(conversation):
            if requests is not None:
                requests.append(request)
            conversation.send(http(body))

    return behave


def _requests(conversation: Conversation) -> Iterator[bytes]:
    while not conversation.stopped.is_set():
        if not select.select([conversation.sock], [], [], 0.05)[0]:
            continue
        try:
            request = conversation.read_request()
        except ConnectionError:
            return
        if not request:
            return
        yield request
