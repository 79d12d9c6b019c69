"""A host's name as addresses, within a time-out, which the system's own call does not take."""

import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

# Takes a host and a port; what ``socket.getaddrinfo`` returns, and raises.
Resolve: TypeAlias = Callable[[str, int], list[Any]]


def system_addresses(host: str, port: int) -> list[Any]:
    """Every address of ``host`` for a TCP connection; raises ``socket.gaierror``."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def addresses(resolve: Resolve, host: str, port: int, timeout: float | None) -> list[Any]:
    """What ``resolve`` returns or raises; ``TimeoutError`` if that takes ``timeout`` seconds.

    What takes too long goes on in a thread of its own, and nobody waits for it.
    """
    if timeout is None or _is_number(host):
        return resolve(host, port)
    answer: SimpleQueue[list[Any] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolve(host, port))
        except Exception as error:  # the caller's
            answer.put(error)

    threading.Thread(target=ask, name="moby-plugins-resolve", daemon=True).start()
    try:
        found = answer.get(timeout=timeout)
    except Empty:
        raise TimeoutError(f"the name {host} is not resolved after {timeout:.3g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _is_number(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
