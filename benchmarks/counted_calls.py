"""A program whose work a tool counts: ``python counted_calls.py WORK SIDE PATH ROUNDS``.

``PATH`` is the socket of a plugin or, for ``get_all``, the directory of all. It imports little, as
under valgrind that takes longer than the work.
"""

import gc
import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack

from moby_plugins import Settings, new_client, new_local_registry

METHOD = "VolumeDriver.Mount"
ARGS = {"Name": "books", "ID": "reader-1"}
BODY = b'{"Name":"books","ID":"reader-1"}'
REQUEST = (
    b"POST /VolumeDriver.Mount HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
HANDSHAKE = b"POST /Plugin.Activate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
TIMEOUT = 30.0
# How many tasks or threads call at once, and how often each of them in a round.
AT_ONCE, EACH = 64, 8


def connected(path: str) -> socket.socket:
    """Return a socket that is connected to the plugin."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


def called_barely(path: str, rounds: int) -> None:
    """Send the bytes of a request and receive the response."""
    with connected(path) as sock:
        for _ in range(rounds):
            sock.sendall(REQUEST)
            assert sock.recv(1 << 16)


def called_over(transport: str) -> Callable[[str, int], None]:
    """Return a function that calls the plugin."""

    def work(path: str, rounds: int) -> None:
        chosen = Settings(transports={"unix": transport})
        with new_client(f"unix://{path}", settings=chosen) as client:
            for _ in range(rounds):
                assert client.call(METHOD, ARGS, timeout=TIMEOUT)["Mountpoint"]

    return work


def activated_barely(directory: str, rounds: int) -> None:
    """Send all handshakes over bare sockets before reading a response."""
    paths = sorted(entry.path for entry in os.scandir(directory))
    for _ in range(rounds):
        socks = [connected(path) for path in paths]
        for sock in socks:
            sock.sendall(HANDSHAKE)
        for sock in socks:
            assert sock.recv(1 << 16)
            sock.close()


def activated_over(transport: str) -> Callable[[str, int], None]:
    """Return a function that activates all plugins, with a new registry in each round."""

    def work(directory: str, rounds: int) -> None:
        chosen = Settings(sockets_path=directory, specs_paths=(), transports={"unix": transport})
        registries = [new_local_registry(chosen) for _ in range(rounds)]
        for registry in registries:
            assert registry.get_all("VolumeDriver")
        sys.stdout.flush()
        os._exit(0)  # to close them is no part of what is counted

    return work


def in_tasks(tasks: int) -> Callable[[str, int], None]:
    """Return a function that calls the plugin in so many tasks at once."""

    def work(path: str, rounds: int) -> None:
        import asyncio

        from moby_plugins.aio import new_client as new_async_client

        async def main() -> None:
            async with new_async_client(f"unix://{path}") as client:

                async def one() -> None:
                    for _ in range(EACH):
                        assert (await client.call(METHOD, ARGS, timeout=TIMEOUT))["Mountpoint"]

                for _ in range(rounds):
                    await asyncio.gather(*(one() for _ in range(tasks)))

        asyncio.run(main())

    return work


def in_tasks_barely(tasks: int) -> Callable[[str, int], None]:
    """Return a function that does the same over bare sockets that an event loop watches."""

    def work(path: str, rounds: int) -> None:
        import asyncio

        from benchmarks.watched import Watched

        async def main(socks: list[socket.socket]) -> None:
            for _ in range(rounds):
                await asyncio.gather(*(Watched(sock).call(REQUEST, EACH) for sock in socks))

        with ExitStack() as stack:
            socks = [stack.enter_context(connected(path)) for _ in range(tasks)]
            for sock in socks:
                sock.setblocking(False)
            asyncio.run(main(socks))

    return work


WORK: dict[str, dict[str, Callable[[str, int], None]]] = {
    "call": {
        "bare": called_barely,
        "httptools": called_over("httptools"),
        "urllib3": called_over("urllib3"),
    },
    "get_all": {
        "bare": activated_barely,
        "httptools": activated_over("httptools"),
        "urllib3": activated_over("urllib3"),
    },
    "one-task": {"bare": in_tasks_barely(1), "aio": in_tasks(1)},
    "at-once": {"bare": in_tasks_barely(AT_ONCE), "aio": in_tasks(AT_ONCE)},
}


if __name__ == "__main__":
    # Collect garbage now, so that imported objects are not examined in only some of the runs.
    gc.collect()
    gc.freeze()
    WORK[sys.argv[1]][sys.argv[2]](sys.argv[3], int(sys.argv[4]))
