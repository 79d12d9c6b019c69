"""Hosts that fork, each a program: ``python -m tests.integration.process.forks STORY …``.

What it prints is what the test compares; a process that hangs is ended by an alarm.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable

from moby_plugins import (
    Client,
    Registry,
    RetryPolicy,
    Settings,
    TLSOptions,
    new_client,
    new_local_registry,
)
from moby_plugins.adapters.http.urllib3 import connect as urllib3_connect
from moby_plugins.domain.address import Address
from moby_plugins.ports import Connect, Transport

SECONDS = 10


def client_of(transport: str, addr: str) -> Client:
    """A client that never tries again."""
    settings = Settings(
        transports=dict.fromkeys(("unix", "tcp", "https"), transport), retry=RetryPolicy.never()
    )
    return new_client(addr, TLSOptions(insecure_skip_verify=True), settings=settings)


def in_child(do: Callable[[], object]) -> None:
    """Print what ``do`` gives in a forked child, and wait for the child."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        # That threads do not live on in the child is what these stories are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if not process:
        signal.alarm(SECONDS)
        print(f"child {do()}", flush=True)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if status:
        print("child ended with", status)


def idle(transport: str, addr: str) -> None:
    """An idle connection lies in the pool as the process forks."""
    client = client_of(transport, addr)
    print("parent", client.call("M.x"))
    in_child(lambda: [client.call("M.x"), client.call("M.x")])
    print("parent", client.call("M.x"))


def streaming(transport: str, addr: str) -> None:
    """A stream is being read as the process forks; the child reads it to its end."""
    client = client_of(transport, addr)
    stream = client.stream("M.x")
    in_child(lambda: [b"".join(stream).decode(), client.call("M.x")])
    stream.close()
    print("parent", client.call("M.x"))


def closing(transport: str, addr: str) -> None:
    """The child closes its client, and the parent goes on."""
    client = client_of(transport, addr)
    print("parent", client.call("M.x"))
    in_child(client.close)
    print("parent", client.call("M.x"))


def activating(directory: str) -> None:
    """Another thread is in the middle of a handshake as the process forks."""
    begun = threading.Event()

    def connect(address: Address, tls: TLSOptions | None, /) -> Transport:
        begun.set()
        return urllib3_connect(address, tls)

    # What is imported while a process forks is Python's own affair: here all is.
    client_of("urllib3", f"unix://{directory}/p.sock").call("Plugin.Activate")
    registry = _registry(directory, connect)
    led: list[str] = []
    leader = threading.Thread(target=lambda: led.append(registry.get("p", "A").name))
    leader.start()
    begun.wait(SECONDS)
    in_child(lambda: registry.get("p", "A").name)
    leader.join(SECONDS)
    print("leader", *led)


class Slow(str):
    """A name that takes its time where it is looked for, and so keeps a lock held."""

    __slots__ = ()
    asked, may_go_on = threading.Event(), threading.Event()

    def __hash__(self) -> int:
        self.asked.set()
        self.may_go_on.wait(SECONDS)
        return str.__hash__(self)


def locked(directory: str) -> None:
    """Another thread holds the registry's lock as the process forks."""
    registry = _registry(directory, "urllib3")
    print("parent", registry.get("p", "A").name)
    holder = threading.Thread(target=registry.invalidate, args=(Slow("other"),))
    holder.start()
    Slow.asked.wait(SECONDS)
    in_child(lambda: registry.get("p", "A").name)
    Slow.may_go_on.set()
    holder.join(SECONDS)
    print("parent", registry.get("p", "A").name)


def _registry(directory: str, transport: str | Connect) -> Registry:
    return new_local_registry(
        Settings(
            sockets_path=directory,
            specs_paths=(),
            transports={"unix": transport},
            retry=RetryPolicy.never(),
        )
    )


if __name__ == "__main__":
    logging.disable()
    stories = (idle, streaming, closing, activating, locked)
    {story.__name__: story for story in stories}[sys.argv[1]](*sys.argv[2:])
