"""Listening sockets: on UNIX paths and TCP, or inherited from systemd."""

import contextlib
import errno
import logging
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from moby_plugins.adapters.http.unix_socket import check_socket_path, probe_socket
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import SettingsError, SpecError
from moby_plugins.domain.text import quoted, shown
from moby_plugins.domain.units import FIRST_INHERITED, SOCKET_VARIABLES
from moby_plugins.failures import log_line
from moby_plugins.platforms import check_platform

# Errors of ``accept`` if the process, or the machine, has run out of descriptors or memory.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# Seconds before the next attempt to accept.
_PAUSE = 0.1

DIRECTORY_MODE = 0o755
# Seconds to wait for a lock, and between two attempts.
LOCK_TIMEOUT, _LOCK_STEP = 5.0, 0.02
_FAMILIES = {"AF_UNIX", "AF_INET", "AF_INET6"}
# The system would reduce a larger port modulo 65,536.
MAX_PORT = 65535
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/]+):(?P<port>[0-9]{1,5})")


class ListeningSocket(socket.socket):
    """A listening socket; if no descriptor is left, ``accept`` pauses and raises ``TimeoutError``.

    The connection stays in the queue, so without a pause ``accept`` would fail again at once.
    """

    _exhausted = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, or pause and raise ``TimeoutError`` if no descriptor is left."""
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            if not self._exhausted:
                log_line(logging.WARNING, "connections have to wait: %s", shown(error.strerror))
            self._exhausted = True
            time.sleep(_PAUSE)
            raise TimeoutError(error.errno, error.strerror) from error
        self._exhausted = False
        return accepted


def _nothing() -> None:
    """Do nothing, for a listener that has no file to remove."""


@frozen
class Listener:
    """A listening socket; ``address`` is the one that hosts use.

    ``withdraw`` removes the file of a UNIX socket. ``inherited`` is true for a socket that systemd
    opened: the server then writes no spec file for it.
    """

    socket: socket.socket
    address: str
    withdraw: Callable[[], None] = _nothing
    inherited: bool = False


def listen_unix(
    path: str,
    mode: int,
    group: str | int | None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Listener:
    """Bind a socket at ``path``, creating its directory if necessary.

    The socket's ``mode`` and ``group`` are set before any host can connect; with ``None`` for
    ``group``, the socket keeps the group that the system gives it. A stale socket is replaced. If
    another process is binding a socket at ``path`` at the same time, this function first waits
    until that process is done.

    Returns the bound socket; the caller closes it and calls ``withdraw``. Raises ``SpecError`` if
    the wait lasts longer than ``LOCK_TIMEOUT`` seconds or ``stop_requested()`` is true during it,
    and for a path where another plugin listens, where another kind of file is, or that cannot be
    used. Raises ``SettingsError`` for a group that does not exist.
    """
    check_socket_path(path)
    gid = _group_id(group)
    try:
        os.makedirs(os.path.dirname(path), DIRECTORY_MODE, exist_ok=True)
        with _locked(path, stop_requested):
            _remove_stale(path)
            sock = _bound(path, mode, gid)
            withdraw = _unlink_own(path, os.lstat(path))
    except OSError as error:
        raise SpecError(f"cannot listen there: {shown(error.strerror or error)}", path) from error
    return Listener(sock, Address.of_socket(path).text, withdraw)


def listen_tcp(addr: str, scheme: str) -> Listener:
    """Bind a socket at ``addr``, ``HOST:PORT``; port 0 takes a free one.

    Raises ``SpecError`` for an address that cannot be used.
    """
    match = _HOST_AND_PORT.fullmatch(addr)
    if match is None or int(match["port"]) > MAX_PORT:
        raise SpecError(
            f"{quoted(addr)} is not of the form HOST:PORT, with a port of at most {MAX_PORT}"
        )
    host, port = match["host"], int(match["port"])
    try:
        Address(f"{scheme}://{host}:{port or 1}")
    except SpecError as error:  # for example a zone, which only has a meaning on this machine
        raise SpecError(f"{quoted(addr)} is not an address that hosts can read: {error}") from error
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = ListeningSocket(family, kind, protocol)
    except OSError as error:
        raise SpecError(f"cannot listen at {shown(addr)}: {shown(error)}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(where)
        sock.listen()
    except OSError as error:
        sock.close()
        raise SpecError(
            f"cannot listen at {shown(addr)}: {shown(error.strerror or error)}"
        ) from error
    return Listener(sock, f"{scheme}://{host}:{sock.getsockname()[1]}")


def listens(address: Address) -> bool:
    """Return whether a process listens at a TCP address; false if it is not known in a second."""
    try:
        socket.create_connection((address.host, address.port), timeout=1.0).close()
    except (OSError, UnicodeError):
        return False
    return True


def inherited(scheme: str) -> Listener | None:
    """Return the socket that systemd opened for this process, ``None`` without one.

    Like ``sd_listen_fds(1)``, this removes systemd's variables from the environment, so that child
    processes do not use them. Raises ``SpecError`` for several sockets, and for anything but a
    listening stream socket.
    """
    process, count, _ = (os.environ.pop(name, "") for name in SOCKET_VARIABLES)
    if process != str(os.getpid()) or not count.isdecimal() or not count.strip("0"):
        return None
    if count.lstrip("0") != "1":
        raise SpecError(
            f"systemd opened {shown(count)} sockets for this process, which serves one:"
            " give each plugin a unit with one ListenStream="
        )
    sock = _listening(FIRST_INHERITED)
    name = sock.getsockname()
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return Listener(sock, f"{scheme}://{host}:{name[1]}", inherited=True)
    return Listener(sock, Address.of_socket(os.fsdecode(name)).text, inherited=True)


def notify_systemd(state: str) -> None:
    """Send ``READY=1`` or the like to systemd, if it expects that (``Type=notify``).

    This neither blocks nor raises: a failure is logged.
    """
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = f"\0{where[1:]}" if where.startswith("@") else where
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), address)
    except (OSError, ValueError) as error:
        log_line(
            logging.WARNING,
            "systemd cannot be notified of %s: %s: %s",
            state,
            shown(where),
            shown(error),
        )


def _listening(descriptor: int) -> ListeningSocket:
    try:
        os.set_inheritable(descriptor, False)
        sock = ListeningSocket(fileno=descriptor)
        kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise SpecError(f"systemd's descriptor {descriptor} is not a socket: {error}") from error
    if sock.family.name not in _FAMILIES or kind != socket.SOCK_STREAM or not listens:
        sock.detach()
        raise SpecError(
            f"systemd's descriptor {descriptor} is not a stream socket that listens:"
            " the unit needs ListenStream= and Accept=no"
        )
    return sock


def _group_id(group: str | int | None) -> int:
    if not isinstance(group, str):
        return -1 if group is None else group
    check_platform("a group by its name")
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise SettingsError(f"there is no group {quoted(group)}") from error


@contextlib.contextmanager
def _locked(path: str, stop_requested: Callable[[], bool]) -> Iterator[None]:
    # Two plugins that start at once must not both find the socket stale. The lock is a separate
    # file beside it: every user who may read the directory could lock the directory itself.
    directory, name = os.path.split(path)
    lock = os.path.join(directory, f".{name}.lock")
    ends = time.monotonic() + LOCK_TIMEOUT
    while (descriptor := _try_lock(lock)) is None:
        if stop_requested():
            raise SpecError("the server was stopped before it could listen", path)
        if time.monotonic() > ends:
            raise SpecError(
                f"another process has held the lock {lock} for {LOCK_TIMEOUT:g} s", path
            )
        time.sleep(_LOCK_STEP)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lock)
        os.close(descriptor)


def _try_lock(lock: str) -> int | None:
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(lock, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise SpecError(
                "it is not a regular file of this user, so it cannot be locked: remove it", lock
            )
        # Other users could hold the lock if they could open the file.
        os.fchmod(descriptor, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The previous owner of the lock may have removed the file: then try again with a new one.
        if os.path.samestat(status, os.lstat(lock)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _remove_stale(path: str) -> None:
    # A plugin that stops may remove its socket at this moment.
    with contextlib.suppress(FileNotFoundError):
        _check_stale(path)
        os.unlink(path)


def _check_stale(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise SpecError("it exists, is not a socket, and was left unchanged", path)
    refusal = probe_socket(path)
    if refusal is None:
        if _is_traced(path):
            return
        raise SpecError("another plugin already listens there", path)
    if not isinstance(refusal, ConnectionRefusedError):
        raise refusal


def _is_traced(path: str) -> bool:
    """Return whether a tracing proxy listens at ``path``, whose place a new plugin may take."""
    from moby_plugins.adapters.disk.stand_in import stands_in

    return stands_in(path)


def _bound(path: str, mode: int, gid: int) -> socket.socket:
    sock = ListeningSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        try:
            # No host can connect before listen(), so this is early enough.
            os.chown(path, -1, gid)
            os.chmod(path, mode)
            sock.listen()
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        sock.close()
        raise
    return sock


def _unlink_own(path: str, own: os.stat_result) -> Callable[[], None]:
    def unlink() -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(path), own):
                os.unlink(path)

    return unlink
