"""Opening of the socket of a served plugin, where hosts find it: by its path, or by a spec file.

``opening_unix`` and ``opening_tcp`` check their arguments and return a function that opens the
socket. That function may wait while another process opens a socket at the same path, so asyncio
programs call it in a thread.
"""

import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from moby_plugins.domain.address import ServerTLS
from moby_plugins.domain.plugin import SPECS_PATHS, check_plugin_name
from moby_plugins.domain.retry import size
from moby_plugins.domain.text import quoted
from moby_plugins.platforms import check_platform

SPECS_PATH = SPECS_PATHS[0]
SOCKET_MODE = 0o660
# The permission bits of a mode; and the largest group id: the next number means "no group".
MAX_MODE = 0o777
MAX_GROUP = (1 << 32) - 2


@frozen
class Opened:
    """A server's listening socket; ``withdraw`` removes the socket's file, or the spec file."""

    socket: socket.socket
    address: str
    withdraw: Callable[[], None]
    context: ssl.SSLContext | None = None


# Opens a socket, given a function that returns whether to stop waiting. Raises ``SpecError`` if it
# was stopped, or cannot listen.
Opening: TypeAlias = Callable[[Callable[[], bool]], Opened]


def check_sizes(max_request_bytes: int, max_inflight_bytes: int) -> None:
    """Raise ``ValueError`` or ``TypeError`` if an argument is not a valid number of bytes."""
    size("max_request_bytes", max_request_bytes)
    size("max_inflight_bytes", max_inflight_bytes)


def drain_given(drain: float) -> float:
    """Return ``drain`` as a float; raise ``ValueError`` if it is not a number of seconds."""
    unchecked: object = drain  # the caller's program may not be type-checked
    number = isinstance(unchecked, (int, float)) and not isinstance(unchecked, bool)
    if not (number and 0 <= drain <= threading.TIMEOUT_MAX):
        raise ValueError(f"drain must be a number of seconds, 0 or more, not {quoted(drain)}")
    return float(drain)


def opening_unix(name: str, sockets_path: str, mode: int, group: str | int | None) -> Opening:
    """Return a function that opens the UNIX socket of the plugin ``name``.

    The arguments are those of ``plugin_server_unix``; ``name`` may be the absolute path of the
    socket. Raises ``InvalidPluginNameError``, ``ValueError`` or ``TypeError`` if an argument is not
    valid.
    """
    if not _is_number(mode, MAX_MODE):
        raise ValueError(f"{quoted(mode)} is not a file mode from 0 to 0o777")
    if not (group is None or isinstance(group, str) or _is_number(group, MAX_GROUP)):
        raise ValueError(
            f"{quoted(group)} is not a group: a name, or a number from 0 to {MAX_GROUP}"
        )
    _check_kind("sockets_path", sockets_path, str, os.PathLike)
    path = name
    unchecked: object = name  # the caller's program may not be type-checked
    if not (isinstance(unchecked, str) and os.path.isabs(unchecked)):
        path = os.path.join(os.path.abspath(sockets_path), f"{check_plugin_name(name)}.sock")

    def open_(stop_requested: Callable[[], bool]) -> Opened:
        check_platform("serving on a UNIX socket")
        from moby_plugins.adapters.server.listeners import inherited, listen_unix

        # The scheme of the address, if systemd passes a TCP socket instead of a UNIX socket.
        listener = inherited("tcp") or listen_unix(path, mode, group, stop_requested)
        return Opened(listener.socket, listener.address, listener.withdraw)

    return open_


def opening_tcp(name: str, addr: str, tls: ServerTLS | None, specs_path: str) -> Opening:
    """Return a function that opens a TCP socket for the plugin ``name``, and writes its spec file.

    The arguments are those of ``plugin_server_tcp``. Raises ``InvalidPluginNameError`` or
    ``TypeError`` if an argument is not valid.
    """
    check_plugin_name(name)
    _check_kind("addr", addr, str)
    _check_kind("specs_path", specs_path, str, os.PathLike)
    unchecked: object = tls  # the caller's program may not be type-checked
    if not (unchecked is None or isinstance(unchecked, ServerTLS)):
        # Name only the type: the value may contain a passphrase.
        raise TypeError(f"tls takes ServerTLS, not a {type(unchecked).__name__}")

    def open_(_: Callable[[], bool]) -> Opened:
        from moby_plugins.adapters.disk.spec_file import write_spec
        from moby_plugins.adapters.http.tls import server_context
        from moby_plugins.adapters.server.listeners import inherited, listen_tcp, listens

        context = None if tls is None else server_context(tls)
        scheme = "tcp" if tls is None else "https"
        listener = inherited(scheme) or listen_tcp(addr, scheme)
        if listener.inherited:
            return Opened(listener.socket, listener.address, listener.withdraw, context)
        try:
            withdraw = write_spec(specs_path, name, listener.address, tls, listens)
        except BaseException:
            listener.socket.close()
            raise
        return Opened(listener.socket, listener.address, withdraw, context)

    return open_


def _check_kind(argument: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"{argument} must be a string, not {quoted(value)}")


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
